//! OCI images: references, registries, archives, layers, the merged tree.

//! Writes the root image: EROFS, deterministic, parallel, streaming.

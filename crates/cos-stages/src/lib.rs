//! The cloud-config engine: documents, stages, steps.

//! User-data from clouds and attached media.

//! A blocking HTTP client for small documents and downloads: verified TLS, deadlines, retries.

//! Go text templates with the sprig functions of cloud-configs.

//! The user database of a root directory: passwd, shadow, group, gshadow, authorized keys.

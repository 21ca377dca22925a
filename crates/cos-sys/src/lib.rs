//! System calls: loop, device-mapper, mounts, external tools; the only unsafe code.

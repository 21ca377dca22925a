//! Partition tables, file systems, ISO and disk formats, written to a file or a device.

//! The boot loader contract: GRUB configuration, boot state, kernel command line.

//! The channel to a machine's TPM.

use crate::{Tpm, TpmError};
use fs_err::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No command takes a TPM longer; the kernel has limits of its own for its devices.
const LIMIT: Duration = Duration::from_mins(1);

/// A TPM as this machine shows it.
#[derive(Debug)]
pub enum Device {
    /// The kernel's device.
    Device(File),
    /// A TPM in software, behind its socket.
    Socket(UnixStream),
}

impl Tpm<Device> {
    /// Opens the TPM at `path`, a device or a socket; `None` where there is nothing.
    pub fn open(path: &Path) -> Result<Option<Self>, TpmError> {
        let failed = |source| TpmError::Open {
            path: path.to_owned(),
            source,
        };
        let kind = match fs_err::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let device = if kind.is_socket() {
            let stream = UnixStream::connect(path).map_err(failed)?;
            stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
            stream.set_write_timeout(Some(LIMIT)).map_err(failed)?;
            Device::Socket(stream)
        } else {
            let opened = OpenOptions::new().read(true).write(true).open(path);
            Device::Device(opened.map_err(failed)?)
        };
        Ok(Some(Self::new(device)))
    }
}

impl Read for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Device(file) => file.read(buffer),
            Self::Socket(stream) => stream.read(buffer),
        }
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Device(file) => file.write(bytes),
            Self::Socket(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Device(file) => file.flush(),
            Self::Socket(stream) => stream.flush(),
        }
    }
}

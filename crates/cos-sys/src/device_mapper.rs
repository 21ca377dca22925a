//! Device-mapper: block devices computed from others (linux/dm-ioctl.h), as far as verity needs it.

#![expect(unsafe_code, reason = "device-mapper is driven by ioctl")]

use crate::ioctl;
use fs_err::{File, OpenOptions};
use rustix::io::Errno;
use rustix::ioctl::{Direction, Opcode, opcode};
use std::io;
use std::path::{Path, PathBuf};

const CONTROL: &str = "/dev/mapper/control";

/// `DM_VERSION_MAJOR`; within it the kernel takes any older minor version, so 4.0.0 is asked for.
const MAJOR_VERSION: u32 = 4;

/// Commands (the third argument of `_IOWR(DM_IOCTL, …)`).
const VERSION: u8 = 0;
const DEV_CREATE: u8 = 3;
const DEV_REMOVE: u8 = 4;
const DEV_SUSPEND: u8 = 6;
const TABLE_LOAD: u8 = 9;

/// `struct dm_ioctl`: its size and the offsets of its fields.
const HEADER_SIZE: usize = 312;
const AT_DATA_SIZE: usize = 12;
const AT_DATA_START: usize = 16;
const AT_TARGET_COUNT: usize = 20;
const AT_FLAGS: usize = 28;
const AT_DEV: usize = 40;
const AT_NAME: usize = 48;
const NAME_SIZE: usize = 128;
const AT_UUID: usize = 176;
const UUID_SIZE: usize = 129;
/// `struct dm_target_spec`, followed by the parameters as a C string.
const SPEC_SIZE: usize = 40;
const TYPE_SIZE: usize = 16;

const FLAG_READ_ONLY: u32 = 1;

/// Why a device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeviceMapperError {
    /// No control device: the kernel has no device-mapper, or its module is not loaded.
    #[error("cannot open the device-mapper control device")]
    Control {
        /// Why.
        source: io::Error,
    },
    /// The kernel speaks another protocol.
    #[error("the kernel's device-mapper does not speak version {MAJOR_VERSION}")]
    Version {
        /// Why.
        source: io::Error,
    },
    /// A name or parameter that cannot be put into the request.
    #[error("device-mapper cannot take the name {0:?}")]
    BadName(String),
    /// Making, changing or removing the device failed.
    #[error("device-mapper cannot {action} {name}")]
    Device {
        /// What was tried: `create`, `resume`, `remove`.
        action: &'static str,
        /// The device's name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the table.
    #[error("device-mapper refuses this {target} table for {name}: {parameters}")]
    Table {
        /// The device's name.
        name: String,
        /// The target type.
        target: String,
        /// Its parameters.
        parameters: String,
        /// Why.
        source: io::Error,
    },
}

impl DeviceMapperError {
    /// Whether the kernel refused the parameters themselves, as it does with options it is too old for.
    pub fn is_refused_table(&self) -> bool {
        matches!(self, Self::Table { source, .. }
            if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()))
    }
}

/// One target covering a whole device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its type: `verity`.
    pub kind: String,
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// What the target's documentation lists behind its name.
    pub parameters: String,
}

/// The device-mapper of the running kernel.
#[derive(Debug)]
pub struct DeviceMapper {
    control: File,
}

/// A read-only mapped device.
#[derive(Debug)]
pub struct MappedDevice {
    name: String,
    number: u64,
}

impl MappedDevice {
    /// The node the kernel itself makes: `/dev/dm-N`.
    pub fn node(&self) -> PathBuf {
        // The kernel's huge_encode_dev: the minor number's low byte, the major, the minor's rest.
        let minor = (self.number & 0xff) | ((self.number >> 12) & 0x000f_ff00);
        PathBuf::from(format!("/dev/dm-{minor}"))
    }

    /// The name it was created with.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl DeviceMapper {
    /// Opens the control device and agrees on a version.
    pub fn open() -> Result<Self, DeviceMapperError> {
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open(CONTROL)
            .map_err(|source| DeviceMapperError::Control { source })?;
        let mapper = Self { control };
        let mut request = request("", "", 0)?;
        mapper
            .call(VERSION, &mut request)
            .map_err(|errno| DeviceMapperError::Version {
                source: errno.into(),
            })?;
        Ok(mapper)
    }

    /// Creates a read-only device with no table yet.
    pub fn create(&self, name: &str, uuid: &str) -> Result<MappedDevice, DeviceMapperError> {
        let mut request = request(name, uuid, FLAG_READ_ONLY)?;
        self.call(DEV_CREATE, &mut request)
            .map_err(failed("create", name))?;
        let mut number = [0; 8];
        number.copy_from_slice(&request[AT_DEV..AT_DEV + 8]);
        Ok(MappedDevice {
            name: name.to_owned(),
            number: u64::from_ne_bytes(number),
        })
    }

    /// Loads a table beside the one in use; [`DeviceMapper::resume`] puts it to use.
    pub fn load(&self, device: &MappedDevice, target: &Target) -> Result<(), DeviceMapperError> {
        let mut request = request(&device.name, "", FLAG_READ_ONLY)?;
        request.extend(target_spec(target)?);
        let length = request.len() as u32;
        ioctl::put(&mut request, AT_DATA_SIZE, &length.to_ne_bytes());
        ioctl::put(&mut request, AT_TARGET_COUNT, &1u32.to_ne_bytes());
        self.call(TABLE_LOAD, &mut request)
            .map_err(|errno| DeviceMapperError::Table {
                name: device.name.clone(),
                target: target.kind.clone(),
                parameters: target.parameters.clone(),
                source: errno.into(),
            })
    }

    /// Puts the loaded table to use and lets I/O through.
    pub fn resume(&self, device: &MappedDevice) -> Result<(), DeviceMapperError> {
        let mut request = request(&device.name, "", 0)?;
        self.call(DEV_SUSPEND, &mut request)
            .map_err(failed("resume", &device.name))
    }

    /// Removes a device that nobody has open.
    pub fn remove(&self, device: &MappedDevice) -> Result<(), DeviceMapperError> {
        let mut request = request(&device.name, "", 0)?;
        self.call(DEV_REMOVE, &mut request)
            .map_err(failed("remove", &device.name))
    }

    fn call(&self, command: u8, request: &mut [u8]) -> Result<(), Errno> {
        let opcode: Opcode =
            opcode::from_components(Direction::ReadWrite, 0xfd, command, HEADER_SIZE);
        // SAFETY: the kernel reads and writes `data_size` bytes, which is the buffer's length; the
        // structures hold no pointers.
        unsafe { ioctl::bytes(&self.control, opcode, request) }.map(|_| ())
    }
}

fn failed<'a>(action: &'static str, name: &'a str) -> impl FnOnce(Errno) -> DeviceMapperError + 'a {
    move |errno| DeviceMapperError::Device {
        action,
        name: name.to_owned(),
        source: errno.into(),
    }
}

/// A `struct dm_ioctl` with nothing behind it.
fn request(name: &str, uuid: &str, flags: u32) -> Result<Vec<u8>, DeviceMapperError> {
    let mut request = vec![0; HEADER_SIZE];
    ioctl::put(&mut request, 0, &MAJOR_VERSION.to_ne_bytes());
    ioctl::put(
        &mut request,
        AT_DATA_SIZE,
        &(HEADER_SIZE as u32).to_ne_bytes(),
    );
    ioctl::put(
        &mut request,
        AT_DATA_START,
        &(HEADER_SIZE as u32).to_ne_bytes(),
    );
    ioctl::put(&mut request, AT_FLAGS, &flags.to_ne_bytes());
    ioctl::put(&mut request, AT_NAME, c_field(name, NAME_SIZE)?);
    ioctl::put(&mut request, AT_UUID, c_field(uuid, UUID_SIZE)?);
    Ok(request)
}

fn target_spec(target: &Target) -> Result<Vec<u8>, DeviceMapperError> {
    let mut spec = vec![0; SPEC_SIZE];
    ioctl::put(&mut spec, 8, &target.sectors.to_ne_bytes());
    ioctl::put(
        &mut spec,
        SPEC_SIZE - TYPE_SIZE,
        c_field(&target.kind, TYPE_SIZE)?,
    );
    spec.extend(c_field(&target.parameters, 64 * 1024)?);
    // The kernel wants the string ended and the whole aligned to eight bytes.
    spec.push(0);
    spec.resize(spec.len().next_multiple_of(8), 0);
    Ok(spec)
}

/// The bytes of a C string that must fit, with its NUL, into `size`.
fn c_field(text: &str, size: usize) -> Result<&[u8], DeviceMapperError> {
    if text.len() >= size || text.contains('\0') {
        return Err(DeviceMapperError::BadName(text.chars().take(80).collect()));
    }
    Ok(text.as_bytes())
}

/// Makes the name under `/dev/mapper` that people and `findmnt` know a device by, as udev would.
pub fn link_name(device: &MappedDevice) -> io::Result<PathBuf> {
    let link = Path::new("/dev/mapper").join(&device.name);
    let target = Path::new("..").join(device.node().file_name().unwrap_or_default());
    match fs_err::os::unix::fs::symlink(target, &link) {
        // udev was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(link),
        Err(error) => Err(error),
        Ok(()) => Ok(link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_in_the_kernel_header() {
        let request = request("cos-root", "COS-1", FLAG_READ_ONLY).unwrap();
        assert_eq!(request.len(), 312);
        assert_eq!(request[0..4], 4u32.to_ne_bytes());
        assert_eq!(request[28..32], 1u32.to_ne_bytes());
        assert_eq!(&request[48..57], b"cos-root\0");
        assert_eq!(&request[176..182], b"COS-1\0");
    }

    #[test]
    fn a_target_is_ended_and_aligned() {
        let target = Target {
            kind: "verity".into(),
            sectors: 8,
            parameters: "1 /dev/loop0".into(),
        };
        let spec = target_spec(&target).unwrap();
        assert_eq!(spec.len() % 8, 0);
        assert_eq!(spec[8..16], 8u64.to_ne_bytes());
        assert_eq!(&spec[24..31], b"verity\0");
        assert_eq!(&spec[40..53], b"1 /dev/loop0\0");
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(request(&"x".repeat(128), "", 0).is_err());
        assert!(request("a\0b", "", 0).is_err());
    }

    #[test]
    fn the_node_comes_from_the_encoded_device_number() {
        let device = |number| MappedDevice {
            name: "x".into(),
            number,
        };
        assert_eq!(device(0xfd03).node(), Path::new("/dev/dm-3"));
        // Minor 0x123 is split around the major 0xfd.
        assert_eq!(device(0x10_fd23).node(), Path::new("/dev/dm-291"));
    }
}

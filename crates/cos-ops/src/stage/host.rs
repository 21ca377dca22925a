//! What the engine asks of the machine: its user-data, and the device it booted from.

use crate::machine::Places;
use cos_datasource::{
    BlockMedia, Cache, DEFAULT_DEADLINE, DatasourceError, Dmi, Endpoints, Machine, Provider,
    Request, UserData, VmwareTools, fetch_cached,
};
use cos_events::Monitor;
use cos_http::HttpClient;
use cos_stages::Datasources;
use cos_sys::device_spec::DeviceSpec;
use cos_sys::locate::{pick, scan};
use std::path::{Path, PathBuf};

/// Where the last user-data is kept, for boots on which nobody answers.
const CACHE: &str = "oem/95_userdata/cache";
/// Below which media are mounted while they are read.
const MEDIA: &str = "/run/cos/media";

/// The clouds and media of this machine.
pub(super) struct Clouds {
    command_line: String,
    cache: Cache,
}

impl Clouds {
    pub(super) fn new(root: &Path, command_line: &str) -> Self {
        Self {
            command_line: command_line.to_owned(),
            cache: Cache::new(root.join(CACHE)),
        }
    }
}

impl Datasources for Clouds {
    fn fetch(
        &self,
        providers: &[Provider],
        file: Option<&Path>,
        http: &HttpClient,
        monitor: &dyn Monitor,
    ) -> Result<UserData, DatasourceError> {
        let request = Request {
            providers,
            deadline: DEFAULT_DEADLINE,
            file,
            endpoints: &Endpoints::default(),
        };
        let machine = Machine {
            dmi: &Dmi::read(),
            command_line: &self.command_line,
            media: &BlockMedia::new(MEDIA),
            guest_info: &VmwareTools::default(),
        };
        fetch_cached(&request, &machine, http, &self.cache, monitor).map(|cached| cached.data)
    }
}

/// The device that the system booted from: the one that cos-init mounted, or, where that mount is not to
/// be seen, what `cos.source=` on the kernel command line names.
pub(super) fn boot_device(command_line: &str) -> Option<PathBuf> {
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounted_source(&mounts).or_else(|| named_source(command_line))
}

/// What a table of mounts (proc(5), `mounts`) says is mounted where the snapshots are.
fn mounted_source(mounts: &str) -> Option<PathBuf> {
    let source = Places::default().source();
    let mut lines = mounts.lines().map(str::split_ascii_whitespace);
    let device = lines.find_map(|mut words| {
        let device = words.next()?;
        (Path::new(words.next()?) == source).then_some(device)
    })?;
    device.starts_with("/dev/").then(|| device.into())
}

fn named_source(command_line: &str) -> Option<PathBuf> {
    let source = command_line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("cos.source="))?;
    let spec = DeviceSpec::parse(source).ok()?;
    let found = pick(&scan().ok()?, &spec, None)?;
    Some(found.candidate.device.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_the_one_that_is_mounted() {
        let mounts = "proc /proc proc rw 0 0\n/dev/vda5 /run/cos/source ext4 ro 0 0\n";
        assert_eq!(mounted_source(mounts), Some("/dev/vda5".into()));
        assert_eq!(
            mounted_source("overlay /run/cos/source overlay rw 0 0\n"),
            None
        );
        assert_eq!(mounted_source(""), None);
    }
}

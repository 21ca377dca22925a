//! The checks, in the order in which they are reported.
#![expect(clippy::unnecessary_wraps, reason = "all checks have one type")]

use super::initrd::{self, InitrdError};
use super::{Finding, Severity};
use crate::OpsError;
use crate::root::boot_files::{BootFiles, file_content, read_small};
use crate::root::convert::{ImageRequest, Loaded};
use cos_image::{Selector, Source};
use cos_tree::{ContentStore as _, NodeId, NodeKind};

/// What is looked at.
pub(super) struct Subject<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) request: &'a ImageRequest,
}

type Check = fn(&Subject<'_>, &mut Vec<Finding>) -> Result<(), OpsError>;

pub(super) const ALL: &[Check] = &[
    init_system,
    kernel,
    kernel_modules,
    loader,
    initrd_module,
    machine_id,
    host_keys,
    leftovers,
    pinned,
];

fn error(check: &'static str, message: impl Into<String>, mend: &'static str) -> Finding {
    Finding {
        check,
        severity: Severity::Error,
        message: message.into(),
        mend,
    }
}

fn warning(check: &'static str, message: impl Into<String>, mend: &'static str) -> Finding {
    Finding {
        check,
        severity: Severity::Warning,
        message: message.into(),
        mend,
    }
}

impl Subject<'_> {
    fn resolve(&self, path: &str) -> Option<NodeId> {
        self.loaded.image.tree.resolve(path.as_bytes())
    }

    /// Names in a directory; none when it is not there.
    fn names(&self, path: &str) -> Vec<String> {
        let children = self
            .resolve(path)
            .and_then(|id| self.loaded.image.tree.children(id));
        children
            .into_iter()
            .flatten()
            .map(|(name, _)| cos_tree::display(name))
            .collect()
    }

    /// Releases of the kernels whose modules are installed.
    fn releases(&self) -> Vec<String> {
        self.names("usr/lib/modules")
    }
}

fn init_system(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let is_there = |path: &&str| subject.resolve(path).is_some();
    if !["usr/lib/systemd/systemd", "lib/systemd/systemd"]
        .iter()
        .any(is_there)
    {
        findings.push(error(
            "init-system",
            "the image holds no systemd",
            "install systemd in the Dockerfile (Debian: systemd, systemd-sysv)",
        ));
    }
    if subject.resolve("sbin/init").is_none() {
        findings.push(error(
            "init-system",
            "the image holds no /sbin/init",
            "install the package that links it to systemd (Debian: systemd-sysv)",
        ));
    }
    Ok(())
}

fn kernel(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let is_kernel = |name: &String| name.starts_with("vmlinuz") || name.starts_with("Image");
    let in_boot = subject.names("boot").iter().any(is_kernel);
    let in_modules = subject.releases().iter().any(|release| {
        subject
            .resolve(&format!("usr/lib/modules/{release}/vmlinuz"))
            .is_some()
    });
    if !in_boot && !in_modules {
        findings.push(error(
            "kernel",
            "the image holds no kernel in /boot or /usr/lib/modules",
            "install one in the Dockerfile (Debian: linux-image-amd64 or linux-image-cloud-amd64)",
        ));
    }
    let releases = subject.releases();
    if releases.len() > 1 {
        findings.push(warning(
            "kernel",
            format!(
                "the image holds modules of {} kernels: {}",
                releases.len(),
                releases.join(", ")
            ),
            "remove all but one; `cos init --kernel RELEASE` says which one boots",
        ));
    }
    Ok(())
}

/// What the initrd needs of the kernel.
const MODULES: [&str; 5] = ["dm-verity", "erofs", "ext4", "loop", "overlay"];

fn kernel_modules(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let Loaded { image, spool, .. } = subject.loaded;
    for release in subject.releases() {
        let mut known = String::new();
        for list in ["modules.dep", "modules.builtin"] {
            let path = format!("usr/lib/modules/{release}/{list}");
            let bytes = read_small(&image.tree, spool, &path)?.unwrap_or_default();
            known += &String::from_utf8_lossy(&bytes);
        }
        let is_known = |module: &&str| {
            known.lines().any(|line| {
                let file = line.split(':').next().unwrap_or_default();
                let name = file.rsplit('/').next().unwrap_or_default();
                name.split('.').next() == Some(module)
            })
        };
        let missing: Vec<&str> = MODULES
            .into_iter()
            .filter(|module| !is_known(module))
            .collect();
        if !known.is_empty() && !missing.is_empty() {
            findings.push(error(
                "kernel-modules",
                format!("kernel {release} has no module {}", missing.join(", ")),
                "install a kernel that has them; Debian's linux-image packages do",
            ));
        }
    }
    Ok(())
}

fn loader(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    const MEND: &str = "let the Dockerfile end with `RUN cos init`";
    match subject.loaded.boot_files() {
        Ok(files) => {
            if files.manifest.bios.is_none() && files.manifest.efi.is_none() {
                findings.push(error(
                    "loader",
                    "the image brings no boot loader",
                    "install GRUB before `RUN cos init` (Debian: grub-pc-bin, grub-efi-amd64-bin)",
                ));
            }
        }
        Err(OpsError::Architecture { loader, image }) => findings.push(error(
            "loader",
            format!("the image is for {image}, its boot loader for {loader}"),
            "build the image for one platform from its first step on",
        )),
        Err(OpsError::BootFiles(problem)) => {
            findings.push(error("loader", problem.to_string(), MEND));
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

fn initrd_module(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    const MEND: &str = "run `cos init` after everything that rebuilds the initrd";
    let Loaded { image, spool, .. } = subject.loaded;
    let Ok(files) = BootFiles::find(&image.tree, spool) else {
        return Ok(());
    };
    let reader = spool.open(files.initrd).map_err(OpsError::Inspect)?;
    match initrd::contains(reader, b"usr/bin/cos-init") {
        Ok(true) => {}
        Ok(false) => findings.push(error("initrd", "the initrd holds no cos-init", MEND)),
        Err(InitrdError::Compression) => findings.push(warning(
            "initrd",
            "the initrd's compression is neither gzip nor zstd, so it was not looked into",
            MEND,
        )),
        Err(problem) => findings.push(error("initrd", problem.to_string(), MEND)),
    }
    Ok(())
}

fn machine_id(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let content = file_content(&subject.loaded.image.tree, "etc/machine-id");
    if content.is_some_and(|content| content.size > 0) {
        findings.push(warning(
            "machine-id",
            "/etc/machine-id is not empty; every machine would be the same one, so it is emptied",
            "empty it in the Dockerfile: RUN : > /etc/machine-id",
        ));
    }
    Ok(())
}

fn host_keys(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let names = subject.names("etc/ssh");
    let is_key = |name: &&String| name.starts_with("ssh_host_") && name.ends_with("_key");
    if let Some(key) = names.iter().find(is_key) {
        findings.push(warning(
            "host-keys",
            format!("/etc/ssh/{key} would be the same on every machine, and anyone with the image has it"),
            "remove it in the Dockerfile: RUN rm -f /etc/ssh/ssh_host_*",
        ));
    }
    Ok(())
}

/// Directories whose contents only a build needs.
const LEFTOVERS: [(&str, &str); 4] = [
    (
        "var/lib/apt/lists",
        "end the RUN that installs with: rm -rf /var/lib/apt/lists/*",
    ),
    (
        "var/cache/apt/archives",
        "end the RUN that installs with: apt-get clean",
    ),
    (
        "var/cache/dnf",
        "end the RUN that installs with: dnf clean all",
    ),
    (
        "var/cache/zypp",
        "end the RUN that installs with: zypper clean --all",
    ),
];

fn leftovers(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    /// Smaller ones are lock files and empty indexes.
    const LEAST: u64 = 1 << 20;
    for (path, mend) in LEFTOVERS {
        let size = subject
            .resolve(path)
            .map_or(0, |id| tree_size(subject, id, 0));
        if size >= LEAST {
            let mib = size >> 20;
            findings.push(warning(
                "leftovers",
                format!("/{path} holds {mib} MiB of build files"),
                mend,
            ));
        }
    }
    Ok(())
}

/// Bytes of all files below a directory; links are not followed.
fn tree_size(subject: &Subject<'_>, id: NodeId, depth: usize) -> u64 {
    match &subject.loaded.image.tree.node(id).kind {
        NodeKind::File(content) => content.size,
        NodeKind::Directory(children) if depth < 64 => children
            .values()
            .map(|&child| tree_size(subject, child, depth + 1))
            .sum(),
        _ => 0,
    }
}

fn pinned(subject: &Subject<'_>, findings: &mut Vec<Finding>) -> Result<(), OpsError> {
    let named_by_digest = match &subject.request.source {
        Source::Registry(reference) => reference.digest.is_some(),
        Source::OciLayout(_, selector) | Source::OciArchive(_, selector) => {
            !matches!(selector, Selector::Tag(_))
        }
        _ => true,
    };
    if let (false, Some(digest)) = (named_by_digest, &subject.loaded.image.digest) {
        findings.push(warning(
            "unpinned",
            format!(
                "{} names a tag, which may move; it is {digest} now",
                subject.request.source
            ),
            "name the image by that digest where the result must be the same again",
        ));
    }
    Ok(())
}

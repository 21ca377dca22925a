//! Prepares an image: `cos init`, the last step of a Dockerfile.
//!
//! Everything that has to run code of the image's own architecture happens here, once: the initrd is
//! built by the image's dracut, the boot loader's images by its GRUB. Media are put together from the
//! result on any machine, by copying.

mod assets;
mod distribution;
mod error;
mod execute;
mod facts;
mod loader;

pub use error::InitError;
pub use execute::execute;

use facts::{Facts, Kernel};
use std::fmt;
use std::path::{Path, PathBuf};

/// Directories that the running system needs to mount on, or keep things in.
const DIRECTORIES: [&str; 6] = [
    "oem",
    "system/oem",
    "system/features",
    "usr/local",
    "usr/local/cloud-config",
    // There, so that the journal is kept with the other logs.
    "var/log/journal",
];

/// What `cos init` is to do.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Root of the image; `/` inside a Dockerfile.
    pub root: PathBuf,
    /// Release of the kernel to boot; the newest when `None`.
    pub kernel: Option<String>,
    /// The kernel's name of the machine's architecture, as `uname -m` prints it.
    pub machine: String,
}

/// One thing to be done. Paths are from the root of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a directory where there is none.
    Directory {
        /// The directory.
        path: String,
    },
    /// Write a file, unless it has this content already.
    Write {
        /// The file.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Its content.
        text: String,
    },
    /// Make a symbolic link, replacing what has its name.
    Link {
        /// The link.
        path: String,
        /// What it says.
        target: String,
    },
    /// Empty `/etc/machine-id`, so that every machine gets its own.
    ForgetIdentity,
    /// Build the initrd.
    Initrd {
        /// Release of the kernel.
        release: String,
        /// The initrd.
        output: String,
    },
    /// Copy a file.
    Copy {
        /// From here.
        from: String,
        /// To here.
        to: String,
    },
    /// Have GRUB make an image.
    GrubImage {
        /// GRUB's name of the format: `i386-pc-eltorito`.
        format: &'static str,
        /// Where GRUB looks for its configuration.
        prefix: String,
        /// The image.
        output: String,
        /// Modules put into it.
        modules: Vec<&'static str>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path } => write!(f, "make directory /{path}"),
            Self::Write { path, mode, text } => {
                write!(f, "write /{path} ({} bytes, mode {mode:04o})", text.len())
            }
            Self::Link { path, target } => write!(f, "link /{path} to {target}"),
            Self::ForgetIdentity => f.write_str("empty /etc/machine-id"),
            Self::Initrd { release, output } => {
                write!(f, "build the initrd /{output} for kernel {release}")
            }
            Self::Copy { from, to } => write!(f, "copy /{from} to /{to}"),
            Self::GrubImage {
                format,
                prefix,
                output,
                modules,
            } => write!(
                f,
                "build GRUB for {format} as /{output} (configuration in {prefix}, modules: {})",
                modules.join(" ")
            ),
        }
    }
}

/// What will be done to an image, in order. `Display` gives one line a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Root of the image.
    root: PathBuf,
    /// The distribution's program that makes GRUB images, and the package that brings it.
    grub_mkimage: (&'static str, &'static str),
    /// The package that brings dracut.
    dracut_package: &'static str,
    /// In order.
    pub steps: Vec<Step>,
    /// What the image will lack, and what the user may not expect.
    pub warnings: Vec<String>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Looks at the image and plans. Nothing is changed.
pub fn plan(options: &InitOptions) -> Result<Plan, InitError> {
    let keepable: Vec<&str> = assets::CONFIGURATION
        .iter()
        .map(|asset| asset.path)
        .collect();
    let facts = Facts::probe(&options.root, &options.machine, &keepable)?;
    draw_up(&options.root, options.kernel.as_deref(), &facts)
}

/// Plans from what was found.
fn draw_up(root: &Path, release: Option<&str>, facts: &Facts) -> Result<Plan, InitError> {
    check_tools(facts)?;
    let kernel = choose_kernel(release, facts)?;
    let mut warnings = Vec::new();
    if release.is_none() && facts.kernels.len() > 1 {
        warnings.push(format!(
            "the image has {} kernels; {} boots, --kernel chooses another",
            facts.kernels.len(),
            kernel.release
        ));
    }
    let mut steps = install_files(facts);
    let initrd = facts
        .distribution
        .initrd
        .replace("{release}", &kernel.release);
    steps.push(Step::Initrd {
        release: kernel.release.clone(),
        output: initrd.clone(),
    });
    for (link, target) in [("boot/vmlinuz", &kernel.path), ("boot/initrd", &initrd)] {
        steps.push(Step::Link {
            path: link.to_owned(),
            target: beside_boot(target),
        });
    }
    let (loader_steps, loader_warnings) = loader::plan(facts, kernel, &initrd)?;
    steps.extend(loader_steps);
    warnings.extend(loader_warnings);
    let packages = &facts.distribution.packages;
    Ok(Plan {
        root: root.to_owned(),
        grub_mkimage: (facts.distribution.grub_mkimage, packages.grub_mkimage),
        dracut_package: packages.dracut,
        steps,
        warnings,
    })
}

/// Whether everything is there that the plan runs.
fn check_tools(facts: &Facts) -> Result<(), InitError> {
    let packages = &facts.distribution.packages;
    if !facts.has_cos_init {
        return Err(InitError::NoCosInit);
    }
    if !facts.has_cos {
        return Err(InitError::NoCos);
    }
    require(facts.has_dracut, "dracut", packages.dracut)?;
    let needs_mkimage =
        facts.has_bios_modules || (facts.has_efi_modules && facts.signed_grub.is_none());
    require(
        facts.has_grub_mkimage || !needs_mkimage,
        facts.distribution.grub_mkimage,
        packages.grub_mkimage,
    )
}

/// The directories, files and links that cOS brings.
fn install_files(facts: &Facts) -> Vec<Step> {
    let mut steps: Vec<Step> = DIRECTORIES
        .iter()
        .map(|path| Step::Directory {
            path: (*path).to_owned(),
        })
        .collect();
    let configuration = assets::CONFIGURATION
        .iter()
        .filter(|asset| !facts.kept.contains(&asset.path));
    steps.extend(
        assets::PARTS
            .iter()
            .chain(configuration)
            .map(|asset| Step::Write {
                path: asset.path.to_owned(),
                mode: asset.mode,
                text: asset.render(facts),
            }),
    );
    steps.extend(assets::LINKS.iter().map(|(path, target)| Step::Link {
        path: (*path).to_owned(),
        target: (*target).to_owned(),
    }));
    steps.extend(tmp_mount(facts));
    steps.push(Step::ForgetIdentity);
    // dbus made a second copy of the identity at installation; it must be the same one.
    steps.push(Step::Link {
        path: "var/lib/dbus/machine-id".to_owned(),
        target: "/etc/machine-id".to_owned(),
    });
    steps
}

/// A unit for `/tmp` where there is none, and the link that enables it.
fn tmp_mount(facts: &Facts) -> Vec<Step> {
    if facts.has_tmp_mount {
        return Vec::new();
    }
    let unit = assets::TMP_MOUNT;
    vec![
        Step::Write {
            path: unit.path.to_owned(),
            mode: unit.mode,
            text: unit.render(facts),
        },
        Step::Link {
            path: "usr/lib/systemd/system/local-fs.target.wants/tmp.mount".to_owned(),
            target: "../tmp.mount".to_owned(),
        },
    ]
}

/// How a link inside `/boot` names a file of the image.
fn beside_boot(path: &str) -> String {
    match path.strip_prefix("boot/") {
        Some(name) => name.to_owned(),
        None => format!("../{path}"),
    }
}

fn require(there: bool, name: &str, package: &str) -> Result<(), InitError> {
    if there {
        return Ok(());
    }
    Err(InitError::Tool(cos_sys::tool::ToolError::Missing {
        name: name.to_owned(),
        package: package.to_owned(),
        searched: "the image".to_owned(),
    }))
}

fn choose_kernel<'a>(release: Option<&str>, facts: &'a Facts) -> Result<&'a Kernel, InitError> {
    let newest = facts.kernels.first().ok_or(InitError::NoKernel {
        package: facts.distribution.packages.kernel,
    })?;
    let Some(release) = release else {
        return Ok(newest);
    };
    let found = facts
        .kernels
        .iter()
        .find(|kernel| kernel.release == release);
    found.ok_or_else(|| InitError::UnknownKernel {
        release: release.to_owned(),
        present: facts
            .kernels
            .iter()
            .map(|kernel| kernel.release.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests;

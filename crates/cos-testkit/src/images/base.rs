//! The base images: Debian as the registry has it, or as mmdebstrap makes it.

use super::storage::Storage;
use super::{BASE, Suite};
use crate::{paths, process, tools};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Debian's own container images configure, for those made by mmdebstrap: no services started
/// and no package cache kept while an image is built.
const CUSTOMIZE: &[&str] = &[
    "printf '#!/bin/sh\\nexit 101\\n' >\"$1/usr/sbin/policy-rc.d\" && chmod 755 \"$1/usr/sbin/policy-rc.d\"",
    "rm -f \"$1/etc/hostname\" \"$1/etc/resolv.conf\"",
    "echo 'force-unsafe-io' >\"$1/etc/dpkg/dpkg.cfg.d/docker-apt-speedup\"",
    "printf 'Acquire::Languages \"none\";\\nAPT::Keep-Downloaded-Packages \"false\";\\n\
     Binary::apt::APT::Keep-Downloaded-Packages \"false\";\\n' >\"$1/etc/apt/apt.conf.d/docker-clean\"",
];

/// Makes sure that the storage has `docker.io/library/debian:SUITE`, and returns that name.
pub(super) fn ensure(storage: &Storage, suite: Suite) -> anyhow::Result<String> {
    let name = format!("docker.io/library/debian:{suite}");
    if storage.has(&name)? {
        return Ok(name);
    }
    if registry_answers(&name) {
        storage.pull(&name)?;
    } else {
        storage.import(&tarball(suite)?, &name)?;
    }
    Ok(name)
}

/// Asks the registry for the image's manifest, for at most ten seconds.
fn registry_answers(name: &str) -> bool {
    if std::env::var(BASE).is_ok_and(|choice| choice == "mmdebstrap") {
        return false;
    }
    tools::find_tool("skopeo").is_some_and(|skopeo| {
        let image = format!("docker://{name}");
        process::succeeds(Command::new(skopeo).args([
            "--command-timeout",
            "10s",
            "inspect",
            "--raw",
            &image,
        ]))
    })
}

/// The root file system of a minimal Debian as a tarball, made once for all builds of this tree.
fn tarball(suite: Suite) -> anyhow::Result<PathBuf> {
    let tarball = paths::images().join(format!("base-{suite}.tar"));
    if tarball.exists() {
        return Ok(tarball);
    }
    let partial = tarball.with_extension("partial.tar");
    let mmdebstrap = tools::need_tool("mmdebstrap")?;
    let mut command = Command::new(mmdebstrap);
    command.args([
        "--variant=minbase",
        "--dpkgopt=force-unsafe-io",
        "--aptopt=Acquire::Languages \"none\"",
    ]);
    for hook in CUSTOMIZE {
        command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(suite.to_string()).arg(&partial);
    process::logged(&mut command, &log(suite))?;
    fs::rename(&partial, &tarball)?;
    Ok(tarball)
}

fn log(suite: Suite) -> PathBuf {
    Path::new(&paths::images()).join(format!("base-{suite}.log"))
}

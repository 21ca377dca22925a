//! The files `cos init` brings: where each goes, and whether the image's own wins.

use super::distribution::Architecture;
use super::facts::Facts;

/// A file to be put into an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    /// From the root of the image.
    pub path: &'static str,
    pub mode: u32,
    pub text: &'static str,
}

/// Configuration of the image: what is there already stays.
pub(super) const CONFIGURATION: &[Asset] = &[
    Asset {
        path: "etc/cos/config.yaml",
        mode: 0o644,
        text: include_str!("../../assets/etc-cos/config.yaml"),
    },
    Asset {
        path: "etc/cos/policy.yaml",
        mode: 0o644,
        text: include_str!("../../assets/etc-cos/policy.yaml"),
    },
    Asset {
        path: "etc/cos/bootargs.cfg",
        mode: 0o644,
        text: include_str!("../../assets/etc-cos/bootargs.cfg"),
    },
];

/// Parts of cOS: a newer version replaces an older one's.
pub(super) const PARTS: &[Asset] = &[
    Asset {
        path: "usr/lib/dracut/modules.d/90cos/module-setup.sh",
        mode: 0o755,
        text: include_str!("../../assets/dracut/90cos/module-setup.sh"),
    },
    Asset {
        path: "usr/lib/dracut/modules.d/90cos/cos-cmdline.sh",
        mode: 0o755,
        text: include_str!("../../assets/dracut/90cos/cos-cmdline.sh"),
    },
    Asset {
        path: "usr/lib/dracut/modules.d/90cos/cos-init.service",
        mode: 0o644,
        text: include_str!("../../assets/dracut/90cos/cos-init.service"),
    },
    Asset {
        path: "usr/lib/dracut/modules.d/90cos/cos-failure.service",
        mode: 0o644,
        text: include_str!("../../assets/dracut/90cos/cos-failure.service"),
    },
    Asset {
        path: "usr/lib/dracut/modules.d/90cos/61-cos.rules",
        mode: 0o644,
        text: UDEV_RULES,
    },
    Asset {
        path: "usr/lib/udev/rules.d/61-cos.rules",
        mode: 0o644,
        text: UDEV_RULES,
    },
    Asset {
        path: "etc/dracut.conf.d/50-cos.conf",
        mode: 0o644,
        text: include_str!("../../assets/dracut/50-cos.conf"),
    },
    Asset {
        path: "system/oem/00_rootfs.yaml",
        mode: 0o644,
        text: include_str!("../../assets/system-oem/00_rootfs.yaml"),
    },
    Asset {
        path: "system/oem/05_datasource.yaml",
        mode: 0o644,
        text: include_str!("../../assets/system-oem/05_datasource.yaml"),
    },
    Asset {
        path: "system/oem/10_network.yaml",
        mode: 0o644,
        text: include_str!("../../assets/system-oem/10_network.yaml"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-setup-fs.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-setup-fs.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-setup-boot.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-setup-boot.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-setup-network.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-setup-network.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-setup-reconcile.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-setup-reconcile.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-setup-reconcile.timer",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-setup-reconcile.timer"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-assess.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-assess.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-boot-good.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-boot-good.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-boot-deadline.timer",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-boot-deadline.timer"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-boot-deadline.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-boot-deadline.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/cos-diagnose.service",
        mode: 0o644,
        text: include_str!("../../assets/systemd/cos-diagnose.service"),
    },
    Asset {
        path: "usr/lib/systemd/system/emergency.service.d/50-cos.conf",
        mode: 0o644,
        text: include_str!("../../assets/systemd/emergency-cos.conf"),
    },
    Asset {
        path: "usr/lib/systemd/system.conf.d/50-cos.conf",
        mode: 0o644,
        text: include_str!("../../assets/systemd/watchdog.conf"),
    },
];

/// Links that start the stages and the assessment at their moments, and give the binary the names that the family's users
/// type: where each is, and what it says.
pub(super) const LINKS: &[(&str, &str)] = &[
    (
        "usr/lib/systemd/system/sysinit.target.wants/cos-setup-fs.service",
        "../cos-setup-fs.service",
    ),
    (
        "usr/lib/systemd/system/multi-user.target.wants/cos-setup-boot.service",
        "../cos-setup-boot.service",
    ),
    (
        "usr/lib/systemd/system/multi-user.target.wants/cos-setup-network.service",
        "../cos-setup-network.service",
    ),
    (
        "usr/lib/systemd/system/timers.target.wants/cos-setup-reconcile.timer",
        "../cos-setup-reconcile.timer",
    ),
    (
        "usr/lib/systemd/system/boot-complete.target.requires/cos-assess.service",
        "../cos-assess.service",
    ),
    (
        "usr/lib/systemd/system/multi-user.target.wants/cos-boot-good.service",
        "../cos-boot-good.service",
    ),
    (
        "usr/lib/systemd/system/sysinit.target.wants/cos-boot-deadline.timer",
        "../cos-boot-deadline.timer",
    ),
    (
        "usr/lib/systemd/system/multi-user.target.wants/cos-diagnose.service",
        "../cos-diagnose.service",
    ),
    ("usr/bin/cos-setup", "cos"),
    ("usr/bin/cos-feature", "cos"),
    ("usr/bin/suc-upgrade", "cos"),
];

/// For images in which nothing is mounted at `/tmp`.
pub(super) const TMP_MOUNT: Asset = Asset {
    path: "usr/lib/systemd/system/tmp.mount",
    mode: 0o644,
    text: include_str!("../../assets/tmp.mount"),
};

const UDEV_RULES: &str = include_str!("../../assets/dracut/90cos/61-cos.rules");

impl Asset {
    /// The text, with what depends on the image filled in.
    pub(super) fn render(&self, facts: &Facts) -> String {
        let Architecture { serial_console, .. } = facts.architecture;
        self.text
            .replace("@COMPRESS@", compression(facts))
            .replace("@SERIAL@", serial_console)
    }
}

/// zstd unpacks fastest of those that make small initrds; gzip is everywhere.
fn compression(facts: &Facts) -> &'static str {
    // -19 takes minutes of every image build for three parts in a hundred.
    if facts.has_zstd { "zstd -12" } else { "gzip" }
}

use super::distribution::{Architecture, Distribution};
use super::*;

/// A Debian image with everything in it.
fn debian() -> Facts {
    Facts {
        distribution: Distribution::find("ID=debian"),
        architecture: Architecture::find("x86_64").unwrap(),
        kernels: vec![
            Kernel {
                release: "6.12.1".into(),
                path: "boot/vmlinuz-6.12.1".into(),
            },
            Kernel {
                release: "6.1.9".into(),
                path: "usr/lib/modules/6.1.9/vmlinuz".into(),
            },
        ],
        has_cos_init: true,
        has_cos: true,
        has_dracut: true,
        has_zstd: true,
        has_grub_mkimage: true,
        has_bios_modules: true,
        has_efi_modules: true,
        shim: None,
        signed_grub: None,
        mok_manager: None,
        has_tmp_mount: true,
        kept: vec![],
    }
}

fn drawn_up(facts: &Facts) -> Plan {
    draw_up(Path::new("/"), None, facts).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "the plan is long")]
fn the_plan_for_a_debian_image() {
    let plan = drawn_up(&debian());
    // Sizes of assets are not the point.
    let lines: Vec<String> = plan
        .to_string()
        .lines()
        .map(|line| line.split(" (").next().unwrap_or(line).to_owned())
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    make directory /oem
    make directory /system/oem
    make directory /system/features
    make directory /usr/local
    make directory /usr/local/cloud-config
    make directory /var/log/journal
    write /usr/lib/dracut/modules.d/90cos/module-setup.sh
    write /usr/lib/dracut/modules.d/90cos/cos-cmdline.sh
    write /usr/lib/dracut/modules.d/90cos/cos-init.service
    write /usr/lib/dracut/modules.d/90cos/cos-failure.service
    write /usr/lib/dracut/modules.d/90cos/61-cos.rules
    write /usr/lib/udev/rules.d/61-cos.rules
    write /etc/dracut.conf.d/50-cos.conf
    write /system/oem/00_rootfs.yaml
    write /system/oem/05_datasource.yaml
    write /system/oem/10_network.yaml
    write /usr/lib/systemd/system/cos-setup-fs.service
    write /usr/lib/systemd/system/cos-setup-boot.service
    write /usr/lib/systemd/system/cos-setup-network.service
    write /usr/lib/systemd/system/cos-setup-reconcile.service
    write /usr/lib/systemd/system/cos-setup-reconcile.timer
    write /usr/lib/systemd/system/cos-assess.service
    write /usr/lib/systemd/system/cos-boot-good.service
    write /usr/lib/systemd/system/cos-boot-deadline.timer
    write /usr/lib/systemd/system/cos-boot-deadline.service
    write /usr/lib/systemd/system/cos-diagnose.service
    write /usr/lib/systemd/system/emergency.service.d/50-cos.conf
    write /usr/lib/systemd/system.conf.d/50-cos.conf
    write /etc/cos/config.yaml
    write /etc/cos/policy.yaml
    write /etc/cos/bootargs.cfg
    link /usr/lib/systemd/system/sysinit.target.wants/cos-setup-fs.service to ../cos-setup-fs.service
    link /usr/lib/systemd/system/multi-user.target.wants/cos-setup-boot.service to ../cos-setup-boot.service
    link /usr/lib/systemd/system/multi-user.target.wants/cos-setup-network.service to ../cos-setup-network.service
    link /usr/lib/systemd/system/timers.target.wants/cos-setup-reconcile.timer to ../cos-setup-reconcile.timer
    link /usr/lib/systemd/system/boot-complete.target.requires/cos-assess.service to ../cos-assess.service
    link /usr/lib/systemd/system/multi-user.target.wants/cos-boot-good.service to ../cos-boot-good.service
    link /usr/lib/systemd/system/sysinit.target.wants/cos-boot-deadline.timer to ../cos-boot-deadline.timer
    link /usr/lib/systemd/system/multi-user.target.wants/cos-diagnose.service to ../cos-diagnose.service
    link /usr/bin/cos-setup to cos
    link /usr/bin/cos-feature to cos
    link /usr/bin/suc-upgrade to cos
    empty /etc/machine-id
    link /var/lib/dbus/machine-id to /etc/machine-id
    build the initrd /boot/initrd.img-6.12.1 for kernel 6.12.1
    link /boot/vmlinuz to vmlinuz-6.12.1
    link /boot/initrd to initrd.img-6.12.1
    copy /usr/lib/grub/i386-pc/boot.img to /usr/lib/cos/boot/bios/boot.img
    copy /usr/lib/grub/i386-pc/boot_hybrid.img to /usr/lib/cos/boot/bios/boot_hybrid.img
    build GRUB for i386-pc as /usr/lib/cos/boot/bios/core.img
    build GRUB for i386-pc-eltorito as /usr/lib/cos/boot/bios/eltorito.img
    build GRUB for x86_64-efi as /usr/lib/cos/boot/efi/BOOTX64.EFI
    write /usr/lib/cos/boot/manifest.json
    ");
    assert_eq!(
        plan.warnings,
        ["the image has 2 kernels; 6.12.1 boots, --kernel chooses another"]
    );
}

#[test]
fn a_signed_loader_is_copied_under_the_names_shim_knows() {
    let facts = Facts {
        shim: Some("usr/lib/shim/shimx64.efi.signed".into()),
        signed_grub: Some("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed".into()),
        mok_manager: Some("usr/lib/shim/mmx64.efi.signed".into()),
        has_bios_modules: false,
        has_grub_mkimage: false,
        ..debian()
    };
    let plan = draw_up(Path::new("/"), Some("6.1.9"), &facts).unwrap();
    let text = plan.to_string();
    for line in [
        "copy /usr/lib/shim/shimx64.efi.signed to /usr/lib/cos/boot/efi/BOOTX64.EFI",
        "to /usr/lib/cos/boot/efi/grubx64.efi",
        "to /usr/lib/cos/boot/efi/mmx64.efi",
        "link /boot/vmlinuz to ../usr/lib/modules/6.1.9/vmlinuz",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("build GRUB"));
    assert!(
        plan.warnings[0].contains("grub-pc-bin"),
        "{:?}",
        plan.warnings
    );
    let Some(Step::Write { text, .. }) = plan.steps.last() else {
        panic!("the manifest comes last");
    };
    let manifest = cos_boot::LoaderManifest::from_json(text.as_bytes()).unwrap();
    let efi = manifest.efi.unwrap();
    assert_eq!(efi.vendor_directory.as_deref(), Some("EFI/debian"));
    assert_eq!(efi.files[1].to, "EFI/BOOT/grubx64.efi");
    assert_eq!(manifest.initrd, "boot/initrd.img-6.1.9");
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    type Break = fn(&mut Facts);
    let cases: [(Break, &str, &str); 6] = [
        (|facts| facts.has_dracut = false, "dracut", "package dracut"),
        (
            |facts| facts.has_grub_mkimage = false,
            "grub-mkimage",
            "grub-common",
        ),
        (|facts| facts.kernels.clear(), "no kernel", "linux-image"),
        (|facts| facts.has_cos_init = false, "cos-init", "COPY"),
        (|facts| facts.has_cos = false, "/usr/bin/cos", "COPY"),
        (
            |facts| (facts.has_bios_modules, facts.has_efi_modules) = (false, false),
            "no boot loader",
            "grub-pc-bin",
        ),
    ];
    for (take_away, message, hint) in cases {
        let mut facts = debian();
        take_away(&mut facts);
        let error = draw_up(Path::new("/"), None, &facts).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    let error = draw_up(Path::new("/"), Some("5.0"), &debian()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image has no kernel 5.0; it has 6.12.1, 6.1.9"
    );
}

#[test]
fn an_image_without_a_mount_at_tmp_gets_one_enabled() {
    let facts = Facts {
        has_tmp_mount: false,
        ..debian()
    };
    let text = drawn_up(&facts).to_string();
    assert!(text.contains("write /usr/lib/systemd/system/tmp.mount"));
    assert!(text.contains("local-fs.target.wants/tmp.mount to ../tmp.mount"));
    assert!(!drawn_up(&debian()).to_string().contains("tmp.mount"));
}

#[test]
fn configuration_of_the_image_is_kept() {
    let facts = Facts {
        kept: vec!["etc/cos/bootargs.cfg"],
        ..debian()
    };
    let text = drawn_up(&facts).to_string();
    assert!(!text.contains("etc/cos/bootargs.cfg"));
    assert!(text.contains("etc/cos/config.yaml"));
}

#[test]
fn the_kernel_arguments_are_understood_by_the_builder() {
    let plan = drawn_up(&debian());
    let bootargs = plan.steps.iter().find_map(|step| match step {
        Step::Write { path, text, .. } if path == "etc/cos/bootargs.cfg" => Some(text),
        _ => None,
    });
    let arguments = cos_boot::KernelArguments::from_bootargs(bootargs.unwrap()).unwrap();
    assert!(
        arguments
            .as_str()
            .starts_with("console=tty1 console=ttyS0,115200 panic=30")
    );
}

#[test]
fn an_arm_image_has_no_bios_and_its_own_names() {
    let facts = Facts {
        architecture: Architecture::find("aarch64").unwrap(),
        has_bios_modules: false,
        ..debian()
    };
    let plan = drawn_up(&facts);
    let text = plan.to_string();
    assert!(text.contains("build GRUB for arm64-efi as /usr/lib/cos/boot/efi/BOOTAA64.EFI"));
    assert!(
        plan.warnings
            .iter()
            .all(|warning| !warning.contains("BIOS"))
    );
}

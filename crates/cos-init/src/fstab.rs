//! `/etc/fstab` of the running system: what the initrd mounted, and what the image's own file adds.

use cos_sys::mount::Mount;
use std::fmt::Write as _;
use std::path::Path;

const HEADING: &str = "# Written by cos-init at every boot: changes here are not kept.\n";

/// Renders the file. Mounts below `/sysroot` are written as the running system sees them; those
/// elsewhere (in `/run`) are not part of the root and left out, as are lines of the image's file for
/// places that are mounted already.
pub(crate) fn render(mounts: &[Mount], sysroot: &Path, image_fstab: &str) -> String {
    let mut out = HEADING.to_owned();
    let mut places = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let Ok(inside) = mount.target.strip_prefix(sysroot) else {
            continue;
        };
        // What lies under another mount is not for systemd-remount-fs and its like to touch.
        if mounts[index + 1..]
            .iter()
            .any(|later| later.target == mount.target)
        {
            continue;
        }
        let place = Path::new("/").join(inside);
        let source = match mount.source.strip_prefix(&*sysroot.to_string_lossy()) {
            Some("") => "/".to_owned(),
            Some(inside) => inside.to_owned(),
            None => mount.source.clone(),
        };
        // x-initrd.mount: made in the initrd, and so left alone until the very end of a shutdown.
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            out,
            "{} {} {} {},x-initrd.mount 0 0",
            escape(&source),
            escape(&place.to_string_lossy()),
            mount.fstype,
            escape(&inside_options(&mount.options, sysroot)),
        );
        places.push(place);
    }
    for line in image_fstab.lines() {
        let Some(place) = line.split_ascii_whitespace().nth(1) else {
            continue;
        };
        let place = Path::new(place);
        if !line.trim_start().starts_with('#')
            && place.is_absolute()
            && !places.iter().any(|at| at == place)
        {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Options that name directories (of overlays) as the running system sees them.
fn inside_options(options: &str, sysroot: &Path) -> String {
    let prefix = format!("={}/", sysroot.display());
    options.replace(&prefix, "=/")
}

/// fstab(5): blanks and backslashes in octal.
fn escape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    for c in field.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => {
                let _infallible = write!(out, "\\{:03o}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: &str, target: &str, fstype: &str, options: &str) -> Mount {
        Mount {
            source: source.into(),
            target: target.into(),
            fstype: fstype.into(),
            options: options.into(),
        }
    }

    #[test]
    fn places_are_those_of_the_running_system() {
        let mounts = [
            mount("/dev/sda1", "/sysroot", "ext4", "hidden"),
            mount("/dev/mapper/cos-root", "/sysroot", "erofs", "ro"),
            mount("PARTUUID=1-2", "/sysroot/usr/local", "ext4", "rw"),
            mount(
                "overlay",
                "/sysroot/etc/ssh",
                "overlay",
                "lowerdir=/run/cos/rootfs/etc/ssh,upperdir=/sysroot/usr/local/.state/u",
            ),
            mount(
                "/sysroot/usr/local/.state/a b",
                "/sysroot/home",
                "none",
                "bind",
            ),
            mount("tmpfs", "/run/cos/overlay", "tmpfs", "size=20%"),
        ];
        let image = "# c\nLABEL=X /data ext4 rw 0 0\n/dev/sda1 / ext4 rw 0 1\n/swapfile none swap sw\nshort\n";
        assert_eq!(
            render(&mounts, Path::new("/sysroot"), image),
            "# Written by cos-init at every boot: changes here are not kept.\n\
             /dev/mapper/cos-root / erofs ro,x-initrd.mount 0 0\n\
             PARTUUID=1-2 /usr/local ext4 rw,x-initrd.mount 0 0\n\
             overlay /etc/ssh overlay lowerdir=/run/cos/rootfs/etc/ssh,upperdir=/usr/local/.state/u,x-initrd.mount 0 0\n\
             /usr/local/.state/a\\040b /home none bind,x-initrd.mount 0 0\n\
             LABEL=X /data ext4 rw 0 0\n"
        );
    }
}

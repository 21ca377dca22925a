//! The text of GRUB's configuration files.
//!
//! Nothing here is copied from an image: what boots is decided by `cos/boot.env` and the
//! snapshot's own `boot.cfg`, both found on *the disk GRUB was loaded from*, never on another
//! that happens to bear the same label.

use crate::{BOOT_ENVIRONMENT, KernelArguments};
use cos_verity::RootHash;

/// Directory of `grub.cfg` on the EFI system partition and on live media, without slashes at its
/// ends. GRUB images built by `cos init` have it as their prefix.
pub const DISK_LOADER_DIRECTORY: &str = "EFI/cos";

/// What the configuration on an installed disk needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLoader {
    /// Name of the operating system, for the menu.
    pub title: String,
    /// Partition number of COS_OEM, from 1.
    pub oem_number: u32,
    /// Partition number of COS_STATE, from 1.
    pub state_number: u32,
    /// GPT identity of COS_STATE.
    pub state_partuuid: String,
    /// Partition number of COS_RECOVERY, from 1.
    pub recovery_number: u32,
    /// GPT identity of COS_RECOVERY.
    pub recovery_partuuid: String,
    /// Seconds the menu waits.
    pub timeout: u32,
}

/// What the configuration on a live medium needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumLoader {
    /// Name of the operating system, for the menu.
    pub title: String,
    /// UUID of the medium's file system, as GRUB and blkid print it.
    pub uuid: String,
    /// Seconds the menu waits.
    pub timeout: u32,
}

/// `boot.cfg`: what GRUB must know about one snapshot.
pub fn snapshot_fragment(root_hash: &RootHash, arguments: &KernelArguments) -> String {
    format!("set cos_roothash={root_hash}\nset cos_arguments='{arguments}'\n")
}

/// The configuration a signed GRUB looks for in its vendor's directory: on to ours.
pub fn vendor_redirect() -> String {
    format!("set prefix=($root)/{DISK_LOADER_DIRECTORY}\nconfigfile $prefix/grub.cfg\n")
}

impl DiskLoader {
    /// The text of `grub.cfg`.
    pub fn render(&self) -> String {
        let title = menu_title(&self.title);
        let Self {
            oem_number,
            state_number,
            state_partuuid,
            recovery_number,
            recovery_partuuid,
            timeout,
            ..
        } = self;
        format!(
            r#"{HEADER}
set timeout={timeout}
set default=default

# The disk GRUB came from; another one may carry the same labels.
regexp --set=1:cos_disk '^\(?([^,)]+)' "$root"
set cos_oem="$cos_disk,gpt{oem_number}"
set cos_state="$cos_disk,gpt{state_number}"
set cos_state_source="PARTUUID={state_partuuid}"
set cos_recovery="$cos_disk,gpt{recovery_number}"
set cos_recovery_source="PARTUUID={recovery_partuuid}"
{BOOT_FUNCTION}
{BOOT_RULE}
cos_load_state
menuentry "{title}" --id default {{
  cos_boot_by_rule
}}
for cos_snapshot in $cos_active $cos_passive; do
  menuentry "{title}, snapshot $cos_snapshot" --id "$cos_snapshot" "$cos_snapshot" {{
    cos_boot_snapshot "$2"
  }}
done
menuentry "{title}, recovery" --id recovery {{
  cos_boot_recovery
}}
"#
        )
    }
}

impl MediumLoader {
    /// The text of `grub.cfg`.
    pub fn render(&self) -> String {
        let title = menu_title(&self.title);
        let Self { uuid, timeout, .. } = self;
        format!(
            r#"{HEADER}
set timeout={timeout}
set default=live

# From a CD, GRUB stands on the medium; from its EFI image, the medium must be looked for.
set cos_medium="$root"
if [ ! -e ($cos_medium)/{BOOT_ENVIRONMENT} ]; then
  search --no-floppy --set=cos_medium --fs-uuid {uuid}
fi
{BOOT_FUNCTION}
load_env --file ($cos_medium)/{BOOT_ENVIRONMENT} cos_active
menuentry "{title} (live)" --id live {{
  cos_boot live "$cos_medium" UUID={uuid} "$cos_active"
}}
"#
        )
    }
}

const HEADER: &str = "\
# Written by cOS. Changes here are lost.

# Firmware consoles are mirrored to serial lines by UEFI itself, not by a BIOS.
if [ \"$grub_platform\" = pc ]; then
  if serial --unit=0 --speed=115200; then
    terminal_input console serial
    terminal_output console serial
  fi
fi";

/// `cos_boot MODE DEVICE SOURCE ID`: comes back only when the snapshot cannot be loaded. `source` is
/// true of any file, even of none, so that what it should have set is looked at.
const BOOT_FUNCTION: &str = r#"
function cos_boot {
  set cos_directory="($2)/cos/snapshots/$4"
  set cos_roothash=
  set cos_arguments=
  if [ -f "$cos_directory/boot.cfg" ]; then
    source "$cos_directory/boot.cfg"
  fi
  if [ -n "$cos_roothash" ]; then
    echo "Loading $4 ..."
    if linux "$cos_directory/vmlinuz" cos.mode=$1 cos.source=$3 cos.snapshot=$4 cos.roothash=$cos_roothash $cos_words $cos_arguments $extra_cmdline $cos_mode_cmdline; then
      if initrd "$cos_directory/initrd"; then
        boot
      fi
    fi
  fi
  echo "Snapshot $4 cannot be loaded."
}
"#;

/// The boot rule ([`crate::decide`]) in GRUB's language.
const BOOT_RULE: &str = include_str!("../assets/boot-rule.cfg");

/// A title that stays inside the double quotes of GRUB and of os-release.
pub(crate) fn menu_title(title: &str) -> String {
    let plain = |c: &char| !c.is_control() && !matches!(c, '"' | '$' | '\\' | '`');
    title.chars().filter(plain).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_leave_its_quotes() {
        assert_eq!(menu_title("a\"$(b)\n\\c"), "a(b)c");
    }

    #[test]
    fn the_disk_configuration_names_its_own_disk() {
        let loader = DiskLoader {
            title: "Debian".into(),
            oem_number: 3,
            state_number: 5,
            state_partuuid: "aaaa".into(),
            recovery_number: 4,
            recovery_partuuid: "bbbb".into(),
            timeout: 3,
        };
        let text = loader.render();
        let (settings, rest) = text.split_once(BOOT_FUNCTION).unwrap();
        let (_, menu) = rest.split_once(BOOT_RULE).unwrap();
        insta::assert_snapshot!(settings.strip_prefix(HEADER).unwrap().trim(), @r#"
        set timeout=3
        set default=default

        # The disk GRUB came from; another one may carry the same labels.
        regexp --set=1:cos_disk '^\(?([^,)]+)' "$root"
        set cos_oem="$cos_disk,gpt3"
        set cos_state="$cos_disk,gpt5"
        set cos_state_source="PARTUUID=aaaa"
        set cos_recovery="$cos_disk,gpt4"
        set cos_recovery_source="PARTUUID=bbbb"
        "#);
        insta::assert_snapshot!(menu.trim(), @r#"
        cos_load_state
        menuentry "Debian" --id default {
          cos_boot_by_rule
        }
        for cos_snapshot in $cos_active $cos_passive; do
          menuentry "Debian, snapshot $cos_snapshot" --id "$cos_snapshot" "$cos_snapshot" {
            cos_boot_snapshot "$2"
          }
        done
        menuentry "Debian, recovery" --id recovery {
          cos_boot_recovery
        }
        "#);
    }

    #[test]
    fn the_medium_configuration_names_its_own_medium() {
        let loader = MediumLoader {
            title: "Debian".into(),
            uuid: "2026-01-01-00-00-00-00".into(),
            timeout: 3,
        };
        let text = loader.render();
        let (settings, menu) = text.split_once(BOOT_FUNCTION).unwrap();
        insta::assert_snapshot!(settings.strip_prefix(HEADER).unwrap().trim(), @r#"
        set timeout=3
        set default=live

        # From a CD, GRUB stands on the medium; from its EFI image, the medium must be looked for.
        set cos_medium="$root"
        if [ ! -e ($cos_medium)/cos/boot.env ]; then
          search --no-floppy --set=cos_medium --fs-uuid 2026-01-01-00-00-00-00
        fi
        "#);
        insta::assert_snapshot!(menu.trim(), @r#"
        load_env --file ($cos_medium)/cos/boot.env cos_active
        menuentry "Debian (live)" --id live {
          cos_boot live "$cos_medium" UUID=2026-01-01-00-00-00-00 "$cos_active"
        }
        "#);
    }

    #[test]
    fn the_snapshot_fragment() {
        let hash = "ab".repeat(32).parse().unwrap();
        let arguments = KernelArguments::new("console=ttyS0 panic=30").unwrap();
        insta::assert_snapshot!(snapshot_fragment(&hash, &arguments), @"
        set cos_roothash=abababababababababababababababababababababababababababababababab
        set cos_arguments='console=ttyS0 panic=30'
        ");
    }
}

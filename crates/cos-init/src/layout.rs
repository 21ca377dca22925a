//! `/run/cos/cos-layout.env`: which paths may be written, and which of them are kept.
//!
//! Written by stage `rootfs`; the keys are those of the whole cOS family. A shell-like list of
//! `KEY="words"`, read and never run.

use crate::cmdline::{OverlaySpec, parse_bool};
use crate::volume::{Volume, parse_path};
use std::path::{Path, PathBuf};

/// Most words taken from one key.
const MAX_WORDS: usize = 256;

/// Paths whose changes last until the reboot, unless the layout says otherwise.
const RW_PATHS: [&str; 6] = ["/etc", "/var", "/srv", "/home", "/opt", "/root"];

/// Paths whose changes are kept, unless the layout says otherwise; the first list always, the second
/// where the image has such a directory.
const STATE_PATHS: [&str; 8] = [
    "/etc/systemd",
    "/etc/ssh",
    "/home",
    "/opt",
    "/root",
    "/srv",
    "/var/log",
    "/var/lib/systemd",
];
const STATE_PATHS_IF_PRESENT: [&str; 12] = [
    "/etc/NetworkManager/system-connections",
    "/etc/cni",
    "/etc/kubernetes",
    "/etc/rancher",
    "/var/lib/NetworkManager",
    "/var/lib/cloud",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/rancher",
];

/// Where persistent paths are kept.
pub(crate) const STATE_TARGET: &str = "/usr/local/.state";

/// Paths that are to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatePath {
    /// The path.
    pub path: PathBuf,
    /// Whether it is left alone when the image has no such directory.
    pub only_if_present: bool,
}

/// What the layout asks for.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the family's file"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// `VOLUMES`; `None` when not said.
    pub volumes: Option<Vec<Volume>>,
    /// `OVERLAY`
    pub overlay: Option<OverlaySpec>,
    /// `DEBUG_RW`
    pub debug_rw: bool,
    /// `MERGE`: whether the command line's mounts are added to `VOLUMES` or replaced by them.
    pub merge: bool,
    /// `RW_PATHS`; defaults are silently left out where the image does not have them.
    pub rw_paths: Vec<PathBuf>,
    /// Whether `RW_PATHS` was said.
    pub rw_paths_said: bool,
    /// `PERSISTENT_STATE_TARGET`
    pub state_target: PathBuf,
    /// `PERSISTENT_STATE_PATHS`
    pub state_paths: Vec<StatePath>,
    /// `PERSISTENT_STATE_BIND`: kept as plain directories and not as overlays.
    pub state_bind: bool,
    /// Entries that were not understood.
    pub warnings: Vec<String>,
}

impl Default for Layout {
    fn default() -> Self {
        let state = |only_if_present| {
            move |path: &&str| StatePath {
                path: path.into(),
                only_if_present,
            }
        };
        Self {
            volumes: None,
            overlay: None,
            debug_rw: false,
            merge: true,
            rw_paths: RW_PATHS.iter().map(PathBuf::from).collect(),
            rw_paths_said: false,
            state_target: STATE_TARGET.into(),
            state_paths: STATE_PATHS
                .iter()
                .map(state(false))
                .chain(STATE_PATHS_IF_PRESENT.iter().map(state(true)))
                .collect(),
            state_bind: false,
            warnings: Vec::new(),
        }
    }
}

impl Layout {
    /// Reads a layout. What is not understood becomes a warning: a typing error must not keep a
    /// machine from booting.
    pub(crate) fn parse(text: &str) -> Self {
        let mut layout = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((key, value)) => layout.set(key.trim(), unquote(value)),
                None => layout
                    .warnings
                    .push(format!("line {} is no KEY=VALUE", index + 1)),
            }
        }
        layout
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "VOLUMES" => {
                let volumes = self.each(key, value, Volume::parse);
                self.volumes = Some(volumes);
            }
            "OVERLAY" => self.overlay = self.each(key, value, OverlaySpec::parse).pop(),
            "DEBUG_RW" => self.debug_rw = self.flag(key, value).unwrap_or(self.debug_rw),
            "MERGE" => self.merge = self.flag(key, value).unwrap_or(self.merge),
            "RW_PATHS" => {
                self.rw_paths = self.each(key, value, parse_path);
                self.rw_paths_said = true;
            }
            "PERSISTENT_STATE_TARGET" => {
                if let Some(path) = self.each(key, value, parse_path).pop() {
                    self.state_target = path;
                }
            }
            "PERSISTENT_STATE_PATHS" => {
                let paths = self.each(key, value, parse_path);
                let said = |path| StatePath {
                    path,
                    only_if_present: false,
                };
                self.state_paths = paths.into_iter().map(said).collect();
            }
            "PERSISTENT_STATE_BIND" => {
                self.state_bind = self.flag(key, value).unwrap_or(self.state_bind);
            }
            _ => self.warnings.push(format!("unknown key {key:?}")),
        }
    }

    /// The words of a value, those that parse.
    fn each<T>(&mut self, key: &str, value: &str, parse: fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut parsed = Vec::new();
        for word in value.split_ascii_whitespace().take(MAX_WORDS) {
            match parse(word) {
                Ok(good) => parsed.push(good),
                Err(why) => self.warnings.push(format!("{key}: {why}")),
            }
        }
        parsed
    }

    fn flag(&mut self, key: &str, value: &str) -> Option<bool> {
        let flag = parse_bool(value);
        if flag.is_none() {
            self.warnings
                .push(format!("{key}: {value:?} is neither true nor false"));
        }
        flag
    }

    /// Whether `path` is among the persistent ones.
    pub(crate) fn keeps(&self, path: &Path) -> bool {
        self.state_paths.iter().any(|state| state.path == path)
    }
}

fn unquote(value: &str) -> &str {
    let value = value.trim();
    ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_familys_file_is_understood() {
        let layout = Layout::parse(
            "# layout\nVOLUMES=\"LABEL=COS_OEM:/oem LABEL=COS_PERSISTENT:/usr/local\"\n\
             OVERLAY='tmpfs:25%'\nRW_PATHS=\"/var /etc\"\nPERSISTENT_STATE_BIND=\"true\"\n\
             PERSISTENT_STATE_PATHS=\"/home /etc/ssh\"\nexport MERGE=false\nDEBUG_RW=0\n",
        );
        assert_eq!(layout.warnings, Vec::<String>::new());
        assert_eq!(layout.volumes.unwrap().len(), 2);
        assert_eq!(layout.overlay, Some(OverlaySpec::Tmpfs("25%".into())));
        assert_eq!(layout.rw_paths, [PathBuf::from("/var"), "/etc".into()]);
        assert!(layout.state_bind && !layout.merge && !layout.debug_rw);
        assert_eq!(layout.state_paths[1].path, Path::new("/etc/ssh"));
        assert_eq!(layout.state_target, Path::new(STATE_TARGET));
    }

    #[test]
    fn mistakes_are_told_and_the_rest_counts() {
        let layout =
            Layout::parse("RW_PATHS=\"/etc ../x\"\nPERSISTENT_STATE_BIND=maybe\nnonsense\nX=1\n");
        assert_eq!(layout.rw_paths, [PathBuf::from("/etc")]);
        assert!(!layout.state_bind);
        assert_eq!(layout.warnings.len(), 4, "{:?}", layout.warnings);
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let layout = Layout::parse("VOLUMES=\"\"\nPERSISTENT_STATE_PATHS=\n");
        assert_eq!(layout.volumes, Some(vec![]));
        assert!(layout.state_paths.is_empty());
    }
}

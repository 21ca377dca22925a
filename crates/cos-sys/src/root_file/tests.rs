use super::*;
use fs_err::os::unix::fs::symlink;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use tempfile::TempDir;

const LIMIT: u64 = 1 << 20;

struct Scratch {
    root: Root,
    top: PathBuf,
    _temp: TempDir,
}

fn scratch() -> Scratch {
    let temp = tempfile::tempdir().unwrap();
    // One level down: what leaves the root lands where the test can see it.
    let top = temp.path().canonicalize().unwrap().join("root");
    fs_err::create_dir(&top).unwrap();
    fs_err::write(top.join("../outside"), "untouched").unwrap();
    Scratch {
        root: Root::open(&top).unwrap(),
        top,
        _temp: temp,
    }
}

impl Scratch {
    fn write(&self, path: &str, text: &str) {
        let path = Path::new(path);
        self.root
            .write(path, text.as_bytes(), &Metadata::default())
            .unwrap();
    }

    fn text(&self, path: &str) -> String {
        let bytes = self.root.read(Path::new(path), LIMIT).unwrap().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.top.join(path)).unwrap();
    }

    fn mode(&self, path: &str) -> u32 {
        fs_err::metadata(self.top.join(path)).unwrap().mode() & 0o7777
    }

    fn names(&self, path: &str) -> Vec<OsString> {
        self.root.list(Path::new(path)).unwrap().unwrap()
    }

    fn fifo(&self, path: &str) {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            self.top.join(path),
            FileType::Fifo,
            Mode::from_raw_mode(0o666),
            0,
        )
        .unwrap();
    }
}

fn mode(mode: u32) -> Metadata {
    Metadata {
        mode: Some(mode),
        ..Metadata::default()
    }
}

fn errno(error: &RootPathError) -> Option<Errno> {
    match error {
        RootPathError::Failed { source, .. } => Errno::from_io_error(source),
        RootPathError::TooLarge { .. } | RootPathError::NotAFile { .. } => None,
    }
}

#[test]
fn links_in_every_position_stay_inside() {
    let s = scratch();
    fs_err::create_dir_all(s.top.join("var/home/user")).unwrap();
    s.link("/var/home", "home");
    s.link("../../../../../../../outside", "var/home/user/relative");
    s.link("/outside", "var/home/user/absolute");
    s.link("../../..", "var/home/user/up");
    s.write("/home/user/relative", "one");
    s.write("home/user/up/../../through", "two");
    assert_eq!(s.text("/outside"), "one");
    s.write("/home/user/absolute", "three");
    assert_eq!(s.text("/outside"), "three");
    assert_eq!(s.text("/through"), "two");
    assert_eq!(
        fs_err::read(s.top.join("../outside")).unwrap(),
        b"untouched"
    );
    s.write("../../outside", "four");
    assert_eq!(s.text("/outside"), "four");
    let real = s.root.real_path(Path::new("/home/user/absolute")).unwrap();
    assert_eq!(real, s.top.join("outside"));
}

#[test]
fn a_dangling_link_is_filled_and_kept() {
    let s = scratch();
    fs_err::create_dir(s.top.join("etc")).unwrap();
    s.link("../run/systemd/resolve/stub", "etc/resolv.conf");
    assert!(!s.root.exists(Path::new("/etc/resolv.conf")));
    s.write("/etc/resolv.conf", "nameserver ::1\n");
    assert_eq!(s.text("/run/systemd/resolve/stub"), "nameserver ::1\n");
    let link = s.root.read_link(Path::new("/etc/resolv.conf")).unwrap();
    assert_eq!(link, Path::new("../run/systemd/resolve/stub"));
    assert_eq!(s.mode("run/systemd"), 0o755);
    assert_eq!(s.names("/etc"), ["resolv.conf"]);
    assert_eq!(s.names("/run/systemd/resolve"), ["stub"]);
}

#[test]
fn a_dangling_link_to_a_directory_is_made() {
    let s = scratch();
    s.link("/var/opt", "opt");
    let made = s.root.make_directory(Path::new("/opt/a")).unwrap();
    assert_eq!(made, s.top.join("var/opt/a"));
}

#[test]
fn links_in_a_circle_are_eloop() {
    let s = scratch();
    s.link("b", "a");
    s.link("a", "b");
    for path in ["/a", "/a/below"] {
        let path = Path::new(path);
        let write = s.root.write(path, b"", &Metadata::default()).unwrap_err();
        assert_eq!(errno(&write), Some(Errno::LOOP));
        let read = s.root.read(path, LIMIT).unwrap_err();
        assert_eq!(errno(&read), Some(Errno::LOOP));
        assert!(write.hint().is_some());
    }
    for link in 0..39 {
        s.link(&format!("l{}", link + 1), &format!("l{link}"));
    }
    s.write("/l0", "forty links");
    s.link("l0", "longer");
    s.link("longer", "longest");
    let path = Path::new("/longest");
    let error = s.root.write(path, b"", &Metadata::default()).unwrap_err();
    assert_eq!(errno(&error), Some(Errno::LOOP));
}

#[test]
fn what_is_not_a_file_is_neither_read_nor_written() {
    let s = scratch();
    s.fifo("pipe");
    fs_err::create_dir(s.top.join("directory")).unwrap();
    for (path, kind) in [("/pipe", "FIFO"), ("/directory", "directory")] {
        let path = Path::new(path);
        let read = s.root.read(path, LIMIT).unwrap_err().to_string();
        let written = s.root.write(path, b"x", &Metadata::default());
        let written = written.unwrap_err().to_string();
        assert!(
            read.contains(kind) && written.contains(kind),
            "{read} {written}"
        );
    }
    for path in ["/", "/directory/..", ".."] {
        let error = s.root.write(Path::new(path), b"", &Metadata::default());
        assert_eq!(errno(&error.unwrap_err()), Some(Errno::ISDIR));
    }
    assert_eq!(s.root.read(Path::new("/nothing"), LIMIT).unwrap(), None);
    let below = s.root.read(Path::new("/pipe/below"), LIMIT);
    assert_eq!(below.unwrap(), None);
}

#[test]
fn reading_stops_at_the_limit() {
    let s = scratch();
    s.write("/file", "12345");
    let path = Path::new("/file");
    assert_eq!(s.root.read(path, 5).unwrap().unwrap(), b"12345");
    let error = s.root.read(path, 4).unwrap_err().to_string();
    assert!(
        error.contains("/file") && error.contains("4 bytes"),
        "{error}"
    );
}

#[test]
fn modes_are_exact_and_kept() {
    let s = scratch();
    s.write("/a/b/new", "");
    assert_eq!((s.mode("a"), s.mode("a/b/new")), (0o755, 0o644));
    let path = Path::new("/a/b/new");
    for wanted in [0o666, 0o4711, 0o000, 0o600] {
        s.root.write(path, b"x", &mode(wanted)).unwrap();
        assert_eq!(s.mode("a/b/new"), wanted);
    }
    s.write("/a/b/new", "again");
    assert_eq!(s.mode("a/b/new"), 0o600);
    s.root.set_metadata(path, &mode(0o640)).unwrap();
    assert_eq!(s.mode("a/b/new"), 0o640);
    let status = s.root.status(path).unwrap().unwrap();
    assert_eq!((status.mode, status.size), (0o640, 5));
}

#[test]
fn a_replaced_file_keeps_its_owner() {
    let s = scratch();
    s.write("/file", "one");
    if !rustix::process::geteuid().is_root() {
        return cos_testkit::skip("a_replaced_file_keeps_its_owner", "needs root");
    }
    std::os::unix::fs::chown(s.top.join("file"), Some(1234), Some(5678)).unwrap();
    s.write("/file", "two");
    let found = fs_err::metadata(s.top.join("file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (1234, 5678));
    let owner = Metadata {
        owner: Some(4321),
        ..mode(0o6755)
    };
    s.root.write(Path::new("/file"), b"three", &owner).unwrap();
    let found = fs_err::metadata(s.top.join("file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (4321, 5678));
    assert_eq!(found.mode() & 0o7777, 0o6755);
}

#[test]
fn what_is_not_committed_leaves_nothing() {
    let s = scratch();
    s.write("/file", "old");
    let mut file = s
        .root
        .create_file(Path::new("/file"), &mode(0o666))
        .unwrap();
    file.write_all(b"half").unwrap();
    let names = s.names("/");
    assert_eq!(names.len(), 2);
    let temporary = s.top.join(&names[0]);
    assert_eq!(fs_err::metadata(temporary).unwrap().mode() & 0o7777, 0o600);
    drop(file);
    assert_eq!(s.names("/"), ["file"]);
    assert_eq!(s.text("/file"), "old");
}

#[test]
fn a_directory_swapped_for_a_link_changes_nothing() {
    let s = scratch();
    fs_err::create_dir(s.top.join("a")).unwrap();
    fs_err::create_dir(s.top.join("../elsewhere")).unwrap();
    let path = Path::new("/a/file");
    let mut file = s.root.create_file(path, &Metadata::default()).unwrap();
    fs_err::rename(s.top.join("a"), s.top.join("moved")).unwrap();
    s.link("../elsewhere", "a");
    file.write_all(b"x").unwrap();
    file.commit().unwrap();
    assert_eq!(s.text("/moved/file"), "x");
    assert!(!s.top.join("../elsewhere/file").exists());
}

#[test]
fn directories_are_made_and_only_the_last_is_changed() {
    let s = scratch();
    let path = Path::new("/a/b/c");
    s.root.make_directories(path, &mode(0o2770)).unwrap();
    assert_eq!(s.mode("a/b/c"), 0o2770);
    assert_eq!((s.mode("a"), s.mode("a/b")), (0o755, 0o755));
    let above = Path::new("/a/b");
    s.root.make_directories(above, &mode(0o700)).unwrap();
    s.root
        .make_directories(above, &Metadata::default())
        .unwrap();
    assert_eq!((s.mode("a/b"), s.mode("a/b/c")), (0o700, 0o2770));
    s.write("/file", "");
    for path in ["/file", "/file/below"] {
        let error = s.root.make_directories(Path::new(path), &mode(0o700));
        let error = error.unwrap_err();
        assert_eq!(errno(&error), Some(Errno::NOTDIR));
        assert!(error.to_string().contains(path), "{error}");
    }
    s.root
        .make_directories(Path::new("/"), &mode(0o711))
        .unwrap();
    assert_eq!(s.mode("."), 0o711);
}

#[test]
fn links_are_made_replaced_and_removed_themselves() {
    let s = scratch();
    s.write("/file", "kept");
    let path = Path::new("/etc/link");
    s.root.symlink(Path::new("/dev/null"), path).unwrap();
    s.root.symlink(Path::new("../file"), path).unwrap();
    assert_eq!(s.text("/etc/link"), "kept");
    let status = s.root.link_status(path).unwrap().unwrap();
    assert_eq!(status.kind, FileType::Symlink);
    assert!(s.root.remove(path).unwrap());
    assert!(!s.root.remove(path).unwrap());
    assert_eq!(s.names("/etc"), Vec::<OsString>::new());
    assert_eq!(s.text("/file"), "kept");
    let error = s.root.remove(Path::new("/etc")).unwrap_err();
    assert_eq!(errno(&error), Some(Errno::ISDIR));
    let error = s
        .root
        .symlink(Path::new("x"), Path::new("/etc"))
        .unwrap_err();
    assert_eq!(errno(&error), Some(Errno::ISDIR));
    assert_eq!(s.names("/"), ["etc", "file"]);
}

#[test]
fn a_new_directory_is_a_root_of_its_own() {
    let s = scratch();
    let made = s.root.new_directory(Path::new("/home/user"), 0o700);
    let home = made.unwrap().unwrap();
    let again = s.root.new_directory(Path::new("/home/user"), 0o700);
    assert!(again.unwrap().is_none());
    assert!(
        s.root
            .new_directory(Path::new("/"), 0o700)
            .unwrap()
            .is_none()
    );
    s.link("/home", "home/user/up");
    let file = Path::new("/up/file");
    home.write(file, b"x", &Metadata::default()).unwrap();
    assert_eq!(s.text("/home/user/home/file"), "x");
    let descended = s.root.descend(Path::new("/home")).unwrap();
    let status = descended.status(Path::new("user")).unwrap().unwrap();
    assert_eq!((status.kind, status.mode), (FileType::Directory, 0o700));
}

#[test]
fn an_atomic_file_says_what_it_replaces() {
    let s = scratch();
    s.link("/b/file", "link");
    let path = Path::new("/link");
    let mut file = s.root.create_file(path, &mode(0o640)).unwrap();
    assert_eq!(file.replaces(), None);
    file.write_all(b"x").unwrap();
    file.commit().unwrap();
    let file = s.root.create_file(path, &Metadata::default()).unwrap();
    assert_eq!(file.replaces(), s.root.status(path).unwrap());
    let above = s.root.status(Path::new("/b")).unwrap().unwrap();
    assert_eq!(file.directory().unwrap().mode, above.mode);
}

#[test]
fn links_planted_in_a_shared_directory_are_not_followed() {
    let s = scratch();
    if !rustix::process::geteuid().is_root() {
        return cos_testkit::skip("links_planted_in_a_shared_directory", "needs root");
    }
    s.root
        .make_directories(Path::new("/tmp"), &mode(0o1777))
        .unwrap();
    s.link("/etc/target", "tmp/mine");
    s.link("/etc/target", "tmp/planted");
    std::os::unix::fs::lchown(s.top.join("tmp/planted"), Some(1000), None).unwrap();
    s.write("/tmp/mine", "x");
    let path = Path::new("/tmp/planted");
    let error = s.root.write(path, b"", &Metadata::default()).unwrap_err();
    assert_eq!(errno(&error), Some(Errno::ACCESS));
}

/// A file mounted on another, until this is dropped.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_mount_point_is_written_in_place() {
    let s = scratch();
    s.write("/file", "own");
    s.write("/mounted", "long before");
    let path = s.top.join("file");
    if let Err(errno) = rustix::mount::mount_bind(s.top.join("mounted"), &path) {
        return cos_testkit::skip("a_mount_point_is_written_in_place", &errno.to_string());
    }
    let bound = Bound(path);
    s.root
        .write(Path::new("/file"), b"new", &mode(0o640))
        .unwrap();
    assert_eq!(s.text("/mounted"), "new");
    assert_eq!((s.mode("mounted"), s.names("/").len()), (0o640, 2));
    drop(bound);
    assert_eq!(s.text("/file"), "own");
}

#[test]
fn files_of_the_kernel_are_written_in_place() {
    if !rustix::process::geteuid().is_root() {
        return cos_testkit::skip("files_of_the_kernel_are_written_in_place", "needs root");
    }
    let root = Root::open(Path::new("/")).unwrap();
    let own = Path::new("/proc/thread-self/comm");
    root.write(own, b"cos-comm", &mode(0o600)).unwrap();
    assert_eq!(root.read(own, LIMIT).unwrap().unwrap(), b"cos-comm\n");
    let null = fs_err::metadata("/dev/null").unwrap();
    root.write(Path::new("/dev/null"), b"x", &mode(0o600))
        .unwrap();
    let after = fs_err::metadata("/dev/null").unwrap();
    assert_eq!(after.permissions().mode(), null.permissions().mode());
    assert_eq!(after.ino(), null.ino());
    let missing = Path::new("/proc/sys/kernel/no-such-key");
    let error = root.write(missing, b"", &Metadata::default()).unwrap_err();
    assert_eq!(errno(&error), Some(Errno::NOENT));
}

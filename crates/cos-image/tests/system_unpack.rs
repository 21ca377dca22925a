//! Images with every oddity, read by us and unpacked by umoci, compared entry by entry.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod support;

use cos_events::Silent;
use cos_image::{Image, Source, load, resolve};
use std::collections::BTreeMap;
use std::path::Path;
use support::layout::{self, Pack};
use support::{MemoryStore, has, is_root, listing, options, shell};

fn read(source: &str, temp: &Path) -> (Image, MemoryStore) {
    let options = options(temp);
    let source: Source = source.parse().unwrap();
    let store = MemoryStore::default();
    let resolved = resolve(&source, &options, &Silent).unwrap();
    let image = load(resolved, &store, &options, &Silent).unwrap();
    (image, store)
}

fn lines(source: &str, temp: &Path) -> BTreeMap<String, String> {
    let (image, store) = read(source, temp);
    listing::of_tree(&image.tree, &store)
}

/// A directory with all kinds of files, as root makes it.
const BASE: &str = r#"
mkdir -p base/dir/sub base/sparse base/empty base/opaque/old base/emptied base/swap-dir base/usr/lib
cd base
chmod 1777 empty; chown 100000:200000 empty
for n in a b c; do echo "content of $n" > dir/$n; done
chmod 4755 dir/a; chown 12:34 dir/b; chmod 0000 dir/c
ln dir/a dir/sub/a-again; ln dir/a a-third
ln -s dir/a short; ln -s "$(printf 'x%.0s' {1..200})" long-link
ln -s usr/lib lib
mknod null c 1 3; mknod disk b 259 70000; mkfifo pipe
touch -h -d '1969-12-31 00:00:00 UTC' short
touch -d '1969-12-30 23:59:59.25 UTC' dir/b
touch -d '2112-01-01 00:00:00.999 UTC' dir/c
printf 'x' > "$(printf 'n%.0s' {1..255})"
mkdir -p "deep/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})"
echo deep > "deep/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})/file"
ln "deep/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})/file" "deep/$(printf 'h%.0s' {1..150})"
echo latin > $'caf\xe9'; echo line > $'new\nline'; echo space > 'a space'
echo cap > dir/cap; setcap cap_net_raw+ep dir/cap
setfattr -n user.text -v hello dir/cap; setfattr -n user.binary -v 0x00ff3d0a dir/cap
setfattr -n trusted.x -v y dir; setfattr -n user.empty dir/a
head -c 5000 /dev/urandom > sparse/tail; truncate -s 3M sparse/tail
truncate -s 10M sparse/holes
for i in 0 1 2 3 4 5 6 7 8; do echo block$i | dd of=sparse/holes bs=4096 seek=$((i*250)) conv=notrunc status=none; done
truncate -s 1M sparse/all
head -c 300000 /dev/urandom > random
echo 1 > opaque/gone; echo 2 > opaque/old/gone; echo 3 > emptied/gone; echo 4 > removed
mkdir removed-dir; echo 5 > removed-dir/file; echo 6 > swap-dir/file; echo 7 > swap-file; ln -s dir swap-link
echo 8 > relinked; ln relinked relinked-too
cd ..
"#;

/// Layer 0 in three formats of GNU tar; all three must give the same tree.
const FORMATS: &[(&str, &str)] = &[
    ("gnu", "--format=gnu --sparse"),
    (
        "pax-1.0",
        "--format=pax --xattrs --xattrs-include=* --sparse --sparse-version=1.0",
    ),
    (
        "pax-0.1",
        "--format=pax --xattrs --xattrs-include=* --sparse --sparse-version=0.1",
    ),
    (
        "pax-0.0",
        "--format=pax --xattrs --xattrs-include=* --sparse --sparse-version=0.0",
    ),
    ("plain", "--format=pax --xattrs --xattrs-include=*"),
];

fn base_layers(temp: &Path) {
    let mut script = format!("cd {}\n{BASE}", temp.display());
    for (name, arguments) in FORMATS {
        let line = format!("tar -C base --sort=name -cf {name}.tar {arguments} .\n");
        script.push_str(&line);
    }
    shell(&script);
}

struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(&mut self, path: &str, kind: tar::EntryType, link: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o750 } else { 0o640 });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        // By hand: the writer refuses leading slashes and `..`, which are what is tested here.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    fn file(&mut self, path: &str, content: &str) -> &mut Self {
        self.add(path, tar::EntryType::Regular, "", content.as_bytes());
        self
    }

    fn directory(&mut self, path: &str) -> &mut Self {
        self.add(path, tar::EntryType::Directory, "", b"");
        self
    }

    fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path, tar::EntryType::Link, target, b"");
        self
    }

    fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path, tar::EntryType::Symlink, target, b"");
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Layers that change what the base layer brought.
fn changes() -> Vec<Vec<u8>> {
    let mut whiteouts = Layer::new();
    whiteouts
        .file(".wh.removed", "")
        .file(".wh.removed-dir", "")
        .file(".wh.not-there", "")
        .directory("opaque")
        // In front of the marker and behind it: both stay.
        .file("opaque/new", "before")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/newer", "after")
        .directory("emptied")
        .file("emptied/.wh.gone", "")
        .file("emptied/here", "here");
    let mut swaps = Layer::new();
    swaps
        .file("swap-dir", "now a file")
        .directory("swap-file")
        .file("swap-file/inside", "now a directory")
        .directory("swap-link")
        .file("swap-link/inside", "no link any more")
        .directory("dir")
        .link("dir/b-linked", "dir/b")
        .link("b-again", "./dir/b-linked");
    let mut links = Layer::new();
    links
        .file(
            "dir/b",
            "the name is used again, the link keeps its content",
        )
        .file("relinked", "changed")
        .link("relinked-three", "relinked")
        .file("lib/through-link", "in usr/lib")
        .symlink("absolute", "/usr")
        .file("absolute/through-absolute", "in usr")
        .symlink("outside", "../../../usr/lib")
        .file("outside/stays-inside", "in usr/lib as well");
    let mut last = Layer::new();
    last.directory("./")
        .file("/leading-slash", "x")
        .file("./dir/.//dots", "y")
        .link("short-again", "short")
        .file("dir/sub/.wh.a-again", "");
    vec![
        whiteouts.finish(),
        swaps.finish(),
        links.finish(),
        last.finish(),
    ]
}

fn ready(test: &str) -> bool {
    for program in ["umoci", "setcap", "setfattr", "tar"] {
        if !has(program) {
            cos_testkit::skip(test, &format!("{program} is not installed"));
            return false;
        }
    }
    if !is_root() {
        cos_testkit::skip(test, "it makes devices and file owners, which needs root");
        return false;
    }
    true
}

#[test]
fn umoci_and_we_unpack_the_same() {
    if !ready("umoci_and_we_unpack_the_same") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    base_layers(temp.path());
    // umoci knows no old GNU sparse entries; GNU tar is the judge of those, below.
    for (name, _) in FORMATS.iter().filter(|(name, _)| *name != "gnu") {
        let base = fs_err::read(temp.path().join(format!("{name}.tar"))).unwrap();
        let mut layers = vec![(base, Pack::Gzip)];
        layers.extend(changes().into_iter().map(|tar| (tar, Pack::Gzip)));
        let image = temp.path().join(format!("image-{name}"));
        layout::write(&image, &layers);
        let bundle = temp.path().join(format!("bundle-{name}"));
        shell(&format!(
            "umoci unpack --keep-dirlinks=false --image {}:latest {}",
            image.display(),
            bundle.display()
        ));
        let mut ours = lines(&format!("oci-layout:{}", image.display()), temp.path());
        for line in ours.values_mut() {
            // Go's tar reader loses empty attributes; GNU tar keeps them, see below.
            *line = line.replace("user.empty=", "");
        }
        let theirs = listing::of_directory(&bundle.join("rootfs"));
        assert!(ours.len() > 50, "{}", ours.len());
        listing::assert_same(&ours, &theirs);
    }
}

#[test]
fn gnu_tar_and_we_unpack_the_same() {
    if !ready("gnu_tar_and_we_unpack_the_same") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    base_layers(temp.path());
    for (name, _) in FORMATS {
        let out = temp.path().join(format!("out-{name}"));
        let file = temp.path().join(format!("{name}.tar"));
        shell(&format!(
            "mkdir {0}; tar -C {0} --xattrs --xattrs-include='*' --numeric-owner -xpf {1}",
            out.display(),
            file.display()
        ));
        let image = temp.path().join(format!("image-{name}"));
        layout::write(&image, &[(fs_err::read(&file).unwrap(), Pack::Plain)]);
        let ours = lines(&format!("oci-layout:{}", image.display()), temp.path());
        listing::assert_same(&ours, &listing::of_directory(&out));
    }
}

#[test]
fn every_packing_and_container_gives_the_same_tree() {
    let test = "every_packing_and_container_gives_the_same_tree";
    if !ready(test) {
        return;
    }
    if !has("skopeo") {
        cos_testkit::skip(test, "skopeo is not installed");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().display();
    base_layers(temp.path());
    let base = fs_err::read(temp.path().join("pax-1.0.tar")).unwrap();
    let mut expected = None;
    for pack in [
        Pack::Plain,
        Pack::Gzip,
        Pack::GzipMembers,
        Pack::Zstd,
        Pack::ZstdChunked,
    ] {
        let mut layers = vec![(base.clone(), pack)];
        layers.extend(changes().into_iter().map(|tar| (tar, pack)));
        let image = temp.path().join("image");
        if image.exists() {
            fs_err::remove_dir_all(&image).unwrap();
        }
        layout::write(&image, &layers);
        let ours = lines(&format!("oci-layout:{dir}/image:latest"), temp.path());
        listing::assert_same(&ours, expected.get_or_insert_with(|| ours.clone()));
    }
    let expected = expected.unwrap();
    layout::write(
        &temp.path().join("gz"),
        &changes_on(base)
            .into_iter()
            .map(|tar| (tar, Pack::Gzip))
            .collect::<Vec<_>>(),
    );
    shell(&format!(
        "cd {dir}; skopeo copy -q oci:gz:latest oci-archive:oci.tar:v1
        skopeo copy -q oci:gz:latest docker-archive:docker.tar:me/os:v2
        tar -C gz -cf layout.tar ."
    ));
    for source in [
        "oci-archive:DIR/oci.tar",
        "oci-archive:DIR/oci.tar:v1",
        "oci-archive:DIR/layout.tar:latest",
        "docker-archive:DIR/docker.tar",
        "docker-archive:DIR/docker.tar:v2",
        "docker-archive:DIR/docker.tar:docker.io/me/os:v2",
    ] {
        let source = source.replace("DIR", &dir.to_string());
        listing::assert_same(&lines(&source, temp.path()), &expected);
    }
    let missing: Source = format!("docker-archive:{dir}/docker.tar:v3")
        .parse()
        .unwrap();
    let error = resolve(&missing, &options(temp.path()), &Silent).unwrap_err();
    assert!(error.to_string().contains("me/os:v2"), "{error}");
}

fn changes_on(base: Vec<u8>) -> Vec<Vec<u8>> {
    let mut layers = vec![base];
    layers.extend(changes());
    layers
}

#[test]
fn a_directory_is_its_own_tree() {
    if !ready("a_directory_is_its_own_tree") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    base_layers(temp.path());
    let base = temp.path().join("base");
    let ours = lines(&format!("dir:{}", base.display()), temp.path());
    listing::assert_same(&ours, &listing::of_directory(&base));
}

//! A tree with everything in it that has ever broken a file system writer.

use cos_erofs::Spool;
use cos_tree::{Content, ContentStore, DeviceNumber, Metadata, Node, NodeId, NodeKind, Tree};

/// Bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Bytes that compress about as well as programs do.
pub(crate) fn text(length: usize, seed: u64) -> Vec<u8> {
    let words = noise(4096, seed);
    let picks = noise(length / 8 + 1, seed + 1);
    let mut out = Vec::with_capacity(length + 16);
    for &pick in &picks {
        let at = usize::from(pick) * 15;
        out.extend_from_slice(&words[at..at + 8 + usize::from(pick % 7)]);
    }
    out.truncate(length);
    out
}

pub(crate) struct Builder<'s> {
    pub(crate) tree: Tree,
    spool: &'s Spool,
}

impl<'s> Builder<'s> {
    pub(crate) fn new(spool: &'s Spool) -> Self {
        let tree = Tree::new(Metadata::default_directory(1_700_000_000));
        Self { tree, spool }
    }

    pub(crate) fn content(&self, path: &[u8], data: &[u8]) -> Content {
        let size = data.len() as u64;
        let mut writer = self.spool.create(path, size).unwrap();
        for part in data.chunks(10_007) {
            writer.write(part).unwrap();
        }
        let id = writer.finish().unwrap();
        Content { size, id }
    }

    pub(crate) fn add(&mut self, path: &[u8], kind: NodeKind) -> NodeId {
        let (parent, name) = match path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let parent = self.tree.ensure_directory(parent, 1_600_000_000).unwrap();
        let meta = Metadata {
            permissions: if matches!(kind, NodeKind::Symlink(_)) {
                0o777
            } else {
                0o644
            },
            mtime: 1_700_000_000,
            ..Metadata::default()
        };
        let id = self.tree.add(Node { meta, kind });
        assert!(self.tree.link(parent, name, id));
        id
    }

    pub(crate) fn file(&mut self, path: &[u8], data: &[u8]) -> NodeId {
        let content = self.content(path, data);
        self.add(path, NodeKind::File(content))
    }

    pub(crate) fn meta(&mut self, id: NodeId) -> &mut Metadata {
        &mut self.tree.node_mut(id).meta
    }

    /// A file of zeros with some bytes here and there.
    pub(crate) fn sparse(&mut self, path: &[u8], size: u64, islands: &[(u64, &[u8])]) -> NodeId {
        let mut writer = self.spool.create(path, size).unwrap();
        let mut at = 0;
        for (offset, data) in islands {
            writer.hole(offset - at).unwrap();
            writer.write(data).unwrap();
            at = offset + data.len() as u64;
        }
        writer.hole(size - at).unwrap();
        let id = writer.finish().unwrap();
        self.add(path, NodeKind::File(Content { size, id }))
    }
}

/// Sizes around every boundary there is.
pub(crate) fn edge_sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 2, 100, 2000];
    for edge in [
        4096,
        8192,
        16_384,
        65_536,
        131_072,
        262_144,
        327_680,
        524_288,
        1 << 20,
    ] {
        sizes.extend([edge - 1, edge, edge + 1, edge + 4095, edge + 4096]);
    }
    sizes
}

/// The whole of it.
pub(crate) fn build(spool: &Spool, hole: u64) -> Tree {
    let mut builder = Builder::new(spool);
    sizes(&mut builder);
    names(&mut builder);
    special(&mut builder);
    metadata(&mut builder);
    let tail = noise(5000, 3);
    builder.sparse(b"var/hole", hole, &[]);
    builder.sparse(
        b"var/islands",
        hole / 4 + 77,
        &[(9, b"start"), (hole / 8, &tail)],
    );
    let mut zeros = text(1 << 20, 9);
    zeros.extend_from_slice(&vec![0; 1 << 20]);
    zeros.extend_from_slice(&noise(300_000, 9));
    builder.file(b"var/some-zeros", &zeros);
    builder.tree
}

fn sizes(builder: &mut Builder<'_>) {
    for size in edge_sizes() {
        let path = |kind: &str| format!("size/{kind}-{size}").into_bytes();
        builder.file(&path("text"), &text(size, size as u64));
        builder.file(&path("noise"), &noise(size, size as u64 + 1));
        builder.file(&path("same"), &text(size, size as u64));
        let mut mixed = text(size, 5);
        mixed[size / 3..size / 2].copy_from_slice(&noise(size / 2 - size / 3, 7));
        builder.file(&path("mixed"), &mixed);
    }
}

fn names(builder: &mut Builder<'_>) {
    for number in 0..12_000_u32 {
        let name = format!("many/{number:05}{}", "n".repeat(number as usize % 40));
        builder.add(name.as_bytes(), NodeKind::Fifo);
    }
    let long = [&b"names/"[..], &[b'l'; 255]].concat();
    builder.file(&long, b"long");
    for name in [
        &b"new\nline"[..],
        b"\xff\xfe\x80",
        b"!before-dot",
        b"...",
        b" ",
        b"\x01",
    ] {
        builder.file(&[b"names/", name].concat(), name);
    }
    let deep: Vec<_> = (0..40).map(|level| format!("deep{level}")).collect();
    builder.file(deep.join("/").as_bytes(), b"bottom");
    builder.tree.ensure_directory(b"empty", 5).unwrap();
    let first = builder.file(b"links/0", &text(70_000, 1));
    let links = builder.tree.lookup(b"links").unwrap();
    for number in 1..51 {
        builder
            .tree
            .link(links, number.to_string().as_bytes(), first);
    }
}

fn special(builder: &mut Builder<'_>) {
    let device = |major, minor| DeviceNumber { major, minor };
    builder.add(b"dev/null", NodeKind::CharDevice(device(1, 3)));
    builder.add(b"dev/nvme", NodeKind::BlockDevice(device(259, 70_000)));
    builder.add(
        b"dev/top",
        NodeKind::CharDevice(device(4095, (1 << 20) - 1)),
    );
    builder.add(b"dev/socket", NodeKind::Socket);
    builder.add(b"dev/fifo", NodeKind::Fifo);
    for length in [1, 59, 60, 500, 4000, 4031, 4032, 4033, 4080, 4095] {
        let target = vec![b't'; length];
        let path = format!("symlink/{length}");
        builder.add(path.as_bytes(), NodeKind::Symlink(target.into()));
    }
}

fn metadata(builder: &mut Builder<'_>) {
    for (name, permissions) in [
        ("setuid", 0o4755),
        ("setgid", 0o2755),
        ("none", 0),
        ("all", 0o7777),
    ] {
        let id = builder.file(format!("mode/{name}").as_bytes(), name.as_bytes());
        builder.meta(id).permissions = permissions;
    }
    let sticky = builder.tree.ensure_directory(b"mode/sticky", 0).unwrap();
    builder.meta(sticky).permissions = 0o1777;
    for (name, mtime) in [
        ("epoch", 0),
        ("before", -86_400),
        ("late", 4_500_000_000),
        ("last", 1 << 33),
    ] {
        let id = builder.file(format!("time/{name}").as_bytes(), name.as_bytes());
        builder.meta(id).mtime = mtime;
    }
    for (name, uid, gid) in [
        ("small", 1000, 100),
        ("big", 100_000, 65_536),
        ("top", 4_294_967_294, 65_535),
    ] {
        let id = builder.file(format!("owner/{name}").as_bytes(), name.as_bytes());
        (builder.meta(id).uid, builder.meta(id).gid) = (uid, gid);
    }
    xattrs(builder);
}

fn xattrs(builder: &mut Builder<'_>) {
    // Version 2, permitted CAP_NET_BIND_SERVICE, effective.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Version 2: user::rw-, user 1000 r--, group::r--, mask::r--, other::r--.
    let acl: Vec<u8> = [2_u32.to_le_bytes()]
        .into_iter()
        .chain(
            [
                (1, 6, u32::MAX),
                (2, 4, 1000),
                (4, 4, u32::MAX),
                (16, 4, u32::MAX),
                (32, 4, u32::MAX),
            ]
            .into_iter()
            .flat_map(|(tag, perm, id): (u32, u32, u32)| {
                [(tag | perm << 16).to_le_bytes(), id.to_le_bytes()]
            }),
        )
        .flatten()
        .collect();
    let ids: Vec<_> = [
        "size/text-1",
        "size/text-4095",
        "size/noise-4095",
        "size/text-65537",
        "symlink/59",
        "size/noise-1048575",
        "dev/null",
    ]
    .iter()
    .filter_map(|path| builder.tree.lookup(path.as_bytes()))
    .collect();
    let mut set = |id: NodeId, name: &str, value: &[u8]| {
        let xattrs = &mut builder.tree.node_mut(id).meta.xattrs;
        xattrs.insert(name.as_bytes().into(), value.into());
    };
    for (number, &id) in ids.iter().enumerate() {
        set(id, "trusted.number", number.to_string().as_bytes());
        set(id, "security.selinux", b"system_u:object_r:bin_t:s0");
    }
    set(ids[0], "security.capability", &capability);
    set(ids[1], "user.long", &[b'v'; 1500]);
    set(ids[2], "user.longer", &[b'w'; 4000]);
    set(ids[3], "user.empty", b"");
    set(ids[3], "system.posix_acl_access", &acl);
    let directory = builder.tree.lookup(b"names").unwrap();
    let xattrs = &mut builder.tree.node_mut(directory).meta.xattrs;
    xattrs.insert((*b"system.posix_acl_default").into(), acl.into());
}

//! A directory of the host as tree and spool: how tests and the example get their trees.

use cos_erofs::Spool;
use cos_tree::{
    Content, ContentStore, DeviceNumber, Metadata, Node, NodeId, NodeKind, Tree, Xattrs,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Reads everything below `root`.
pub(crate) fn load(root: &Path, spool: &Spool) -> io::Result<Tree> {
    let mut loader = Loader {
        tree: Tree::new(metadata(root)?),
        spool,
        links: HashMap::new(),
        buffer: vec![0; 1 << 16],
    };
    loader.directory(root, Tree::ROOT, &mut Vec::new())?;
    Ok(loader.tree)
}

struct Loader<'s> {
    tree: Tree,
    spool: &'s Spool,
    /// Nodes of files with several names, by device and inode.
    links: HashMap<(u64, u64), NodeId>,
    buffer: Vec<u8>,
}

impl Loader<'_> {
    fn directory(&mut self, host: &Path, into: NodeId, path: &mut Vec<u8>) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(host)? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            self.node(&host.join(&name), into, &name, path)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn node(
        &mut self,
        host: &Path,
        into: NodeId,
        name: &OsStr,
        path: &mut Vec<u8>,
    ) -> io::Result<()> {
        let stat = fs_err::symlink_metadata(host)?;
        let key = (stat.dev(), stat.ino());
        if let Some(&known) = self.links.get(&key) {
            self.tree.link(into, name.as_bytes(), known);
            return Ok(());
        }
        let kind = self.kind(host, &stat, path)?;
        let is_directory = matches!(kind, NodeKind::Directory(_));
        let meta = metadata(host)?;
        let id = self.tree.add(Node { meta, kind });
        self.tree.link(into, name.as_bytes(), id);
        if is_directory {
            self.directory(host, id, path)?;
        } else if stat.nlink() > 1 {
            self.links.insert(key, id);
        }
        Ok(())
    }

    fn kind(&mut self, host: &Path, stat: &std::fs::Metadata, path: &[u8]) -> io::Result<NodeKind> {
        let kind = stat.file_type();
        let device = || DeviceNumber {
            major: rustix::fs::major(stat.rdev()),
            minor: rustix::fs::minor(stat.rdev()),
        };
        Ok(if kind.is_dir() {
            NodeKind::directory()
        } else if kind.is_symlink() {
            NodeKind::Symlink(fs_err::read_link(host)?.as_os_str().as_bytes().into())
        } else if kind.is_char_device() {
            NodeKind::CharDevice(device())
        } else if kind.is_block_device() {
            NodeKind::BlockDevice(device())
        } else if kind.is_fifo() {
            NodeKind::Fifo
        } else if kind.is_socket() {
            NodeKind::Socket
        } else {
            NodeKind::File(self.content(host, stat, path)?)
        })
    }

    fn content(
        &mut self,
        host: &Path,
        stat: &std::fs::Metadata,
        path: &[u8],
    ) -> io::Result<Content> {
        let size = stat.size();
        let mut writer = self.spool.create(path, size)?;
        let mut file = fs_err::File::open(host)?;
        let is_hole = stat.blocks() == 0 && size > 0;
        if is_hole {
            writer.hole(size)?;
        } else {
            loop {
                let count = file.read(&mut self.buffer)?;
                if count == 0 {
                    break;
                }
                writer.write(&self.buffer[..count])?;
            }
        }
        let id = writer.finish()?;
        Ok(Content { size, id })
    }
}

fn metadata(host: &Path) -> io::Result<Metadata> {
    let stat = fs_err::symlink_metadata(host)?;
    Ok(Metadata {
        permissions: (stat.mode() & 0o7777) as u16,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: stat.mtime(),
        xattrs: xattrs(host)?,
    })
}

/// Attributes of a file, not following it if it is a link.
fn xattrs(host: &Path) -> io::Result<Xattrs> {
    let mut names = vec![0; 65_536];
    let length = match rustix::fs::llistxattr(host, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Xattrs::new();
    for name in names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(host, name, &mut value)?;
        found.insert(name.into(), value[..length].into());
    }
    Ok(found)
}

//! Lookups, attributes and symlinks.

use std::{ffi::OsStr, sync::Arc};

use fuser::{Errno, FileAttr};
use rumi_policy::{AbsPath, FileKind};

use super::{
    answer::Trouble,
    asker::{Asker, Asking},
    attributes::{self, Rights},
    looks::{self, Seen},
    shared::Shared,
    tree::{HostId, Thing},
    view::{Standing, View},
};
use crate::policy_store;

/// What a name stands for, and the inode under which the kernel knows it from now on.
pub(super) async fn lookup(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    asking: Asking,
    parent: u64,
    name: &OsStr,
) -> Result<FileAttr, Errno> {
    let path = shared.child(parent, name)?;
    if standing(shared, asker, &path) == Standing::Above {
        let inode = shared.remember(parent, name, Thing::Synthetic)?;
        return Ok(attributes::synthetic(inode, asking));
    }
    let seen = look(shared, asker, asking, &path).await?;
    let inode = shared.remember(parent, name, thing(shared, &seen))?;
    Ok(attributes::seen(inode, &seen, asking))
}

/// What is known of an inode now. The number is the one that programs see, not the kernel's.
pub(super) async fn attributes(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    asking: Asking,
    inode: u64,
) -> Result<FileAttr, Errno> {
    if let Some(attributes) = of_open(shared, asking, inode)? {
        return Ok(attributes);
    }
    let (path, known) = {
        let tree = shared.tree();
        (tree.path(inode), tree.thing(inode))
    };
    let path = path.ok_or(Errno::ESTALE)?;
    if standing(shared, asker, &path) == Standing::Above {
        return Ok(FileAttr {
            ino: attributes::number_of_path(&path),
            ..attributes::synthetic(inode, asking)
        });
    }
    let seen = look(shared, asker, asking, &path).await?;
    match (known, thing(shared, &seen)) {
        (Some(Thing::Host { id: was, .. }), Thing::Host { id: is, .. }) if was != is => {
            Err(Errno::ESTALE)
        }
        _ => Ok(FileAttr {
            ino: attributes::number_of(&seen.stat),
            ..attributes::seen(inode, &seen, asking)
        }),
    }
}

/// A file that the component has open is described by what it opened, even when its name is
/// gone: that was allowed with the opening.
fn of_open(shared: &Arc<Shared>, asking: Asking, inode: u64) -> Result<Option<FileAttr>, Errno> {
    let open = shared.opens.of_inode(inode);
    let Some(open) = open.iter().find(|open| open.belongs_to(asking.uid)) else {
        return Ok(None);
    };
    let Ok(file) = open.file() else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&*file).map_err(|error| Errno::from_i32(error.raw_os_error()))?;
    let rights = Rights {
        readable: open.uses.read,
        writable: open.uses.write,
    };
    Ok(Some(FileAttr {
        ino: attributes::number_of(&stat),
        ..attributes::of_stat(inode, &stat, rights, asking)
    }))
}

/// Where a symlink leads, as the way there from its own directory, if that is within what was
/// granted. The container's kernel follows it, and each step is decided.
pub(super) async fn link(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    asking: Asking,
    inode: u64,
) -> Result<String, Errno> {
    let path = shared.tree().path(inode).ok_or(Errno::ESTALE)?;
    let trouble = Trouble::default();
    let target = looks::follow(&shared.broker, asker, asking, &path, &trouble)
        .await
        .map_err(|refusal| trouble.errno(&refusal))?;
    let directory = path.parent().ok_or(Errno::EINVAL)?;
    Ok(way(&directory, &target))
}

/// The relative path from a directory to something.
fn way(from: &AbsPath, to: &AbsPath) -> String {
    let steps = |path: &AbsPath| -> Vec<String> {
        let names = path.as_str().split('/').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let (from, to) = (steps(from), steps(to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(shared).map(|_| "..".to_owned());
    let down = to.iter().skip(shared).cloned();
    let steps: Vec<String> = up.chain(down).collect();
    if steps.is_empty() {
        return ".".to_owned();
    }
    steps.join("/")
}

fn standing(shared: &Arc<Shared>, asker: &Arc<Asker>, path: &AbsPath) -> Standing {
    let policy = shared.broker.policy().current();
    View::of(&policy.set, asker.component(), policy_store::now()).standing(path)
}

async fn look(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    asking: Asking,
    path: &AbsPath,
) -> Result<Seen, Errno> {
    let trouble = Trouble::default();
    let seen = looks::look(&shared.broker, asker, asking, path, &trouble)
        .await
        .map_err(|refusal| trouble.errno(&refusal))?;
    if seen.kind == FileKind::Other {
        // A pipe or a device would be one of the container's own under this name.
        return Err(Errno::EACCES);
    }
    Ok(seen)
}

pub(super) fn thing(shared: &Shared, seen: &Seen) -> Thing {
    Thing::Host {
        id: HostId {
            device: seen.stat.st_dev,
            inode: seen.stat.st_ino,
        },
        directory: seen.kind == FileKind::Directory,
        passthrough: seen.passthrough && shared.passthrough.get() == Some(&true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_shown_as_the_way_from_its_directory() {
        for (from, to, expected) in [
            ("/srv/a", "/srv/a/x", "x"),
            ("/srv/a", "/srv/b/x", "../b/x"),
            ("/srv/a/b", "/srv", "../.."),
            ("/srv", "/srv", "."),
            ("/", "/x", "x"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(way(&from, &to), expected);
        }
    }
}

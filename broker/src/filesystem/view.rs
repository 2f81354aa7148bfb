//! What of the host a component may see at all, out of its grant alone.

use rumi_policy::{AbsPath, ComponentId, PolicySet};

/// Where a path lies for a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In a directory that it may read.
    Read,
    /// In a directory that it may write, and not read.
    Write,
    /// Above a granted directory: shown, with nothing in it but the way there.
    Above,
    /// Elsewhere.
    Beyond,
}

/// The granted directories of one component.
#[derive(Debug)]
pub(super) struct View<'a> {
    read: &'a [AbsPath],
    write: &'a [AbsPath],
}

impl<'a> View<'a> {
    pub(super) fn of(set: &'a PolicySet, component: &ComponentId) -> Self {
        let grant = set.grant(component);
        let read = grant.and_then(|grant| grant.file_read());
        let write = grant.and_then(|grant| grant.file_write());
        let directories = |file: Option<&'a rumi_policy::FileGrant>| match file {
            Some(file) if file.enabled => file.directories.as_slice(),
            _ => &[],
        };
        Self {
            read: directories(read),
            write: directories(write),
        }
    }

    pub(super) fn standing(&self, path: &AbsPath) -> Standing {
        let within = |directories: &[AbsPath]| directories.iter().any(|d| path.starts_with(d));
        if within(self.read) {
            Standing::Read
        } else if within(self.write) {
            Standing::Write
        } else if self.all().any(|directory| directory.starts_with(path)) || path.is_root() {
            Standing::Above
        } else {
            Standing::Beyond
        }
    }

    /// Whether a granted directory lies below the path.
    pub(super) fn leads_on(&self, path: &AbsPath) -> bool {
        path.is_root() || self.all().any(|d| d != path && d.starts_with(path))
    }

    /// Names of the way from a path to the granted directories below it.
    pub(super) fn children(&self, path: &AbsPath) -> Vec<String> {
        let mut names: Vec<String> = self
            .all()
            .filter_map(|directory| directory.strip_prefix(path))
            .filter_map(|rest| rest.split('/').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn all(&self) -> impl Iterator<Item = &'a AbsPath> + use<'a> {
        self.read.iter().chain(self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> Vec<AbsPath> {
        of.iter().map(|path| path.parse().unwrap()).collect()
    }

    #[test]
    fn only_the_way_to_granted_directories_is_shown() {
        let (read, write) = (
            paths(&["/srv/data", "/srv/data/deep"]),
            paths(&["/srv", "/opt/out"]),
        );
        let view = View {
            read: &read,
            write: &write,
        };
        let standing = |path: &str| view.standing(&path.parse().unwrap());
        assert_eq!(standing("/"), Standing::Above);
        assert_eq!(standing("/opt"), Standing::Above);
        assert_eq!(standing("/srv"), Standing::Write);
        assert_eq!(standing("/srv/data"), Standing::Read);
        assert_eq!(standing("/srv/data/x"), Standing::Read);
        assert_eq!(standing("/srv/database"), Standing::Write);
        assert_eq!(standing("/optional"), Standing::Beyond);
        assert_eq!(standing("/etc"), Standing::Beyond);
        assert_eq!(view.children(&"/".parse().unwrap()), ["opt", "srv"]);
        assert_eq!(view.children(&"/srv".parse().unwrap()), ["data"]);
        assert!(view.leads_on(&"/srv".parse().unwrap()));
        assert!(!view.leads_on(&"/opt/out".parse().unwrap()));
    }

    #[test]
    fn who_was_granted_nothing_sees_an_empty_root() {
        let view = View {
            read: &[],
            write: &[],
        };
        assert_eq!(view.standing(&"/".parse().unwrap()), Standing::Above);
        assert!(view.children(&"/".parse().unwrap()).is_empty());
        assert_eq!(view.standing(&"/srv".parse().unwrap()), Standing::Beyond);
    }
}

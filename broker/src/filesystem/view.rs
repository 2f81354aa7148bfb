//! What of the host a component may see at all, out of its grant alone.

use rumi_policy::{AbsPath, ComponentId, FileGrant, PolicySet, UnixMillis};

/// Where a path lies for a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something that it may read.
    Read,
    /// Something that it may write, and not read.
    Write,
    /// Above something granted: shown, with nothing in it but the way there.
    Above,
    /// Elsewhere.
    Beyond,
}

/// What a grant names of one way to use files.
#[derive(Debug, Clone, Copy, Default)]
struct Named<'a> {
    directories: &'a [AbsPath],
    /// Granted one by one, each without what lies beside or below it.
    files: &'a [AbsPath],
}

impl<'a> Named<'a> {
    fn of(grant: Option<&'a FileGrant>, now: UnixMillis) -> Self {
        match grant {
            Some(grant) if grant.enabled && grant.conditions.holds_at(now) => Self {
                directories: &grant.directories,
                files: grant.files.as_deref().unwrap_or_default(),
            },
            _ => Self::default(),
        }
    }

    fn holds(self, path: &AbsPath) -> bool {
        self.directories.iter().any(|d| path.starts_with(d))
    }

    fn all(self) -> impl Iterator<Item = &'a AbsPath> {
        self.directories.iter().chain(self.files)
    }
}

/// The granted directories and files of one component.
#[derive(Debug)]
pub(super) struct View<'a> {
    read: Named<'a>,
    write: Named<'a>,
}

/// A name on the way to what is granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Child {
    pub(super) name: String,
    /// Whether it is a file that is granted by itself, and that may be missing.
    pub(super) file: bool,
}

impl<'a> View<'a> {
    /// A grant that has not begun or has ended shows nothing, and hides nothing that another shows.
    pub(super) fn of(set: &'a PolicySet, component: &ComponentId, now: UnixMillis) -> Self {
        let grant = set.grant(component);
        Self {
            read: Named::of(grant.and_then(|grant| grant.file_read()), now),
            write: Named::of(grant.and_then(|grant| grant.file_write()), now),
        }
    }

    pub(super) fn standing(&self, path: &AbsPath) -> Standing {
        // A path that is granted by itself and leads to others is shown as the way to them.
        let itself = |named: Named<'_>| named.files.contains(path) && !self.leads_on(path);
        if self.read.holds(path) || itself(self.read) {
            Standing::Read
        } else if self.write.holds(path) || itself(self.write) {
            Standing::Write
        } else if path.is_root() || self.all().any(|granted| granted.starts_with(path)) {
            Standing::Above
        } else {
            Standing::Beyond
        }
    }

    /// Whether something granted lies below the path.
    pub(super) fn leads_on(&self, path: &AbsPath) -> bool {
        path.is_root()
            || self
                .all()
                .any(|granted| granted != path && granted.starts_with(path))
    }

    /// Names of the way from a path to what is granted below it.
    pub(super) fn children(&self, path: &AbsPath) -> Vec<Child> {
        let mut children: Vec<Child> = self
            .all()
            .filter_map(|granted| granted.strip_prefix(path))
            .filter_map(|rest| rest.split('/').next())
            .filter(|name| !name.is_empty())
            .map(|name| Child {
                name: name.to_owned(),
                file: path.join(name).is_ok_and(|child| self.is_file(&child)),
            })
            .collect();
        children.sort_unstable();
        children.dedup();
        children
    }

    fn is_file(&self, path: &AbsPath) -> bool {
        let holds = |named: Named<'_>| named.holds(path);
        !holds(self.read) && !holds(self.write) && !self.leads_on(path)
    }

    fn all(&self) -> impl Iterator<Item = &'a AbsPath> + use<'a> {
        self.read.all().chain(self.write.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> Vec<AbsPath> {
        of.iter().map(|path| path.parse().unwrap()).collect()
    }

    fn directories(paths: &[AbsPath]) -> Named<'_> {
        Named {
            directories: paths,
            files: &[],
        }
    }

    fn names(view: &View<'_>, path: &str) -> Vec<String> {
        let children = view.children(&path.parse().unwrap());
        let shown = |child: Child| child.name + if child.file { "" } else { "/" };
        children.into_iter().map(shown).collect()
    }

    #[test]
    fn a_file_that_is_granted_by_itself_is_shown_without_its_neighbours() {
        let files = paths(&["/srv/data/a.txt", "/srv/deep", "/srv/deep/er/b"]);
        let written = paths(&["/srv/data/out.txt"]);
        let view = View {
            read: Named {
                directories: &[],
                files: &files,
            },
            write: Named {
                directories: &[],
                files: &written,
            },
        };
        let standing = |path: &str| view.standing(&path.parse().unwrap());
        assert_eq!(standing("/srv/data"), Standing::Above);
        assert_eq!(standing("/srv/data/a.txt"), Standing::Read);
        assert_eq!(standing("/srv/data/a.txt/below"), Standing::Beyond);
        assert_eq!(standing("/srv/data/a.txt2"), Standing::Beyond);
        assert_eq!(standing("/srv/data/b.txt"), Standing::Beyond);
        assert_eq!(standing("/srv/data/out.txt"), Standing::Write);
        assert_eq!(standing("/srv/deep"), Standing::Above);
        assert_eq!(standing("/srv/deep/er/b"), Standing::Read);
        assert_eq!(names(&view, "/srv/data"), ["a.txt", "out.txt"]);
        assert_eq!(names(&view, "/srv"), ["data/", "deep/"]);
    }

    #[test]
    fn only_the_way_to_granted_directories_is_shown() {
        let (read, write) = (
            paths(&["/srv/data", "/srv/data/deep"]),
            paths(&["/srv", "/opt/out"]),
        );
        let view = View {
            read: directories(&read),
            write: directories(&write),
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
        assert_eq!(names(&view, "/"), ["opt/", "srv/"]);
        assert_eq!(names(&view, "/srv"), ["data/"]);
        assert!(view.leads_on(&"/srv".parse().unwrap()));
        assert!(!view.leads_on(&"/opt/out".parse().unwrap()));
    }

    #[test]
    fn who_was_granted_nothing_sees_an_empty_root() {
        let view = View {
            read: Named::default(),
            write: Named::default(),
        };
        assert_eq!(view.standing(&"/".parse().unwrap()), Standing::Above);
        assert!(view.children(&"/".parse().unwrap()).is_empty());
        assert_eq!(view.standing(&"/srv".parse().unwrap()), Standing::Beyond);
    }
}

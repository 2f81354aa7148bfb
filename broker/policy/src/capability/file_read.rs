//! Reading, listing and looking at files.

use std::borrow::Cow;
use std::sync::Arc;

use super::place::{Patterns, Place, shown};
use super::sealed::Judge;
use super::{Capability, FileKind};
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::ids::ComponentId;
use crate::path::AbsPath;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::forbidden::Forbidden;
use crate::rules::{FileRule, Slot};

/// Marker of the permission `file_read`.
#[derive(Debug)]
pub enum FileRead {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReadAsk {
    pub action: FileReadAction,
    pub path: AbsPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileReadAction {
    /// A `length` of 0 means to the end of the file.
    Read {
        offset: u64,
        length: u64,
    },
    List,
    Stat,
}

/// Where to open what was asked for: `relative` below a descriptor of `root`.
#[derive(Clone, Debug)]
pub struct FileTerms {
    place: Place,
}

impl FileTerms {
    pub fn root(&self) -> &AbsPath {
        &self.place.root
    }

    /// The entry of the grant that this rests on: a directory, or a file that was granted by itself.
    pub fn granted(&self) -> &AbsPath {
        self.place.granted()
    }

    /// Empty for the granted directory itself.
    pub fn relative(&self) -> &str {
        self.place.relative()
    }

    pub fn max_bytes(&self) -> u64 {
        self.place.rule.max_bytes.value
    }

    /// Whether the kernel may read the file by itself once it is open: nobody counts the bytes
    /// then, and a revocation does not reach what is open.
    pub fn passthrough(&self) -> bool {
        self.place.rule.passthrough
    }

    /// What a listing may show of the directory, which was found at `real_path`: the children
    /// that could be asked for by the name that was asked and by the one it led to.
    pub fn children<'a>(&'a self, asked: &'a AbsPath, real_path: &'a AbsPath) -> Children<'a> {
        let rule = &self.place.rule;
        let mut names = vec![asked];
        if real_path != asked {
            names.push(real_path);
        }
        let below = |directory: &AbsPath| {
            let roots = rule.roots.above(directory);
            let prefix = |relative: &str| match relative {
                "" => String::new(),
                relative => format!("{relative}/"),
            };
            roots.map(|(_, relative)| prefix(relative)).collect()
        };
        let narrows = rule.globs.narrows();
        let named = |directory: &'a AbsPath| (directory, below(directory));
        Children {
            rule,
            names: names.into_iter().filter(|_| narrows).map(named).collect(),
        }
    }
}

/// Decides which children of a directory are shown.
#[derive(Debug)]
pub struct Children<'a> {
    rule: &'a FileRule,
    /// Each name of the directory, and where that lies below each granted directory above it.
    names: Vec<(&'a AbsPath, Vec<String>)>,
}

impl Children<'_> {
    /// Whether this child is shown. An exclusion counts from every granted directory above it,
    /// and a pattern from any, as when it is asked for by itself. What is granted by itself is
    /// shown whatever the patterns say.
    pub fn shows(&self, name: &str, kind: FileKind) -> bool {
        let globs = &self.rule.globs;
        self.names.iter().all(|(directory, prefixes)| {
            let mut included = kind == FileKind::Directory;
            for prefix in prefixes {
                let relative = format!("{prefix}{name}");
                if globs.excludes(&relative) {
                    return false;
                }
                included = included || globs.includes(&relative);
            }
            included || (self.named(directory, name) && !globs.excludes(name))
        })
    }

    fn named(&self, directory: &AbsPath, name: &str) -> bool {
        !self.rule.files.is_empty()
            && directory
                .join(name)
                .is_ok_and(|child| self.rule.names(&child))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReadFound {
    pub kind: FileKind,
    pub size: u64,
    /// What the kernel calls the opened root and the opened file.
    pub real_root: AbsPath,
    pub real_path: AbsPath,
    pub links: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileReadFacts {
    /// How many bytes this read may return, even if the file grows meanwhile.
    pub bytes: u64,
    /// The file has other names, possibly outside the granted directory; worth a note.
    pub hard_links: bool,
}

impl Capability for FileRead {
    fn permission(_: &FileReadAsk) -> PermissionName {
        Permission::FileRead.into()
    }

    fn action(ask: &FileReadAsk) -> &'static str {
        match ask.action {
            FileReadAction::Read { .. } => "read",
            FileReadAction::List => "list",
            FileReadAction::Stat => "stat",
        }
    }

    fn target(ask: &FileReadAsk) -> Cow<'_, str> {
        ask.path.as_str().into()
    }
}

impl Judge for FileRead {
    type Ask = FileReadAsk;
    type Terms = FileTerms;
    type Found = FileReadFound;
    type Confirmed = FileReadFacts;
    type Rule = FileRule;

    fn slot<'a>(rights: &'a Rights, _: &FileReadAsk) -> Option<&'a Slot<FileRule>> {
        Some(&rights.file_read)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<FileRule>,
        ask: &FileReadAsk,
    ) -> Result<FileTerms, Denial> {
        let patterns = match ask.action {
            FileReadAction::Read { .. } => Patterns::Apply,
            FileReadAction::List => Patterns::OfDirectory,
            FileReadAction::Stat => Patterns::ApplyOnceKnown,
        };
        match Place::find(rule, &ask.path, patterns, Permission::FileRead) {
            Ok(place) => Ok(FileTerms { place }),
            Err(denial) if denial.reason == Reason::OutsideDirectory => {
                let name = ask.path.file_name().unwrap_or_default();
                let would_do = ask.action == FileReadAction::List || rule.globs.allows(name);
                let remedy = grant_of(caller, &rule.limits.forbidden, ask);
                Err(denial.with_remedy(remedy.filter(|_| would_do)))
            }
            Err(denial) => Err(denial),
        }
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &FileReadAsk) -> Option<Remedy> {
        grant_of(
            caller,
            &scopes.file(Permission::FileRead)?.limits.forbidden,
            ask,
        )
    }

    fn confirm(
        _: &ComponentId,
        ask: &FileReadAsk,
        terms: &FileTerms,
        found: &FileReadFound,
    ) -> Result<FileReadFacts, Denial> {
        let is_directory = found.kind == FileKind::Directory;
        terms
            .place
            .check_real(&ask.path, &found.real_root, &found.real_path, is_directory)?;
        let hard_links = found.kind == FileKind::File && found.links > 1;
        let bytes = match ask.action {
            FileReadAction::Stat => 0,
            FileReadAction::List if is_directory => 0,
            FileReadAction::List => return Err(wrong_kind(ask, "a directory")),
            FileReadAction::Read { offset, length } if found.kind == FileKind::File => {
                let rest = found.size.saturating_sub(offset);
                let bytes = if length == 0 { rest } else { length.min(rest) };
                let most = terms.place.rule.max_bytes;
                if bytes > most.value {
                    let sentence = format!("a read returns at most {} bytes", most.value);
                    return Err(Denial::new(most.reason, sentence));
                }
                bytes
            }
            FileReadAction::Read { .. } => return Err(wrong_kind(ask, "a regular file")),
        };
        Ok(FileReadFacts { bytes, hard_links })
    }

    fn spell(ask: &FileReadAsk, _: &FileTerms, words: &mut Words) {
        words.say(Self::action(ask)).quote(ask.path.as_str());
        if let FileReadAction::Read { offset, length } = ask.action {
            if (offset, length) != (0, 0) {
                words.say("from").number(offset);
            }
            if length != 0 {
                words.say("for").number(length);
            }
        }
    }
}

fn wrong_kind(ask: &FileReadAsk, kind: &str) -> Denial {
    Denial::new(
        Reason::NotAFile,
        format!("`{}` is not {kind}", shown(&ask.path)),
    )
}

/// The narrowest directory that would do: the one listed, or the one the file is in. Never `/`,
/// which is not narrow.
fn grant_of(caller: &ComponentId, forbidden: &Forbidden, ask: &FileReadAsk) -> Option<Remedy> {
    if forbidden.covers(&ask.path).is_some() {
        return None;
    }
    let directory = match ask.action {
        FileReadAction::List => ask.path.clone(),
        FileReadAction::Read { .. } | FileReadAction::Stat => ask.path.parent()?,
    };
    let values = [directory.to_string()];
    (!directory.is_root()).then(|| Remedy::grant_add(caller, Permission::FileRead, values))
}

//! Writing, making, deleting and renaming files.

use std::borrow::Cow;
use std::sync::Arc;

use super::place::{Patterns, Place, forbidden, shown};
use super::sealed::Judge;
use super::{Capability, FileKind};
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::ids::ComponentId;
use crate::path::AbsPath;
use crate::permission::{Permission, PermissionName};
use crate::quota::{Quota, Usage};
use crate::reason::Reason;
use crate::rules::forbidden::Forbidden;
use crate::rules::{FileRule, Slot};

/// Marker of the permission `file_write`.
#[derive(Debug)]
pub enum FileWrite {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWriteAsk {
    pub action: FileWriteAction,
    pub path: AbsPath,
    /// How many bytes come with the request; 0 where that is not known yet.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileWriteAction {
    /// To see whether something is there, and what: nothing is changed.
    Look,
    Write,
    Append,
    Create,
    Mkdir {
        parents: bool,
    },
    Delete,
    Rename {
        to: AbsPath,
    },
}

impl FileWriteAction {
    /// Whether the path must be that of a file, so that the grant's patterns speak of it.
    fn patterns(&self) -> Patterns {
        match self {
            Self::Write | Self::Append | Self::Create => Patterns::Apply,
            Self::Look | Self::Mkdir { .. } | Self::Delete | Self::Rename { .. } => {
                Patterns::ApplyOnceKnown
            }
        }
    }
}

/// Where to act: `relative` below a descriptor of `root`, and for a rename where to.
#[derive(Debug)]
pub struct FileWriteTerms {
    place: Place,
    to: Option<Place>,
}

impl FileWriteTerms {
    pub fn root(&self) -> &AbsPath {
        &self.place.root
    }

    /// The entry of the grant that this rests on: a directory, or a file that was granted by itself.
    pub fn granted(&self) -> &AbsPath {
        self.place.granted()
    }

    /// Empty only for a look at the granted directory itself, and for `Mkdir` with `parents`, where
    /// it is there already.
    pub fn relative(&self) -> &str {
        self.place.relative()
    }

    /// Largest size a file may come to have.
    pub fn max_bytes(&self) -> u64 {
        self.place.rule.max_bytes.value
    }

    /// Whether the component's account has no room for what is known to come.
    pub fn is_full(&self, usage: Usage, found: &FileWriteFound, ask: &FileWriteAsk) -> bool {
        !self.place.rule.quota.admits(usage, growth(ask, found))
    }

    pub fn to(&self) -> Option<(&AbsPath, &str)> {
        self.to
            .as_ref()
            .map(|place| (&place.root, place.relative()))
    }
}

/// What is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    pub kind: FileKind,
    pub size: u64,
    pub links: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWriteFound {
    pub existing: Option<Existing>,
    pub real_root: AbsPath,
    /// What the kernel calls the opened parent, and the last name of what was asked for.
    pub real_path: AbsPath,
    /// For a rename, the same of where it goes.
    pub to: Option<RenameFound>,
    /// What the component has made so far, without what this change takes away. Nothing where
    /// its account cannot be read.
    pub usage: Option<Usage>,
    /// Directories that are missing on the way to the one that `Mkdir` names, itself included.
    pub missing: u64,
    /// What is there is written to where it is, and not replaced by something made anew.
    pub in_place: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenameFound {
    pub existing: Option<Existing>,
    pub real_root: AbsPath,
    pub real_path: AbsPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileWriteFacts {
    /// How many bytes this request may write, however many arrive.
    pub max_bytes: u64,
    /// What all that the component has made may come to. Others of its requests run beside this
    /// one, so whoever acts has to reserve what it adds.
    pub quota: Quota,
}

impl Capability for FileWrite {
    fn permission(_: &FileWriteAsk) -> PermissionName {
        Permission::FileWrite.into()
    }

    fn action(ask: &FileWriteAsk) -> &'static str {
        match ask.action {
            FileWriteAction::Look => "look",
            FileWriteAction::Write => "write",
            FileWriteAction::Append => "append",
            FileWriteAction::Create => "create",
            FileWriteAction::Mkdir { .. } => "mkdir",
            FileWriteAction::Delete => "delete",
            FileWriteAction::Rename { .. } => "rename",
        }
    }

    fn target(ask: &FileWriteAsk) -> Cow<'_, str> {
        ask.path.as_str().into()
    }

    fn particular(ask: &FileWriteAsk) -> Option<(&'static str, &str)> {
        match &ask.action {
            FileWriteAction::Rename { to } => Some(("to", to.as_str())),
            _ => None,
        }
    }

    fn is_use(ask: &FileWriteAsk) -> bool {
        ask.action != FileWriteAction::Look
    }
}

impl Judge for FileWrite {
    type Ask = FileWriteAsk;
    type Terms = FileWriteTerms;
    type Found = FileWriteFound;
    type Confirmed = FileWriteFacts;
    type Rule = FileRule;

    fn slot<'a>(rights: &'a Rights, _: &FileWriteAsk) -> Option<&'a Slot<FileRule>> {
        Some(&rights.file_write)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<FileRule>,
        ask: &FileWriteAsk,
    ) -> Result<FileWriteTerms, Denial> {
        let find = |path| {
            let place = Place::find(rule, path, ask.action.patterns(), Permission::FileWrite)?;
            check_not_root(&place, path, &ask.action)?;
            Ok(place)
        };
        let explain = |denial: Denial| {
            if denial.reason == Reason::OutsideDirectory && denial.remedy.is_none() {
                let remedy = grant_of(caller, &rule.limits.forbidden, ask);
                return denial.with_remedy(remedy.filter(|_| would_do(rule, ask)));
            }
            denial
        };
        let place = find(&ask.path).map_err(explain)?;
        let to = match &ask.action {
            FileWriteAction::Rename { to } => Some(find(to).map_err(explain)?),
            _ => None,
        };
        check_size(rule, ask.bytes)?;
        Ok(FileWriteTerms { place, to })
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &FileWriteAsk) -> Option<Remedy> {
        grant_of(
            caller,
            &scopes.file(Permission::FileWrite)?.limits.forbidden,
            ask,
        )
    }

    fn confirm(
        _: &ComponentId,
        ask: &FileWriteAsk,
        terms: &FileWriteTerms,
        found: &FileWriteFound,
    ) -> Result<FileWriteFacts, Denial> {
        let kind = found.existing.map(|existing| existing.kind);
        let is_directory = kind == Some(FileKind::Directory)
            || matches!(ask.action, FileWriteAction::Mkdir { .. });
        let place = &terms.place;
        place.check_real(&ask.path, &found.real_root, &found.real_path, is_directory)?;
        let mut before = 0;
        match &ask.action {
            FileWriteAction::Write | FileWriteAction::Create => {
                check_file(&ask.path, found.existing)?
            }
            FileWriteAction::Append => {
                check_file(&ask.path, found.existing)?;
                before = found.existing.map_or(0, |existing| existing.size);
                check_size(&place.rule, before.saturating_add(ask.bytes))?;
            }
            FileWriteAction::Look | FileWriteAction::Mkdir { .. } => {}
            FileWriteAction::Delete => check_openable(&ask.path, found.existing)?,
            FileWriteAction::Rename { to } => {
                confirm_rename(&ask.path, to, terms, found, is_directory)?;
            }
        }
        check_quota(place.rule.quota, found.usage, growth(ask, found))?;
        Ok(FileWriteFacts {
            max_bytes: place.rule.max_bytes.value.saturating_sub(before),
            quota: place.rule.quota,
        })
    }

    fn spell(ask: &FileWriteAsk, _: &FileWriteTerms, words: &mut Words) {
        words.say(Self::action(ask)).quote(ask.path.as_str());
        match &ask.action {
            FileWriteAction::Write | FileWriteAction::Append | FileWriteAction::Create => {
                match ask.bytes {
                    0 => words.say("any").say("size"),
                    bytes => words.number(bytes).say("bytes"),
                };
            }
            FileWriteAction::Mkdir { parents: true } => {
                words.say("with").say("parents");
            }
            FileWriteAction::Rename { to } => {
                words.say("to").quote(to.as_str());
            }
            FileWriteAction::Look
            | FileWriteAction::Mkdir { parents: false }
            | FileWriteAction::Delete => {}
        }
    }
}

fn check_not_root(place: &Place, path: &AbsPath, action: &FileWriteAction) -> Result<(), Denial> {
    let stays = matches!(
        action,
        FileWriteAction::Look | FileWriteAction::Mkdir { parents: true }
    );
    let mut above = place.rule.roots.above(path);
    if stays || above.all(|(_, relative)| !relative.is_empty()) {
        return Ok(());
    }
    let sentence = format!(
        "`{}` is the granted directory itself, which stays",
        shown(path)
    );
    Err(Denial::new(Reason::NotAFile, sentence))
}

fn check_size(rule: &FileRule, bytes: u64) -> Result<(), Denial> {
    if bytes <= rule.max_bytes.value {
        return Ok(());
    }
    let sentence = format!("a file may grow to {} bytes at most", rule.max_bytes.value);
    Err(Denial::new(rule.max_bytes.reason, sentence))
}

/// What the change adds to the account, as far as is known before the bytes arrive. A file
/// that is replaced counts as made anew, whoever had made it; one written in place does not.
fn growth(ask: &FileWriteAsk, found: &FileWriteFound) -> Usage {
    let (bytes, files) = match ask.action {
        FileWriteAction::Write if found.in_place && found.existing.is_some() => (ask.bytes, 0),
        FileWriteAction::Write | FileWriteAction::Create => (ask.bytes, 1),
        FileWriteAction::Append => (ask.bytes, u64::from(found.existing.is_none())),
        FileWriteAction::Mkdir { .. } => (0, found.missing),
        FileWriteAction::Look | FileWriteAction::Delete | FileWriteAction::Rename { .. } => (0, 0),
    };
    Usage { bytes, files }
}

fn check_quota(quota: Quota, usage: Option<Usage>, growth: Usage) -> Result<(), Denial> {
    if growth == Usage::default() {
        return Ok(());
    }
    let Some(usage) = usage else {
        let sentence = "what this component has written cannot be counted, so it may write no more";
        return Err(Denial::new(Reason::Quota, sentence));
    };
    if quota.admits(usage, growth) {
        return Ok(());
    }
    let sentence = format!(
        "this component may make {quota} in all; it has {usage} and asks for {growth} more"
    );
    Err(Denial::new(Reason::Quota, sentence))
}

/// A file with a second name is not written to: that name may be anywhere.
fn check_file(path: &AbsPath, existing: Option<Existing>) -> Result<(), Denial> {
    match existing {
        None => Ok(()),
        Some(Existing {
            kind: FileKind::File,
            links,
            ..
        }) => check_links(path, links),
        Some(_) => {
            let sentence = format!("`{}` is not a regular file", shown(path));
            Err(Denial::new(Reason::NotAFile, sentence))
        }
    }
}

fn check_links(path: &AbsPath, links: u64) -> Result<(), Denial> {
    if links <= 1 {
        return Ok(());
    }
    let sentence = format!(
        "`{}` has further names, which may lie outside the granted directory",
        shown(path)
    );
    Err(Denial::new(Reason::OutsideDirectory, sentence))
}

fn check_openable(path: &AbsPath, existing: Option<Existing>) -> Result<(), Denial> {
    match existing.map(|existing| existing.kind) {
        None | Some(FileKind::File | FileKind::Directory) => Ok(()),
        Some(FileKind::Symlink | FileKind::Other) => {
            let sentence = format!(
                "`{}` is neither a regular file nor a directory",
                shown(path)
            );
            Err(Denial::new(Reason::NotAFile, sentence))
        }
    }
}

fn confirm_rename(
    from: &AbsPath,
    to: &AbsPath,
    terms: &FileWriteTerms,
    found: &FileWriteFound,
    is_directory: bool,
) -> Result<(), Denial> {
    let (Some(place), Some(target)) = (&terms.to, &found.to) else {
        return Err(Denial::bad_request("a rename needs to know where it goes"));
    };
    place.check_real(to, &target.real_root, &target.real_path, is_directory)?;
    check_openable(from, found.existing)?;
    check_openable(to, target.existing)?;
    if let Some(Existing {
        kind: FileKind::File,
        links,
        ..
    }) = found.existing
    {
        check_links(from, links)?;
    }
    if !is_directory {
        return Ok(());
    }
    if terms.place.is_alone() || place.is_alone() {
        let sentence = "a path that was granted by itself does not cover what a directory holds";
        return Err(Denial::new(Reason::OutsideDirectory, sentence));
    }
    // What is in the directory moves along, so nothing in it may be out of bounds, here or there.
    let limits = &place.rule.limits.forbidden;
    for (asked, real) in [(from, &found.real_path), (to, &target.real_path)] {
        if let Some(entry) = limits.touches(real).or_else(|| limits.touches(asked)) {
            return Err(forbidden(asked, entry));
        }
    }
    if place.rule.globs.narrows() {
        let sentence = "a grant with patterns does not cover renaming a whole directory";
        return Err(Denial::new(Reason::PatternExcluded, sentence));
    }
    Ok(())
}

/// Whether a grant of the directories in question would be all that is missing.
fn would_do(rule: &FileRule, ask: &FileWriteAsk) -> bool {
    let fits = |path: &AbsPath| {
        matches!(ask.action, FileWriteAction::Mkdir { .. })
            || rule.globs.allows(path.file_name().unwrap_or_default())
    };
    let to_fits = match &ask.action {
        FileWriteAction::Rename { to } => fits(to),
        _ => true,
    };
    fits(&ask.path) && to_fits && ask.bytes <= rule.max_bytes.value
}

/// The narrowest directories that would do; never `/`, which is not narrow.
fn grant_of(caller: &ComponentId, forbidden: &Forbidden, ask: &FileWriteAsk) -> Option<Remedy> {
    let mut directories = vec![ask.path.parent()?];
    let mut paths = vec![&ask.path];
    if let FileWriteAction::Rename { to } = &ask.action {
        directories.push(to.parent()?);
        paths.push(to);
    }
    directories.dedup();
    if paths.iter().any(|path| forbidden.covers(path).is_some())
        || directories.iter().any(AbsPath::is_root)
    {
        return None;
    }
    let values = directories.iter().map(ToString::to_string);
    Some(Remedy::grant_add(caller, Permission::FileWrite, values))
}

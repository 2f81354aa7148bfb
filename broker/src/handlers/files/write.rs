//! `file_write`: decides which change it is, looks at what is there, and makes the change.

use std::{io, sync::Arc};

use bytes::Bytes;
use rumi_audit::Recorded;
use rumi_policy::{
    AbsPath, Confirmed, Existing as Seen, FileWrite, FileWriteAction, FileWriteFound, Permit,
    RenameFound,
};

use super::{
    ChangeError, count,
    create::{self, Draft, Existing, Place},
    io_failure, lookup,
    payer::Payer,
    remove, root_failure,
};
use crate::{
    pipeline::{Context, Handler, Performed},
    policy_store::Root,
    refusal::{Failure, Refusal},
};

/// Serves one change of the file system.
#[derive(Debug)]
pub struct WriteHandler {
    /// Content of a write or an append.
    pub data: Bytes,
}

/// Everything that a change needs, opened.
#[derive(Debug)]
pub enum Target {
    /// The parent directory is there.
    Placed(Box<Placed>),
    /// Parents are missing and shall be made.
    Missing {
        /// The granted directory.
        root: Arc<Root>,
        /// The path below it.
        relative: String,
    },
}

/// The places of a change.
#[derive(Debug)]
pub struct Placed {
    pub(super) from: Place,
    to: Option<Place>,
}

/// Looks at one end of a change.
struct Looked {
    root: Arc<Root>,
    place: Place,
    existing: Option<Seen>,
}

/// What a request for writing names; shared by all handlers of `file_write`.
pub(super) fn find(
    context: Context<'_>,
    permit: &Permit<FileWrite>,
) -> Result<(FileWriteFound, Target), Refusal> {
    let terms = permit.terms();
    let asked = permit.ask();
    let failure = |error: io::Error| io_failure(asked.path.as_str(), &error);
    let root = open_root(context, terms.root())?;
    if asked.action == (FileWriteAction::Mkdir { parents: true }) {
        return parents(root, terms.relative()).map_err(failure);
    }
    let from = look(root, terms.relative()).map_err(failure)?;
    let to = match terms.to() {
        None => None,
        Some((root, relative)) => {
            let root = open_root(context, root)?;
            Some(look(root, relative).map_err(failure)?)
        }
    };
    let found = FileWriteFound {
        existing: from.existing,
        real_root: from.root.path().clone(),
        real_path: from.place.path.clone(),
        to: to.as_ref().map(|to| RenameFound {
            existing: to.existing,
            real_root: to.root.path().clone(),
            real_path: to.place.path.clone(),
        }),
        usage: None,
        missing: 1,
        in_place: false,
    };
    let placed = Placed {
        from: from.place,
        to: to.map(|to| to.place),
    };
    Ok((found, Target::Placed(Box::new(placed))))
}

/// The same with what the component has made so far. Where that leaves no room, it is counted
/// again first: its files may have been removed by others.
pub(super) async fn find_counted(
    context: Context<'_>,
    permit: &Permit<FileWrite>,
) -> Result<(FileWriteFound, Target), Refusal> {
    let (mut found, target) = find(context, permit)?;
    let quotas = context.broker.quotas();
    let component = context.caller.component();
    let replaced = match (&permit.ask().action, &target) {
        (FileWriteAction::Write, Target::Placed(placed)) => placed.from.existing.as_ref(),
        _ => None,
    };
    let replaced = replaced.map(|replaced| replaced.counted().0);
    found.usage = quotas.usage(component, replaced);
    if found
        .usage
        .is_some_and(|usage| permit.terms().is_full(usage, &found, permit.ask()))
    {
        let (counting, whose) = (Arc::clone(quotas), component.clone());
        let counted = tokio::task::spawn_blocking(move || counting.recount_if_due(&whose)).await;
        if matches!(counted, Ok(true)) {
            found.usage = quotas.usage(component, replaced);
        }
    }
    Ok((found, target))
}

fn open_root(context: Context<'_>, path: &AbsPath) -> Result<Arc<Root>, Refusal> {
    context
        .policy
        .roots
        .get(path)
        .map_err(|error| root_failure(&error))
}

/// A chain of directories may be missing; none of it is a symlink then, so the path is its own.
fn parents(root: Arc<Root>, relative: &str) -> io::Result<(FileWriteFound, Target)> {
    let real_path = match lookup::find(&root, relative) {
        Ok(found) => found.real_path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            lookup::join(root.path(), relative)?
        }
        Err(error) => return Err(error),
    };
    let found = FileWriteFound {
        existing: None,
        real_root: root.path().clone(),
        real_path,
        to: None,
        usage: None,
        missing: missing(&root, relative),
        in_place: false,
    };
    let relative = relative.to_owned();
    Ok((found, Target::Missing { root, relative }))
}

/// How many of the directories on the way are not there.
fn missing(root: &Root, relative: &str) -> u64 {
    let mut above = Some(relative);
    let mut missing = 0;
    while let Some(directory) = above.filter(|directory| lookup::find(root, directory).is_err()) {
        missing += 1;
        above = directory.rsplit_once('/').map(|(above, _)| above);
    }
    missing
}

fn look(root: Arc<Root>, relative: &str) -> io::Result<Looked> {
    let (directory, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    if name.is_empty() {
        // The granted directory itself is the admin's, not the pack's.
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let parent = lookup::find_directory(&root, directory)?;
    let existing = lookup::find_name(&parent, name)?;
    let path = lookup::join(&parent.real_path, name)?;
    Ok(Looked {
        root,
        existing: existing.as_ref().map(|existing| Seen {
            kind: existing.kind(),
            size: existing.size(),
            links: existing.links(),
        }),
        place: Place {
            parent,
            name: name.to_owned(),
            path,
            existing,
        },
    })
}

impl Handler<FileWrite> for WriteHandler {
    type Handle = Target;
    type Reply = u64;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Target), Refusal> {
        find_counted(context, permit.get()).await
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileWrite>>,
        target: Target,
    ) -> Performed<u64> {
        let record = permit.id();
        let permit = permit.get();
        let path = permit.ask().path.clone();
        let action = permit.ask().action.clone();
        let bytes_in = count(self.data.len());
        if bytes_in > permit.facts().max_bytes {
            return Performed::plain(Err(Refusal::failed(
                Failure::TooLarge,
                format!("`{path}` may not become that large"),
            )));
        }
        let payer = Payer::of(context, permit);
        // Making something durable takes milliseconds: not on a request's thread.
        let changing = move || change(&action, &target, &self.data, &payer);
        let changed = tokio::task::spawn_blocking(changing)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error).into()));
        Performed {
            bytes_in,
            ..Performed::plain(changed.map_err(|error| error.refusal(path.as_str(), record)))
        }
    }
}

/// Makes the change; the new size of a file, or 0.
fn change(
    action: &FileWriteAction,
    target: &Target,
    data: &[u8],
    payer: &Payer,
) -> Result<u64, ChangeError> {
    let placed = match target {
        Target::Missing { root, relative } => {
            return create::directories(root, relative, payer).map(|()| 0);
        }
        Target::Placed(placed) => placed,
    };
    let place = &placed.from;
    match action {
        FileWriteAction::Write | FileWriteAction::Create => {
            let existing = match action {
                FileWriteAction::Create => Existing::Refuse,
                _ => Existing::Replace,
            };
            let mut draft = Draft::begin(place, payer)?;
            draft.write(data)?;
            draft.publish(place, existing)
        }
        FileWriteAction::Look => Ok(0),
        FileWriteAction::Append => create::append(place, data, payer),
        FileWriteAction::Mkdir { .. } => create::directory(place, payer).map(|()| 0),
        FileWriteAction::Delete => Ok(remove::delete(place, payer).map(|()| 0)?),
        FileWriteAction::Rename { .. } => match &placed.to {
            Some(to) => Ok(remove::rename(place, to, payer).map(|()| 0)?),
            None => Err(io::ErrorKind::InvalidInput.into()),
        },
    }
}

//! Changes of names: directories made, names taken away and moved. Each is a request of its own.

use std::{io, sync::Arc};

use fuser::{Errno, FileAttr, RenameFlags};
use rumi_audit::Recorded;
use rumi_policy::{
    AbsPath, Confirmed, FileWrite, FileWriteAction, FileWriteAsk, FileWriteFound, Permit,
};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{
    answer::Trouble,
    asker::{Asker, Asking},
    metadata,
    paying::{self, Growing, Payer},
    places::{self, Spot},
    shared::Shared,
};
use crate::{
    pipeline::{self, Context, Handler, Performed},
    refusal::Refusal,
};

/// Permission bits of directories that are made.
const DIRECTORY_MODE: u32 = 0o755;

/// A change of a name.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Mkdir,
    Unlink,
    Rmdir,
    Rename { to: AbsPath, replace: bool },
}

/// Who asks for a change below one mount.
#[derive(Debug, Clone)]
pub(super) struct Changer {
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Arc<Asker>,
    pub(super) asking: Asking,
}

impl Changer {
    pub(super) async fn mkdir(self, parent: u64, name: &str) -> Result<FileAttr, Errno> {
        self.change(parent, name, Change::Mkdir).await?;
        metadata::lookup(
            &self.shared,
            &self.asker,
            self.asking,
            parent,
            name.as_ref(),
        )
        .await
    }

    pub(super) async fn remove(self, parent: u64, name: &str, how: Change) -> Result<(), Errno> {
        self.change(parent, name, how).await?;
        self.shared.tree().removed(parent, name);
        Ok(())
    }

    pub(super) async fn rename(
        self,
        from: (u64, &str),
        to: (u64, &str),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        // Two names that change places at a stroke are two changes, and only one was asked for.
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return Err(Errno::EINVAL);
        }
        let change = Change::Rename {
            to: self.shared.child(to.0, to.1.as_ref())?,
            replace: flags.is_empty(),
        };
        self.change(from.0, from.1, change).await?;
        self.shared.tree().renamed(from, to);
        Ok(())
    }

    async fn change(&self, parent: u64, name: &str, change: Change) -> Result<(), Errno> {
        let path = self.shared.child(parent, name.as_ref())?;
        let action = match &change {
            Change::Mkdir => FileWriteAction::Mkdir { parents: false },
            Change::Unlink | Change::Rmdir => FileWriteAction::Delete,
            Change::Rename { to, .. } => FileWriteAction::Rename { to: to.clone() },
        };
        let ask = FileWriteAsk {
            path,
            action,
            bytes: 0,
        };
        let trouble = Trouble::default();
        let handler = ToChange {
            change,
            trouble: trouble.clone(),
        };
        let caller = self.asker.caller(self.asking);
        pipeline::run(&self.shared.broker, &caller, ask, handler)
            .await
            .map_err(|refusal| trouble.errno(&refusal))
    }
}

struct ToChange {
    change: Change,
    trouble: Trouble,
}

impl Handler<FileWrite> for ToChange {
    type Handle = (Spot, Option<Spot>);
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Self::Handle), Refusal> {
        let terms = permit.get().terms();
        let from = Spot::find(context, terms.root(), terms.relative(), &self.trouble)?;
        let to = match terms.to() {
            None => None,
            Some((root, relative)) => Some(Spot::find(context, root, relative, &self.trouble)?),
        };
        let mut found = from.found(to.as_ref());
        paying::count(context, permit.get(), &mut found).await;
        Ok((found, (from, to)))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileWrite>>,
        (from, to): Self::Handle,
    ) -> Performed<()> {
        let path = permit.get().ask().path.as_str();
        let (change, payer) = (self.change, Payer::of(context, permit.get()));
        // Even without waiting for the disk this may take its time.
        let made = tokio::task::spawn_blocking(move || make(&change, &from, to.as_ref(), &payer))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        Performed::plain(made.map_err(|error| self.trouble.note(path, &error)))
    }
}

fn make(change: &Change, from: &Spot, to: Option<&Spot>, payer: &Payer) -> io::Result<()> {
    match (change, to) {
        (Change::Mkdir, _) => {
            let growth = payer.make(&from.real_path)?;
            let names = payer.names();
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(from.directory(), &from.name, mode)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(from.directory(), &from.name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&made)?;
            drop(Growing::from_made(
                growth,
                &names,
                (from.directory(), &from.name),
                &stat,
            ));
            places::own(&made, &from.parent, DIRECTORY_MODE)
        }
        (Change::Unlink | Change::Rmdir, _) => {
            let flags = match change {
                Change::Rmdir => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            let names = payer.names();
            rustix::fs::unlinkat(from.directory(), &from.name, flags)?;
            if let Some(removed) = &from.existing {
                names.removed(removed.handle());
            }
            Ok(())
        }
        (Change::Rename { replace, .. }, Some(to)) => {
            let flags = match replace {
                true => rustix::fs::RenameFlags::empty(),
                false => rustix::fs::RenameFlags::NOREPLACE,
            };
            let (source, target) = (from.directory(), to.directory());
            let names = payer.names();
            rustix::fs::renameat_with(source, &from.name, target, &to.name, flags)?;
            names.moved((source, &from.name), (target, &to.name));
            if let Some(replaced) = &to.existing {
                names.removed(replaced.handle());
            }
            Ok(())
        }
        (Change::Rename { .. }, None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

//! Opening for writing, and making files. What is written lands in the file at once, as programs
//! expect of a file; only a whole `file_write` replaces at a stroke.

use std::{
    fs::File,
    io,
    sync::{Arc, OnceLock},
};

use fuser::{Errno, FileHandle, Generation, ReplyCreate, ReplyOpen};
use rumi_audit::Recorded;
use rumi_policy::{
    AbsPath, Confirmed, FileWrite, FileWriteAction, FileWriteAsk, FileWriteFound, Permit,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno as Kernel,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    alongside::{self, Alongside},
    answer::Answer,
    asker::{Asker, Asking},
    attributes::{self, AT_ONCE, Rights},
    held,
    opens::{OpenFile, Uses},
    paying::{self, Growing, Payer},
    places::{self, Spot},
    reading::id_of,
    shared::Shared,
    tree::{HostId, Thing},
};
use crate::{
    handlers::Found,
    lease::Lease,
    pipeline::{self, Context, Handler, Performed},
    refusal::Refusal,
};

/// Permission bits of files that are made.
const FILE_MODE: u32 = 0o644;
/// Setuid, setgid and sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// How the kernel is told of what was opened.
#[derive(Debug)]
pub(super) enum Reply {
    /// There was a file.
    Opened(ReplyOpen),
    /// It was made.
    Created(ReplyCreate),
}

impl Reply {
    pub(super) fn error(self, errno: Errno) {
        match self {
            Self::Opened(reply) => reply.error(errno),
            Self::Created(reply) => reply.error(errno),
        }
    }
}

/// What a program wants to write to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A file that the kernel knows.
    Known { inode: u64, id: HostId },
    /// A name in a directory, where nothing is yet.
    New {
        parent: u64,
        name: String,
        exclusive: bool,
    },
}

/// An opening for writing.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Arc<Asker>,
    pub(super) asking: Asking,
    pub(super) target: Target,
    pub(super) read: bool,
    pub(super) append: bool,
    pub(super) answer: Answer<Reply>,
}

/// Opens for writing, and for reading too where that is asked. Returns when the file is closed.
pub(super) async fn open(opening: Opening) -> Result<(), Errno> {
    let path = match &opening.target {
        Target::Known { inode, .. } => opening.shared.tree().path(*inode).ok_or(Errno::ESTALE)?,
        Target::New { parent, name, .. } => opening.shared.child(*parent, name.as_ref())?,
    };
    let place = opening.asker.place_to_open().ok_or(Errno::EMFILE)?;
    let broker = Arc::clone(&opening.shared.broker);
    let caller = opening.asker.caller(opening.asking);
    let trouble = opening.answer.trouble().clone();
    if opening.read {
        // Asked before anything is made or opened; it is asked again, and recorded, with it.
        alongside::may(&broker, &caller, &path)
            .await
            .map_err(|refusal| trouble.errno(&refusal))?;
    }
    let action = match &opening.target {
        Target::New {
            exclusive: true, ..
        } => FileWriteAction::Create,
        _ if opening.append => FileWriteAction::Append,
        _ => FileWriteAction::Write,
    };
    let ask = FileWriteAsk {
        path,
        action,
        bytes: 0,
    };
    let handler = ToWrite { opening, place };
    pipeline::run(&broker, &caller, ask, handler)
        .await
        .map_err(|refusal| trouble.errno(&refusal))
}

struct ToWrite {
    opening: Opening,
    place: OwnedSemaphorePermit,
}

impl Handler<FileWrite> for ToWrite {
    type Handle = Spot;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Spot), Refusal> {
        let terms = permit.get().terms();
        let trouble = self.opening.answer.trouble();
        let spot = Spot::find(context, terms.root(), terms.relative(), trouble)?;
        if let Target::Known { id, .. } = &self.opening.target
            && spot.existing.as_ref().map(id_of) != Some(*id)
        {
            return Err(trouble.note(terms.relative(), &Kernel::STALE.into()));
        }
        let mut found = spot.found(None);
        paying::count(context, permit.get(), &mut found).await;
        Ok((found, spot))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileWrite>>,
        spot: Spot,
    ) -> Performed<()> {
        let permit = permit.get();
        let trouble = self.opening.answer.trouble().clone();
        let path = permit.ask().path.clone();
        let payer = Payer::of(context, permit);
        let (file, growing) = match self.opening.file(&spot, &payer) {
            Ok((file, growing)) => (Arc::new(file), Arc::new(growing)),
            Err(error) => return Performed::plain(Err(trouble.note(path.as_str(), &error))),
        };
        let before = match permit.ask().action {
            FileWriteAction::Append => spot.existing.as_ref().map_or(0, Found::size),
            _ => 0,
        };
        let most = permit.facts().max_bytes.saturating_add(before);
        let lease = Lease::<FileWrite>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        let (opening, shared) = (self.opening.clone_parts(), Arc::clone(&self.opening.shared));
        let slot = Arc::new(OnceLock::new());
        let ready = Ready {
            opening: self.opening,
            place: self.place,
            file: Arc::clone(&file),
            growing: Arc::clone(&growing),
            most,
            slot: Arc::clone(&slot),
        };
        let result = if ready.opening.read {
            both(context, &opening, path, ready, lease).await
        } else {
            match ready.tell() {
                Ok(open) => held::until_closed(&shared, &open, lease).await,
                Err(error) => Err(trouble.note(path.as_str(), &error)),
            }
        };
        if let Ok(stat) = rustix::fs::fstat(&*file) {
            growing.settle(&stat);
        }
        Performed {
            bytes_in: slot
                .get()
                .map_or(0, |open: &Arc<OpenFile>| open.counted().0),
            ..Performed::plain(result)
        }
    }
}

/// What the second request of an opening for both needs of the first.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
}

/// Reading is a request of its own beside the writing, and either one ends both.
async fn both(
    context: Context<'_>,
    parts: &Parts,
    path: AbsPath,
    ready: Ready,
    mut lease: Lease<FileWrite>,
) -> Result<(), Refusal> {
    let slot = Arc::clone(&ready.slot);
    let reading = Alongside::run(context, path, ready);
    tokio::pin!(reading);
    tokio::select! {
        ended = &mut reading => ended,
        denial = lease.revoked() => {
            if let Some(open) = slot.get() {
                open.revoke();
                parts.shared.invalidate(open.inode);
            }
            drop(reading.await);
            Err(held::revoked(denial.sentence))
        }
    }
}

/// A file that is open on the host, and of which the kernel has not been told yet.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) opening: Opening,
    place: OwnedSemaphorePermit,
    file: Arc<File>,
    growing: Arc<Growing>,
    most: u64,
    slot: Arc<OnceLock<Arc<OpenFile>>>,
}

impl Ready {
    pub(super) fn id(&self) -> io::Result<HostId> {
        let stat = rustix::fs::fstat(&*self.file)?;
        Ok(HostId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Tells the kernel; from now on it may be used.
    pub(super) fn tell(self) -> io::Result<Arc<OpenFile>> {
        let Opening {
            shared,
            asking,
            target,
            read,
            append,
            answer,
            ..
        } = self.opening;
        let stat = rustix::fs::fstat(&*self.file)?;
        let made = Thing::Host {
            id: HostId {
                device: stat.st_dev,
                inode: stat.st_ino,
            },
            directory: false,
            passthrough: false,
        };
        let inode = match &target {
            Target::Known { inode, .. } => *inode,
            Target::New { parent, name, .. } => shared
                .remember(*parent, name.as_ref(), made)
                .map_err(|errno| io::Error::from_raw_os_error(errno.code()))?,
        };
        let uses = Uses {
            read,
            write: true,
            append,
            most: self.most,
        };
        let open = OpenFile::new(
            asking.uid,
            inode,
            uses,
            self.file,
            Some(self.growing),
            None,
            self.place,
        );
        let number = FileHandle(shared.add_open(&open));
        drop(self.slot.set(Arc::clone(&open)));
        let rights = Rights {
            readable: read,
            writable: true,
        };
        match answer.take() {
            Some(Reply::Opened(reply)) => reply.opened(number, held::FLAGS),
            Some(Reply::Created(reply)) => reply.created(
                &AT_ONCE,
                &attributes::of_stat(inode, &stat, rights, asking),
                Generation(0),
                number,
                held::FLAGS,
            ),
            None => {}
        }
        Ok(open)
    }
}

impl Opening {
    fn clone_parts(&self) -> Parts {
        Parts {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Opens what is there, or makes what is not.
    fn file(&self, spot: &Spot, payer: &Payer) -> io::Result<(File, Growing)> {
        let mut flags = match self.read {
            true => OFlags::RDWR,
            false => OFlags::WRONLY,
        };
        if self.append {
            flags |= OFlags::APPEND;
        }
        match (&self.target, &spot.existing) {
            (Target::Known { .. }, Some(found)) => {
                let file = File::from(found.open(flags | OFlags::NONBLOCK)?);
                if found.stat.st_mode & SPECIAL_BITS != 0 {
                    // What a pack writes must not run with another's rights.
                    let plain = Mode::from_raw_mode(found.stat.st_mode & 0o777);
                    rustix::fs::fchmod(&file, plain)?;
                }
                let growing = payer.grow(&spot.real_path, &rustix::fs::fstat(&file)?)?;
                Ok((file, growing))
            }
            (Target::New { .. }, None) => {
                let flags =
                    flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let growth = payer.make(&spot.real_path)?;
                let names = payer.names();
                let mode = Mode::from_raw_mode(0o600);
                let made = rustix::fs::openat(spot.directory(), &spot.name, flags, mode)?;
                places::own(&made, &spot.parent, FILE_MODE)?;
                let stat = rustix::fs::fstat(&made)?;
                let place = (spot.directory(), spot.name.as_str());
                let growing = Growing::from_made(growth, &names, place, &stat);
                Ok((File::from(made), growing))
            }
            (Target::New { exclusive, .. }, Some(_)) => Err(match exclusive {
                true => Kernel::EXIST.into(),
                // It has come into being meanwhile; the kernel looks again and opens it.
                false => Kernel::STALE.into(),
            }),
            (Target::Known { .. }, None) => Err(Kernel::STALE.into()),
        }
    }
}

//! Changes of a file's content and of what is known of it: writes, sizes, times, and making them
//! durable.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc, time::SystemTime};

use fuser::{Errno, FileAttr, ReplyEmpty, ReplyWrite, TimeOrNow};
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileWrite, FileWriteAction, FileWriteAsk, FileWriteFound, Permit};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{
    answer::{self, Trouble},
    asker::Asker,
    changes::Changer,
    metadata,
    opens::{OpenFile, Source},
    paying::{self, Growing, Payer},
    places::Spot,
    reading::{self, id_of},
    shared::Shared,
    tree::HostId,
};
use crate::{
    pipeline::{self, Context, Handler, Performed},
    refusal::Refusal,
};

/// Writes to what is open.
pub(super) fn write(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    open: Arc<OpenFile>,
    offset: u64,
    data: &[u8],
    reply: ReplyWrite,
) {
    if !open.uses.write {
        return reply.error(Errno::EBADF);
    }
    if open.in_memory {
        return write_now(&open, offset, data, reply);
    }
    let data = data.to_vec();
    shared.wait(asker, move || write_now(&open, offset, &data, reply));
}

fn write_now(open: &OpenFile, offset: u64, data: &[u8], reply: ReplyWrite) {
    // It may have been revoked while it waited for its turn.
    let file = match open.file() {
        Ok(file) => file,
        Err(errno) => return reply.error(errno),
    };
    match put(open, &file, offset, data) {
        Ok(written) => {
            open.count_in(written);
            reply.written(u32::try_from(written).unwrap_or(0));
        }
        Err(error) => reply.error(Errno::from_i32(answer::number(&error))),
    }
}

/// Writes as much as there is room for. What the disk did not take is an error only where it took
/// nothing, as with any file.
fn put(open: &OpenFile, file: &File, offset: u64, data: &[u8]) -> io::Result<usize> {
    let begin = match open.uses.append {
        true => file.metadata()?.len(),
        false => offset,
    };
    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
    if begin.saturating_add(length) > open.uses.most {
        return Err(rustix::io::Errno::FBIG.into());
    }
    if let Some(growing) = &open.growing {
        growing.cover(begin.saturating_add(length))?;
    }
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        // A file that was opened for appending appends, whatever the place.
        let at = begin.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        match file.write_at(rest, at) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if written == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(written)
}

/// Makes what was written durable.
pub(super) fn sync(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    open: Arc<OpenFile>,
    data_only: bool,
    reply: ReplyEmpty,
) {
    shared.wait(asker, move || {
        let synced = open.file().and_then(|file| {
            let synced = match data_only {
                true => file.sync_data(),
                false => file.sync_all(),
            };
            synced.map_err(|error| Errno::from_i32(answer::number(&error)))
        });
        match synced {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    });
}

/// Makes the names of a directory durable.
pub(super) fn sync_directory(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    open: Arc<super::opens::OpenDirectory>,
    reply: ReplyEmpty,
) {
    shared.wait(asker, move || {
        let Source::Host { directory, .. } = &open.source else {
            return reply.ok();
        };
        let directory = directory
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match rustix::fs::fsync(&*directory) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(Errno::from_i32(error.raw_os_error())),
        }
    });
}

/// What a program wants to be otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Otherwise {
    pub(super) size: Option<u64>,
    pub(super) accessed: Option<TimeOrNow>,
    pub(super) modified: Option<TimeOrNow>,
}

impl Otherwise {
    fn is_nothing(&self) -> bool {
        self.size.is_none() && self.accessed.is_none() && self.modified.is_none()
    }

    fn apply(&self, file: &File, most: u64, growing: Option<&Growing>) -> io::Result<()> {
        if let Some(size) = self.size {
            if size > most {
                return Err(rustix::io::Errno::FBIG.into());
            }
            if let Some(growing) = growing {
                growing.cover(size)?;
            }
            file.set_len(size)?;
        }
        if self.accessed.is_some() || self.modified.is_some() {
            let times = Timestamps {
                last_access: time(self.accessed),
                last_modification: time(self.modified),
            };
            rustix::fs::futimens(file, &times)?;
        }
        Ok(())
    }
}

fn time(wanted: Option<TimeOrNow>) -> Timespec {
    let special = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    match wanted {
        None => special(UTIME_OMIT),
        Some(TimeOrNow::Now) => special(UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            let since = since.unwrap_or_default();
            Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: since.subsec_nanos().into(),
            }
        }
    }
}

/// Changes size or times, of what is open or of what a name stands for, and says what is known then.
pub(super) async fn change(
    changer: Changer,
    inode: u64,
    otherwise: Otherwise,
) -> Result<FileAttr, Errno> {
    let Changer {
        shared,
        asker,
        asking,
    } = &changer;
    let is_directory = reading::regular(shared, inode).is_err();
    if is_directory && otherwise.size.is_some() {
        return Err(Errno::EISDIR);
    }
    // The times of a directory are those of its own changes, whatever a program wishes.
    if !otherwise.is_nothing() && !is_directory {
        let open = shared.opens.of_inode(inode);
        let mine = |open: &&Arc<OpenFile>| open.belongs_to(asking.uid) && open.uses.write;
        match open.iter().find(mine) {
            Some(open) => {
                let (open, file) = (Arc::clone(open), open.file()?);
                let changed = tokio::task::spawn_blocking(move || {
                    otherwise.apply(&file, open.uses.most, open.growing.as_deref())
                });
                changed
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
                    .map_err(|error| Errno::from_i32(answer::number(&error)))?;
            }
            None => by_name(&changer, inode, otherwise).await?,
        }
    }
    metadata::attributes(shared, asker, *asking, inode).await
}

async fn by_name(changer: &Changer, inode: u64, otherwise: Otherwise) -> Result<(), Errno> {
    let shared = &changer.shared;
    let (id, _) = reading::regular(shared, inode)?;
    let ask = FileWriteAsk {
        path: shared.tree().path(inode).ok_or(Errno::ESTALE)?,
        action: FileWriteAction::Write,
        bytes: otherwise.size.unwrap_or(0),
    };
    let trouble = Trouble::default();
    let handler = ToAlter {
        id,
        otherwise,
        trouble: trouble.clone(),
    };
    let caller = changer.asker.caller(changer.asking);
    pipeline::run(&shared.broker, &caller, ask, handler)
        .await
        .map_err(|refusal| trouble.errno(&refusal))
}

struct ToAlter {
    id: HostId,
    otherwise: Otherwise,
    trouble: Trouble,
}

impl Handler<FileWrite> for ToAlter {
    type Handle = Spot;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Spot), Refusal> {
        let terms = permit.get().terms();
        let spot = Spot::find(context, terms.root(), terms.relative(), &self.trouble)?;
        if spot.existing.as_ref().map(id_of) != Some(self.id) {
            let stale = rustix::io::Errno::STALE.into();
            return Err(self.trouble.note(terms.relative(), &stale));
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
        let payer = Payer::of(context, permit.get());
        let path = permit.get().ask().path.as_str();
        let most = permit.get().facts().max_bytes;
        let otherwise = self.otherwise;
        let changed = tokio::task::spawn_blocking(move || {
            let found = spot.existing.ok_or(rustix::io::Errno::STALE)?;
            let file = File::from(found.open(OFlags::WRONLY | OFlags::NONBLOCK)?);
            let growing = match otherwise.size {
                Some(_) => Some(payer.grow(&spot.real_path, &rustix::fs::fstat(&file)?)?),
                None => None,
            };
            otherwise.apply(&file, most, growing.as_ref())?;
            if let Some(growing) = growing {
                growing.settle(&rustix::fs::fstat(&file)?);
            }
            Ok(())
        });
        let changed = changed
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        Performed::plain(changed.map_err(|error| self.trouble.note(path, &error)))
    }
}

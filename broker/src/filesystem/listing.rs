//! Open directories and their names, read bit by bit so that their number does not matter.

use std::{
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    sync::{Arc, PoisonError},
};

use fuser::{Errno, FileHandle, FileType, FopenFlags, INodeNo, ReplyDirectory, ReplyOpen};
use rumi_audit::Recorded;
use rumi_policy::{
    AbsPath, Children, Confirmed, FileKind, FileRead, FileReadAction, FileReadAsk, FileReadFound,
    Permit,
};
use rustix::fs::{AtFlags, OFlags, RawDir, SeekFrom};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::Answer,
    asker::{Asker, Asking},
    attributes::{self, file_type},
    held::revoked,
    opens::{OpenDirectory, Source},
    shared::Shared,
    view::{Child, Standing, View},
};
use crate::{
    handlers::{Found, find_itself, kind_of, kind_of_type, root_failure},
    lease::Lease,
    pipeline::{self, Context, Handler, Performed},
    policy_store::{self, Loaded},
    refusal::Refusal,
};

/// Entries that are asked of the host at once, in bytes.
const BATCH: usize = 16 * 1024;
/// Number shown for what nobody has looked up yet, as other FUSE file systems show it.
const UNKNOWN: INodeNo = INodeNo(0xffff_ffff);

/// Opens a directory for listing. Returns when it is closed again.
pub(super) async fn open(
    shared: Arc<Shared>,
    asker: Arc<Asker>,
    asking: Asking,
    inode: u64,
    answer: Answer<ReplyOpen>,
) -> Result<(), Errno> {
    let path = shared.tree().path(inode).ok_or(Errno::ESTALE)?;
    let place = asker.place_to_open().ok_or(Errno::EMFILE)?;
    if is_shown_by_grants(&shared, &asker, &path) {
        let source = Source::Grants(path);
        let directory = OpenDirectory::new(asking.uid, source, place);
        let number = shared.opens.add_directory(&directory);
        if let Some(reply) = answer.take() {
            reply.opened(FileHandle(number), FopenFlags::empty());
        }
        return Ok(());
    }
    let broker = Arc::clone(&shared.broker);
    let caller = asker.caller(asking);
    let trouble = answer.trouble().clone();
    let ask = FileReadAsk {
        path,
        action: FileReadAction::List,
    };
    let handler = ToList {
        shared,
        asking,
        answer,
        place,
    };
    pipeline::run(&broker, &caller, ask, handler)
        .await
        .map_err(|refusal| trouble.errno(&refusal))
}

/// A directory that may not be read itself still shows the way to those below it that may.
fn is_shown_by_grants(shared: &Shared, asker: &Asker, path: &AbsPath) -> bool {
    let policy = shared.broker.policy().current();
    let view = View::of(&policy.set, asker.component(), policy_store::now());
    match view.standing(path) {
        Standing::Read | Standing::Beyond => false,
        Standing::Above => true,
        Standing::Write => view.leads_on(path),
    }
}

struct ToList {
    shared: Arc<Shared>,
    asking: Asking,
    answer: Answer<ReplyOpen>,
    place: OwnedSemaphorePermit,
}

impl Handler<FileRead> for ToList {
    type Handle = Found;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, Found), Refusal> {
        let terms = permit.get().terms();
        let root = context.policy.roots.get(terms.root());
        let root = root.map_err(|error| root_failure(&error))?;
        let path = permit.get().ask().path.as_str();
        let found = find_itself(&root, terms.relative())
            .map_err(|error| self.answer.trouble().note(path, &error))?;
        let facts = FileReadFound {
            kind: found.kind(),
            size: found.size(),
            real_root: root.path().clone(),
            real_path: found.real_path().clone(),
            links: found.links(),
        };
        Ok((facts, found))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileRead>>,
        found: Found,
    ) -> Performed<()> {
        let permit = permit.get();
        let directory = match found.open(OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => directory,
            Err(error) => {
                let path = permit.ask().path.as_str();
                return Performed::plain(Err(self.answer.trouble().note(path, &error)));
            }
        };
        let Some(reply) = self.answer.take() else {
            return Performed::plain(Ok(()));
        };
        let source = Source::Host {
            directory: directory.into(),
            terms: permit.terms().clone(),
            path: permit.ask().path.clone(),
        };
        let open = OpenDirectory::new(self.asking.uid, source, self.place);
        let number = self.shared.opens.add_directory(&open);
        reply.opened(FileHandle(number), FopenFlags::empty());
        let mut lease = Lease::<FileRead>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        Performed::plain(tokio::select! {
            () = open.closed() => Ok(()),
            denial = lease.revoked() => {
                open.revoke();
                Err(revoked(denial.sentence))
            }
        })
    }
}

/// Answers with as many names as fit, from a place on.
pub(super) fn read(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    open: Arc<OpenDirectory>,
    inode: u64,
    from: u64,
    mut reply: ReplyDirectory,
) {
    if let Source::Grants(path) = &open.source {
        let policy = shared.broker.policy().current();
        let mut children =
            View::of(&policy.set, asker.component(), policy_store::now()).children(path);
        children.retain(|child| !child.file || is_there(&policy, path, &child.name));
        fill_from_grants(&mut reply, inode, &children, from);
        return reply.ok();
    }
    shared.wait(asker, move || {
        if open.is_revoked() {
            return reply.error(Errno::EACCES);
        }
        let Source::Host {
            directory,
            terms,
            path,
        } = &open.source
        else {
            return reply.error(Errno::EBADF);
        };
        let directory = directory.lock().unwrap_or_else(PoisonError::into_inner);
        // No symlink led there, so it has one name.
        let children = terms.children(path, path);
        match fill_from_host(&mut reply, &directory, &children, from) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(Errno::from_i32(super::answer::number(&error))),
        }
    });
}

/// A file that is granted by itself may not have been made yet; a name without a file would be an
/// error to whoever lists.
fn is_there(policy: &Loaded, directory: &AbsPath, name: &str) -> bool {
    let quiet = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    policy
        .roots
        .get(directory)
        .is_ok_and(|root| rustix::fs::statat(root.handle(), name, quiet).is_ok())
}

fn fill_from_grants(reply: &mut ReplyDirectory, inode: u64, children: &[Child], from: u64) {
    let dots = [(".", false), ("..", false)].into_iter();
    let entries = dots.chain(
        children
            .iter()
            .map(|child| (child.name.as_str(), child.file)),
    );
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    for (at, (name, file)) in (1_u64..).zip(entries).skip(skipped) {
        let number = if name == "." { INodeNo(inode) } else { UNKNOWN };
        let kind = if file {
            FileType::RegularFile
        } else {
            FileType::Directory
        };
        if reply.add(number, at, kind, name) {
            break;
        }
    }
}

fn fill_from_host(
    reply: &mut ReplyDirectory,
    directory: &OwnedFd,
    children: &Children<'_>,
    from: u64,
) -> io::Result<()> {
    rustix::fs::seek(directory, SeekFrom::Start(from))?;
    let device = rustix::fs::fstat(directory)?.st_dev;
    let mut buffer = [MaybeUninit::uninit(); BATCH];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let raw = entry.file_name();
        let kind = match entry.file_type() {
            rustix::fs::FileType::Unknown => {
                rustix::fs::statat(directory, raw, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileKind::Other, |stat| kind_of(&stat))
            }
            known => kind_of_type(known),
        };
        let dots = raw == c"." || raw == c"..";
        if !dots && !children.shows(&raw.to_string_lossy(), kind) {
            continue;
        }
        let name = OsStr::from_bytes(raw.to_bytes());
        let number = attributes::number(device, entry.ino());
        if reply.add(number, entry.next_entry_cookie(), file_type(kind), name) {
            break;
        }
    }
    Ok(())
}

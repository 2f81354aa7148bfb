//! What the kernel asks, given to whoever answers it. What is not here is refused by name.

use std::{ffi::OsStr, io, path::Path, sync::Arc, time::SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;

use super::{
    answer::Answer,
    asker::{Asker, Asking},
    attributes::AT_ONCE,
    changes::{Change, Changer},
    contents::{self, Otherwise},
    listing, metadata,
    mount::LARGEST,
    reading::{self, Opening},
    shared::Shared,
    writing::{self, Reply, Target},
};

/// The file system of one mount, as the kernel's requests reach it.
#[derive(Debug)]
pub(super) struct Served(pub(super) Arc<Shared>);

impl Served {
    fn known(&self, request: &Request) -> Result<(Arc<Asker>, Asking), Errno> {
        let asking = Asking::of(request);
        let asker = self.0.asker(asking).ok_or(Errno::EACCES)?;
        Ok((asker, asking))
    }

    fn changer(&self, request: &Request) -> Result<Changer, Errno> {
        let (asker, asking) = self.known(request)?;
        Ok(Changer {
            shared: Arc::clone(&self.0),
            asker,
            asking,
        })
    }

    fn open_to_write(
        &self,
        (asker, asking): (Arc<Asker>, Asking),
        target: Target,
        flags: OpenFlags,
        reply: Reply,
    ) {
        let answer = Answer::new(reply);
        let opening = writing::Opening {
            shared: Arc::clone(&self.0),
            asker,
            asking,
            target,
            read: flags.acc_mode() == OpenAccMode::O_RDWR,
            append: has(flags.0, OFlags::APPEND),
            answer: answer.clone(),
        };
        self.0.drive(async move {
            let ended = writing::open(opening).await;
            if let (Err(errno), Some(reply)) = (ended, answer.take()) {
                reply.error(errno);
            }
        });
    }

    fn remove(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        how: Change,
        reply: ReplyEmpty,
    ) {
        let (changer, name) = match (self.changer(request), name.to_str()) {
            (Ok(changer), Some(name)) => (changer, name.to_owned()),
            (Err(errno), _) => return reply.error(errno),
            (_, None) => return reply.error(Errno::EILSEQ),
        };
        self.0.drive(async move {
            match changer.remove(parent.0, &name, how).await {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            }
        });
    }
}

fn has(flags: i32, flag: OFlags) -> bool {
    i32::try_from(flag.bits()).is_ok_and(|bits| flags & bits != 0)
}

/// Setuid, setgid and sticky.
const SPECIAL_BITS: u32 = 0o7000;
/// Nothing is said of how full the host's disks are: a round number of blocks, all of them free.
const BLOCKS: u64 = 1 << 30;

impl Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Larger requests would make each session's buffers larger, and gain little.
        let sized = config.set_max_write(LARGEST);
        if let Err(nearest) = sized.and_then(|_| config.set_max_readahead(LARGEST)) {
            tracing::debug!(nearest, "the kernel wants other sizes");
        }
        let by_itself = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            // Two, so that what lies on an overlay can be read so too.
            && config.set_max_stack_depth(2).is_ok();
        self.0.passthrough.get_or_init(|| by_itself);
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ];
        for capability in wanted {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!(?capability, "the kernel cannot do this with FUSE");
            }
        }
        Ok(())
    }

    fn destroy(&mut self) {
        self.0.opens.close_all();
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let (shared, name) = (Arc::clone(&self.0), name.to_owned());
        self.0.drive(async move {
            match metadata::lookup(&shared, &asker, asking, parent.0, &name).await {
                Ok(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn forget(&self, _request: &Request, inode: INodeNo, lookups: u64) {
        self.0.tree().forget(inode.0, lookups);
    }

    fn getattr(
        &self,
        request: &Request,
        inode: INodeNo,
        _file: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let shared = Arc::clone(&self.0);
        self.0.drive(async move {
            match metadata::attributes(&shared, &asker, asking, inode.0).await {
                Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn readlink(&self, request: &Request, inode: INodeNo, reply: ReplyData) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let shared = Arc::clone(&self.0);
        self.0.drive(async move {
            match metadata::link(&shared, &asker, asking, inode.0).await {
                Ok(target) => reply.data(target.as_bytes()),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let (id, passthrough) = match reading::regular(&self.0, inode.0) {
            Ok(regular) => regular,
            Err(errno) => return reply.error(errno),
        };
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            if self.0.backings.is_backed(inode.0) {
                // The kernel reads it by itself now, and knows one way at a time.
                return reply.error(Errno::ETXTBSY);
            }
            let target = Target::Known { inode: inode.0, id };
            return self.open_to_write((asker, asking), target, flags, Reply::Opened(reply));
        }
        let answer = Answer::new(reply);
        let opening = Opening {
            shared: Arc::clone(&self.0),
            asker,
            asking,
            inode: inode.0,
            id,
            passthrough,
            answer: answer.clone(),
        };
        self.0.drive(async move {
            let ended = reading::open(opening).await;
            if let (Err(errno), Some(reply)) = (ended, answer.take()) {
                reply.error(errno);
            }
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (known, name) = match (self.known(request), name.to_str()) {
            (Ok(known), Some(name)) => (known, name.to_owned()),
            (Err(errno), _) => return reply.error(errno),
            (_, None) => return reply.error(Errno::EILSEQ),
        };
        let target = Target::New {
            parent: parent.0,
            name,
            exclusive: has(flags, OFlags::EXCL),
        };
        self.open_to_write(known, target, OpenFlags(flags), Reply::Created(reply));
    }

    fn read(
        &self,
        request: &Request,
        _inode: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let open = self.known(request).and_then(|(asker, asking)| {
            let open = self.0.opens.file(file.0, asking.uid)?;
            Ok((asker, open))
        });
        match open {
            Ok((asker, open)) => reading::read(&self.0, &asker, open, offset, size, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        file: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if self.0.opens.close_file(file.0).is_some() {
            self.0.tree().closed(inode.0);
        }
        reply.ok();
    }

    fn opendir(&self, request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let answer = Answer::new(reply);
        let (shared, answered) = (Arc::clone(&self.0), answer.clone());
        self.0.drive(async move {
            let ended = listing::open(shared, asker, asking, inode.0, answer).await;
            if let (Err(errno), Some(reply)) = (ended, answered.take()) {
                reply.error(errno);
            }
        });
    }

    fn readdir(
        &self,
        request: &Request,
        inode: INodeNo,
        file: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let open = self.known(request).and_then(|(asker, asking)| {
            let open = self.0.opens.directory(file.0, asking.uid)?;
            Ok((asker, open))
        });
        match open {
            Ok((asker, open)) => listing::read(&self.0, &asker, open, inode.0, offset, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        file: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.opens.close_directory(file.0);
        reply.ok();
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _file: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changer = match self.changer(request) {
            Ok(changer) => changer,
            Err(errno) => return reply.error(errno),
        };
        let asking = changer.asking;
        let foreign = uid.is_some_and(|uid| uid != asking.uid)
            || gid.is_some_and(|gid| gid != asking.gid)
            || mode.is_some_and(|mode| mode & SPECIAL_BITS != 0);
        if foreign {
            return reply.error(Errno::EPERM);
        }
        // Rights come from grants. A program that sets others is told yes, as on a disk that
        // knows none, because many copy a file's rights along and stop where they cannot.
        let otherwise = Otherwise {
            size,
            accessed: atime,
            modified: mtime,
        };
        self.0.drive(async move {
            match contents::change(changer, inode.0, otherwise).await {
                Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let (changer, name) = match (self.changer(request), name.to_str()) {
            (Ok(changer), Some(name)) => (changer, name.to_owned()),
            (Err(errno), _) => return reply.error(errno),
            (_, None) => return reply.error(Errno::EILSEQ),
        };
        self.0.drive(async move {
            match changer.mkdir(parent.0, &name).await {
                Ok(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(request, parent, name, Change::Unlink, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(request, parent, name, Change::Rmdir, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let changer = match self.changer(request) {
            Ok(changer) => changer,
            Err(errno) => return reply.error(errno),
        };
        let (Some(from), Some(to)) = (name.to_str(), new_name.to_str()) else {
            return reply.error(Errno::EILSEQ);
        };
        let (from, to) = (from.to_owned(), to.to_owned());
        self.0.drive(async move {
            let (from, to) = ((parent.0, from.as_str()), (new_parent.0, to.as_str()));
            match changer.rename(from, to, flags).await {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn write(
        &self,
        request: &Request,
        _inode: INodeNo,
        file: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // What was mapped is written back by the kernel itself, under no uid of ours.
        let open = match write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            true => self.0.opens.any_file(file.0),
            false => self.0.opens.file(file.0, request.uid()),
        };
        let open = open.and_then(|open| {
            let asker = self.0.owner(&open).ok_or(Errno::EACCES)?;
            Ok((asker, open))
        });
        match open {
            Ok((asker, open)) => contents::write(&self.0, &asker, open, offset, data, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(
        &self,
        request: &Request,
        _inode: INodeNo,
        file: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        let open = self.known(request).and_then(|(asker, asking)| {
            let open = self.0.opens.file(file.0, asking.uid)?;
            Ok((asker, open))
        });
        match open {
            Ok((asker, open)) => contents::sync(&self.0, &asker, open, data_only, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsyncdir(
        &self,
        request: &Request,
        _inode: INodeNo,
        file: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let open = self.known(request).and_then(|(asker, asking)| {
            let open = self.0.opens.directory(file.0, asking.uid)?;
            Ok((asker, open))
        });
        match open {
            Ok((asker, open)) => contents::sync_directory(&self.0, &asker, open, reply),
            Err(errno) => reply.error(errno),
        }
    }

    fn access(&self, request: &Request, inode: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let (asker, asking) = match self.known(request) {
            Ok(known) => known,
            Err(errno) => return reply.error(errno),
        };
        let shared = Arc::clone(&self.0);
        self.0.drive(async move {
            let wanted = u16::try_from(mask.bits() & 0o7).unwrap_or(0) << 6;
            match metadata::attributes(&shared, &asker, asking, inode.0).await {
                Ok(attributes) if attributes.perm & wanted == wanted => reply.ok(),
                Ok(_) => reply.error(Errno::EACCES),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }

    fn mknod(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn symlink(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn link(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _new_parent: INodeNo,
        _new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EPERM);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        // The kernel does not ask again, and says itself that there are none.
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _size: u32,
        reply: ReplyXattr,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _inode: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        // Programs write zeros then, which is counted like any writing.
        reply.error(Errno::EOPNOTSUPP);
    }

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _inode_in: INodeNo,
        _file_in: FileHandle,
        _offset_in: u64,
        _inode_out: INodeNo,
        _file_out: FileHandle,
        _offset_out: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}

//! Opens a log: one writer, one key, and nothing lost that was signed.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::chain::Chain;
use crate::clock;
use crate::error::OpenError;
use crate::ids::Ids;
use crate::keeper::Keeper;
use crate::key::{SigningKey, public_path, replace};
use crate::line::{LINE_LIMIT, Phase};
use crate::lines::{Lines, Next};
use crate::log::LogOptions;
use crate::note::{Checkpoint, NoteError, is_name};
use crate::recovery::{Resumed, keep_copy, resume};
use crate::segment::{CHECKPOINT, OpenSegment, Segment};
use crate::writer::{Setting, Writer};

/// How long a lock may outlive the writer that held it.
const LINGERING: Duration = Duration::from_millis(500);
/// A segment must hold its first record and one of the longest.
const SEGMENT_MINIMUM: u64 = 2 * LINE_LIMIT as u64;

pub(crate) fn open(options: LogOptions) -> Result<Keeper, OpenError> {
    check(&options)?;
    let dir = options.dir.as_path();
    let lock = lock(dir)?;
    let mut segments = Segment::list(dir).map_err(OpenError::io("list", dir))?;
    let checkpoint = read_checkpoint(dir, &segments)?;
    let name = checkpoint
        .as_ref()
        .map_or(options.origin.as_str(), Checkpoint::origin);
    let key = SigningKey::load(&options.key, name, checkpoint.is_none())?;
    publish(&options.key, &key)?;
    let resumed = match &checkpoint {
        Some(checkpoint) => {
            checkpoint
                .verify(key.public())
                .map_err(untrusted(&dir.join(CHECKPOINT)))?;
            resume(dir, &segments, checkpoint, key.public())?
        }
        None => begin(dir, segments.pop())?,
    };
    let ids = Arc::new(Ids::default());
    let setting = Setting {
        dir: dir.to_path_buf(),
        segment_bytes: options.segment_bytes,
        boot_id: clock::boot_id()?,
        public: key.public().clone(),
        ids: Arc::clone(&ids),
    };
    let writer = take_up(setting, resumed)?;
    let keeper = Keeper::new(
        writer,
        ids,
        key,
        (options.dir, lock),
        options.durability,
        options.checkpoint_every,
    );
    // What was recovered, and the very first record, are signed before anybody relies on the log.
    keeper.commit(true)?;
    Ok(keeper)
}

fn check(options: &LogOptions) -> Result<(), OpenError> {
    let bad = |what: String| Err(OpenError::BadOption { what });
    if options.segment_bytes < SEGMENT_MINIMUM {
        return bad(format!(
            "audit segments of {} bytes are too small; choose at least {SEGMENT_MINIMUM}",
            options.segment_bytes
        ));
    }
    if options.checkpoint_every.is_zero() || options.checkpoint_every > Duration::from_secs(1) {
        return bad(
            "the audit log's checkpoints must be due at least every second, and not at once"
                .to_owned(),
        );
    }
    if !is_name(&options.origin) {
        return bad(format!(
            "`{}` cannot name an audit log; choose a name without spaces and plus signs",
            options.origin.escape_debug()
        ));
    }
    Ok(())
}

/// Locks the directory itself: a lock file could be deleted, and then two writers would hold two locks.
fn lock(dir: &Path) -> Result<File, OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(OpenError::io("create", dir))?;
    let lock = File::open(dir).map_err(OpenError::io("open", dir))?;
    let end = Instant::now() + LINGERING;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            // A process that the last writer was just starting holds its files until it execs.
            Err(Errno::WOULDBLOCK) if Instant::now() < end => sleep(Duration::from_millis(5)),
            Err(Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked {
                    dir: dir.to_path_buf(),
                });
            }
            Err(error) => return Err(OpenError::io("lock", dir)(error.into())),
        }
    }
}

fn untrusted(path: &Path) -> impl FnOnce(NoteError) -> OpenError {
    let path = path.to_path_buf();
    move |error| OpenError::Checkpoint {
        path,
        what: error.to_string(),
    }
}

/// Reads the checkpoint; none may be missing but that of a log which was never finished being made.
fn read_checkpoint(dir: &Path, segments: &[Segment]) -> Result<Option<Checkpoint>, OpenError> {
    let path = dir.join(CHECKPOINT);
    let there = fs::exists(&path).map_err(OpenError::io("examine", &path))?;
    if there {
        return Checkpoint::read(&path).map(Some).map_err(untrusted(&path));
    }
    let unfinished = match segments {
        [] => true,
        [only] => only.first == 0 && holds_one_record(&only.path)?,
        _ => false,
    };
    if unfinished {
        return Ok(None);
    }
    Err(OpenError::Checkpoint {
        path,
        what: "it is missing, but records are there".to_owned(),
    })
}

/// Whether a segment holds at most its first record, as it does until the first checkpoint is written.
fn holds_one_record(path: &Path) -> Result<bool, OpenError> {
    let mut lines = Lines::open(path).map_err(OpenError::io("open", path))?;
    loop {
        match lines.next().map_err(OpenError::io("read", path))? {
            Next::Line(_) => {}
            Next::Torn => return Ok(lines.count() == 0),
            Next::TooLong => return Ok(false),
            Next::End => return Ok(lines.count() <= 1),
        }
        if lines.count() > 1 {
            return Ok(false);
        }
    }
}

/// Writes the public key beside the private one, for those who verify.
fn publish(path: &Path, key: &SigningKey) -> Result<(), OpenError> {
    let path = public_path(path);
    let spelled = format!("{}\n", key.public());
    match fs::read_to_string(&path) {
        Ok(there) if there == spelled => Ok(()),
        _ => replace(&path, spelled.as_bytes(), 0o644).map_err(OpenError::io("write", &path)),
    }
}

/// A new log, in place of one that was never finished being made.
fn begin(dir: &Path, unfinished: Option<Segment>) -> Result<Resumed, OpenError> {
    if let Some(segment) = unfinished {
        keep_copy(dir, &segment, 0)?;
        fs::remove_file(&segment.path).map_err(OpenError::io("remove", &segment.path))?;
    }
    Ok(Resumed {
        segment: Segment::new(dir, 0),
        number: 0,
        length: 0,
        chain: Chain::default(),
        recovered: None,
    })
}

fn take_up(setting: Setting, resumed: Resumed) -> Result<Writer, OpenError> {
    let Resumed {
        segment,
        number,
        length,
        chain,
        recovered,
    } = resumed;
    let bytes = setting.segment_bytes;
    let there = fs::exists(&segment.path).map_err(OpenError::io("examine", &segment.path))?;
    let opened = if there {
        OpenSegment::resume(&segment, length, bytes)
    } else {
        OpenSegment::create(&segment, bytes)
    };
    let opened = opened.map_err(OpenError::io("open", &segment.path))?;
    let mut writer = Writer::new(setting, opened, number, chain)?;
    if let Some(detail) = recovered {
        writer.own(Phase::Recovered, &detail)?;
    }
    Ok(writer)
}

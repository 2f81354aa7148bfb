//! What a record of the audit log costs, and how fast a log is verified.

use std::{path::Path, time::Duration};

use rumi_audit::{Decision, Log, LogOptions, Outcome, Peer, verify::verify};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    failure::Failure,
    figure::Figure,
    sample::{median, nanoseconds, real},
};

const POLICY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const BATCH: usize = 1000;

/// Appending and verifying, both in memory.
pub async fn figures(quick: bool) -> Result<Vec<Figure>, Failure> {
    let memory = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(memory).map_err(Failure::file(memory))?;
    let log = open(dir.path())?;
    let batches = if quick { 20 } else { 500 };
    let mut means = Vec::with_capacity(batches);
    for _ in 0..batches {
        let started = spent();
        for _ in 0..BATCH / 2 {
            let recorded = log.record(decision(), ()).await?;
            recorded.finish(Outcome::success(0, 4096)).await?;
        }
        means.push(nanoseconds(&spent().saturating_sub(started)) / real(BATCH));
    }
    let append = Figure::new("audit_append", "ns", batches * BATCH, median(means));
    let wanted = if quick { 20_000 } else { 1_000_000 };
    while log.health()?.records < wanted {
        let recorded = log.record(decision(), ()).await?;
        recorded.finish(Outcome::success(0, 4096)).await?;
    }
    let key = log.public_key();
    log.close()?;
    drop(log);
    let rounds = 5;
    let mut rates = Vec::with_capacity(rounds);
    let mut records = 0;
    for _ in 0..rounds {
        let started = std::time::Instant::now();
        records = verify(&dir.path().join("audit"), &key, None)?.records;
        let count = usize::try_from(records).map_or(f64::NAN, real);
        rates.push(count / started.elapsed().as_secs_f64() / 1e6);
    }
    let n = usize::try_from(records).unwrap_or(usize::MAX);
    let verified = Figure::new("audit_verify", "M/s", n, median(rates));
    Ok(vec![append, verified])
}

fn open(dir: &Path) -> Result<Log, Failure> {
    Ok(Log::open(LogOptions::new(
        dir.join("audit"),
        dir.join("audit.key"),
        "bench",
    ))?)
}

/// Time on a processor, which other programs cannot make longer.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn decision() -> Decision<'static> {
    Decision {
        pack: "default",
        component: "default:tool:my_tool",
        container: Some("4f66ad9a1f2c"),
        peer: Peer {
            uid: 200_001,
            pid: 48_211,
        },
        invocation: Some("01jd9y6q8r2c5t7v"),
        permission: "file_read",
        action: "read",
        target: b"/home/user/documents/report-2026.txt",
        grant: Some("default:tool:my_tool.json"),
        policy: POLICY,
        detail: None,
    }
}

//! Cost of the log: one record in memory, two records on a disk, and the verification of a million.
//! One JSON line for each: {"name","median_ns","n"}. Beside the median on the clock, which a busy machine stretches,
//! stand the best batch, the time on processors, and what of that was not spent in the kernel.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on has nothing to measure"
)]

use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rumi_audit::verify::verify;
use rumi_audit::{Decision, Log, LogOptions, Outcome, Peer};
use rustix::time::{ClockId, clock_gettime};

const POLICY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const CONTAINER: &str = "4f66ad9a1f2c";
const BATCH: usize = 1000;

/// Under the durability `process` no record waits, so a future is ready when it is first asked.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => std::process::abort(),
    }
}

fn decision() -> Decision<'static> {
    Decision {
        pack: "default",
        component: "default:tool:my_tool",
        container: Some(CONTAINER),
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

fn open(dir: &Path) -> Log {
    let mut options = LogOptions::new(dir.join("audit"), dir.join("audit.key"), "bench");
    options.checkpoint_every = Duration::from_secs(1);
    Log::open(options).unwrap()
}

/// What the process has spent on processors, in nanoseconds.
fn spent(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What this thread has spent outside the kernel, in nanoseconds; counted in hundredths of a second.
fn spent_by_itself() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let ticks: u64 = fields.split_whitespace().nth(11).unwrap().parse().unwrap();
    ticks * 10_000_000
}

/// Median over batches of the mean time of one call within the batch.
fn measure(name: &str, batches: usize, mut call: impl FnMut()) {
    let mut means = Vec::new();
    let mut spending = Vec::new();
    let own = spent_by_itself();
    for _ in 0..batches {
        let (start, before) = (Instant::now(), spent(ClockId::ThreadCPUTime));
        for _ in 0..BATCH {
            call();
        }
        means.push(start.elapsed().as_nanos() as u64 / BATCH as u64);
        spending.push((spent(ClockId::ThreadCPUTime) - before) / BATCH as u64);
    }
    let calls = (batches * BATCH) as u64;
    println!(
        "{{\"name\":\"{name}\",\"median_ns\":{},\"best_ns\":{},\"cpu_ns\":{},\"user_ns\":{},\"n\":{calls}}}",
        median(means.clone()),
        means.iter().min().unwrap(),
        median(spending),
        (spent_by_itself() - own) / calls,
    );
}

fn main() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let log = open(memory.path());
    measure("audit_append_memory", 300, || {
        black_box(ready(log.record_denial(decision(), "outside_directory")).unwrap());
    });
    drop(log);

    let target = option_env!("CARGO_TARGET_TMPDIR").unwrap_or("/var/tmp");
    let disk = tempfile::tempdir_in(target).unwrap();
    let log = open(disk.path());
    measure("audit_decision_and_outcome_disk", 200, || {
        let recorded = ready(log.record(decision(), ())).unwrap();
        black_box(ready(recorded.finish(Outcome::success(0, 4096))).unwrap());
    });
    drop(log);

    verify_a_million();
}

fn verify_a_million() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let log = open(dir.path());
    while log.health().unwrap().records < 1_000_000 {
        let recorded = ready(log.record(decision(), ())).unwrap();
        ready(recorded.finish(Outcome::success(0, 4096))).unwrap();
    }
    let key = log.public_key();
    log.close().unwrap();
    drop(log);
    let mut times = Vec::new();
    let mut spending = Vec::new();
    let mut records = 0;
    for _ in 0..7 {
        let (start, before) = (Instant::now(), spent(ClockId::ProcessCPUTime));
        records = verify(&dir.path().join("audit"), &key, None)
            .unwrap()
            .records;
        times.push(start.elapsed().as_nanos() as u64);
        spending.push(spent(ClockId::ProcessCPUTime) - before);
    }
    let best = *times.iter().min().unwrap();
    let (time, spending) = (median(times), median(spending));
    println!(
        "{{\"name\":\"audit_verify_record\",\"median_ns\":{},\"best_ns\":{},\"cpu_ns\":{},\"n\":{records}}}",
        time / records,
        best / records,
        spending / records
    );
    println!(
        "{{\"name\":\"audit_verify_million\",\"median_ns\":{time},\"cpu_ns\":{spending},\"n\":{records},\"records_per_second\":{}}}",
        records * 1_000_000_000 / time
    );
}

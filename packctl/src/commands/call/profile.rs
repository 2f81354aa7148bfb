//! Where the time of calls went, as the broker and packctl itself measured it.

use std::time::Duration;

use rumi_proto::v1::CallResponse;
use serde::Serialize;

use crate::{context::Context, failure::Failure, output::Format};

/// The parts of one call's time, in microseconds, which come to the total, and its memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Profile {
    /// For a process of its own.
    waiting_us: u64,
    /// The tool itself.
    running_us: u64,
    /// Until all of the call was killed.
    ending_us: u64,
    /// Checking, recording and passing on, in the broker.
    broker_us: u64,
    /// Between packctl and the broker.
    way_us: u64,
    total_us: u64,
    memory_peak_bytes: u64,
}

/// What is measured, with what it is.
const PARTS: [(&str, &str); 6] = [
    ("waiting", "for a process of its own"),
    ("running", "the tool"),
    ("ending", "until all its processes were killed"),
    ("broker", "checking, recording, passing on"),
    ("way", "between packctl and the broker"),
    ("total", ""),
];

impl Profile {
    pub(super) fn of(reply: &CallResponse, took: Duration) -> Self {
        let total_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let times = reply.times.unwrap_or_default();
        let parts = times.waiting_us + reply.duration_us + times.ending_us;
        Self {
            waiting_us: times.waiting_us,
            running_us: reply.duration_us,
            ending_us: times.ending_us,
            broker_us: times.total_us.saturating_sub(parts),
            way_us: total_us.saturating_sub(times.total_us.max(parts)),
            total_us,
            memory_peak_bytes: reply.memory_peak_bytes,
        }
    }

    fn parts(&self) -> [u64; 6] {
        [
            self.waiting_us,
            self.running_us,
            self.ending_us,
            self.broker_us,
            self.way_us,
            self.total_us,
        ]
    }

    /// One call's, on stderr: stdout has the result.
    pub(super) fn show(&self, context: &Context) -> Result<(), Failure> {
        match context.out.format() {
            Format::Table => {
                for ((name, what), us) in PARTS.iter().zip(self.parts()) {
                    let line = format!("{name:<8} {:>10}  {what}", millis(us));
                    context.console.say(line.trim_end());
                }
                let line = format!("{:<8} {:>10}  at its peak", "memory", memory(*self));
                context.console.say(&line);
                Ok(())
            }
            Format::Json | Format::Jsonl => say_json(context, self),
        }
    }
}

/// How many calls took how long at most.
#[derive(Debug, Serialize)]
struct Spread {
    calls: usize,
    p50: Profile,
    p99: Profile,
    max: Profile,
}

/// Those of many calls, part by part: the p50 of one part need not be the p50 of another's call.
pub(super) fn show_many(context: &Context, profiles: &[Profile]) -> Result<(), Failure> {
    if profiles.is_empty() {
        return Ok(());
    }
    let spread = Spread {
        calls: profiles.len(),
        p50: at(profiles, 50),
        p99: at(profiles, 99),
        max: at(profiles, 100),
    };
    if !matches!(context.out.format(), Format::Table) {
        return say_json(context, &spread);
    }
    let header = format!("{:<8} {:>10} {:>10} {:>10}", "", "p50", "p99", "max");
    context.console.say(&header);
    let columns = [spread.p50.parts(), spread.p99.parts(), spread.max.parts()];
    let [p50, p99, max] = columns;
    for ((((name, what), p50), p99), max) in PARTS.iter().zip(p50).zip(p99).zip(max) {
        let (p50, p99, max) = (millis(p50), millis(p99), millis(max));
        let line = format!("{name:<8} {p50:>10} {p99:>10} {max:>10}  {what}");
        context.console.say(line.trim_end());
    }
    let [p50, p99, max] = [spread.p50, spread.p99, spread.max].map(memory);
    let line = format!("{:<8} {p50:>10} {p99:>10} {max:>10}  at its peak", "memory");
    context.console.say(&line);
    Ok(())
}

/// The value of each part that this many of a hundred calls stay within.
fn at(profiles: &[Profile], percent: usize) -> Profile {
    let part = |of: fn(&Profile) -> u64| {
        let mut values: Vec<u64> = profiles.iter().map(of).collect();
        values.sort_unstable();
        let rank = (values.len() * percent).div_ceil(100).max(1) - 1;
        values.get(rank).copied().unwrap_or_default()
    };
    Profile {
        waiting_us: part(|one| one.waiting_us),
        running_us: part(|one| one.running_us),
        ending_us: part(|one| one.ending_us),
        broker_us: part(|one| one.broker_us),
        way_us: part(|one| one.way_us),
        total_us: part(|one| one.total_us),
        memory_peak_bytes: part(|one| one.memory_peak_bytes),
    }
}

fn say_json<T: Serialize>(context: &Context, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|source| Failure::Output(source.into()))?;
    context.console.say(&text);
    Ok(())
}

fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

fn memory(profile: Profile) -> String {
    match profile.memory_peak_bytes {
        0 => "?".to_owned(),
        bytes => {
            let tenths = bytes.saturating_mul(10) >> 20;
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use rumi_proto::v1::CallTimes;

    use super::*;

    fn reply(waiting: u64, running: u64, ending: u64, total: u64) -> CallResponse {
        CallResponse {
            duration_us: running,
            times: Some(CallTimes {
                waiting_us: waiting,
                ending_us: ending,
                total_us: total,
            }),
            ..CallResponse::default()
        }
    }

    #[test]
    fn the_parts_come_to_the_total() {
        let profile = Profile::of(&reply(10, 200, 30, 300), Duration::from_micros(350));
        assert_eq!(profile.parts(), [10, 200, 30, 60, 50, 350]);
        // Of a call that never began nothing is known but how long it took to say so.
        let refused = Profile::of(&CallResponse::default(), Duration::from_micros(70));
        assert_eq!(refused.parts(), [0, 0, 0, 0, 70, 70]);
    }

    #[test]
    fn many_are_told_by_how_many_stay_within() {
        let all: Vec<Profile> = (1..=200)
            .map(|us| Profile::of(&reply(us, 0, 0, us), Duration::from_micros(us)))
            .collect();
        let waiting = [50, 99, 100].map(|percent| at(&all, percent).waiting_us);
        assert_eq!(waiting, [100, 198, 200]);
        assert_eq!(at(&all[..1], 99).waiting_us, 1);
    }
}

//! `packctl stats`

use rumi_policy::PackId;
use rumi_proto::v1::{PackStats, PsRequest};
use serde::Serialize;

use crate::{broker, context::Context, failure::Failure, output::Table};

/// Show the memory, processor time and processes packs use
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    /// Packs to show; all that run when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,
}

#[derive(Debug, Serialize)]
struct Row {
    pack: String,
    memory_bytes: u64,
    memory_limit_bytes: u64,
    memory_peak_bytes: u64,
    cpu_usage_ns: u64,
    pids: u64,
    pids_limit: u64,
}

impl Stats {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let packs = self.packs.iter().map(ToString::to_string).collect();
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .stats(broker::question(PsRequest { packs }))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let rows: Vec<Row> = reply.packs.into_iter().map(Row::of).collect();
            if rows.is_empty() {
                context.console.say("no pack is running");
            }
            context.out.list(&rows, table)
        })
    }
}

impl Row {
    fn of(stats: PackStats) -> Self {
        Self {
            pack: stats.pack,
            memory_bytes: stats.memory_bytes,
            memory_limit_bytes: stats.memory_limit_bytes,
            memory_peak_bytes: stats.memory_peak_bytes,
            cpu_usage_ns: stats.cpu_usage_ns,
            pids: stats.pids,
            pids_limit: stats.pids_limit,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["pack", "memory", "limit", "peak", "cpu", "pids"]);
    for row in rows {
        table.row([
            row.pack.clone(),
            bytes(row.memory_bytes),
            limit(row.memory_limit_bytes, bytes),
            bytes(row.memory_peak_bytes),
            format!(
                "{}.{:02} s",
                row.cpu_usage_ns / 1_000_000_000,
                row.cpu_usage_ns / 10_000_000 % 100
            ),
            format!(
                "{}/{}",
                row.pids,
                limit(row.pids_limit, |most| most.to_string())
            ),
        ]);
    }
    table
}

fn limit(value: u64, show: impl FnOnce(u64) -> String) -> String {
    if value == 0 {
        "none".to_owned()
    } else {
        show(value)
    }
}

/// Bytes in the largest unit that leaves a number above one.
pub(crate) fn bytes(value: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "KiB", "MiB", "GiB"] {
        if value < unit.saturating_mul(1024) {
            return if unit == 1 {
                format!("{value} {name}")
            } else {
                format!("{}.{} {name}", value / unit, value % unit * 10 / unit)
            };
        }
        unit = unit.saturating_mul(1024);
    }
    format!("{}.{} TiB", value / unit, value % unit * 10 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (268_435_456, "256.0 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }
}

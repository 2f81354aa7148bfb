//! What every figure should reach; the only list of goals.

use serde::{Deserialize, Serialize};

/// Which number of a figure its goal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The measured one.
    Median,
    /// The one relative to the peer that was measured beside it.
    Ratio,
}

/// On which side of the limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Less is better.
    AtMost,
    /// More is better.
    AtLeast,
}

/// A limit that `--check` enforces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Which number.
    pub of: Of,
    /// Which side.
    pub bound: Bound,
    /// In the unit of the figure, or as a ratio.
    pub limit: f64,
}

impl Goal {
    const fn new(of: Of, bound: Bound, limit: f64) -> Self {
        Self { of, bound, limit }
    }

    /// Whether a number reaches it; one that could not be measured does not.
    pub fn met(&self, number: f64) -> bool {
        match self.bound {
            Bound::AtMost => number <= self.limit,
            Bound::AtLeast => number >= self.limit,
        }
    }

    /// As the table shows it.
    pub fn shown(&self) -> String {
        let sign = match self.bound {
            Bound::AtMost => "<=",
            Bound::AtLeast => ">=",
        };
        let suffix = match self.of {
            Of::Median => "",
            Of::Ratio => "x",
        };
        format!("{sign} {}{suffix}", self.limit)
    }
}

/// What a quiet pack may feel of another one.
const FAIR: Goal = Goal::new(Of::Ratio, Bound::AtMost, 5.0);

/// Every figure that has a goal.
pub const GOALS: &[(&str, Goal)] = &[
    (
        "file_read_pinned_p50",
        Goal::new(Of::Ratio, Bound::AtMost, 1.15),
    ),
    (
        "file_read_pinned_mean",
        Goal::new(Of::Ratio, Bound::AtMost, 1.15),
    ),
    (
        "file_read_unpinned_p50",
        Goal::new(Of::Ratio, Bound::AtMost, 1.5),
    ),
    (
        "file_read_64_in_flight",
        Goal::new(Of::Ratio, Bound::AtLeast, 0.75),
    ),
    ("reload_storm", Goal::new(Of::Ratio, Bound::AtLeast, 0.9)),
    (
        "decision_prefix",
        Goal::new(Of::Median, Bound::AtMost, 250.0),
    ),
    (
        "decision_glob",
        Goal::new(Of::Median, Bound::AtMost, 2000.0),
    ),
    ("audit_append", Goal::new(Of::Median, Bound::AtMost, 1000.0)),
    ("audit_verify", Goal::new(Of::Median, Bound::AtLeast, 1.5)),
    (
        "tool_call_at_worker",
        Goal::new(Of::Median, Bound::AtMost, 1.0),
    ),
    (
        "tool_call_preforked",
        Goal::new(Of::Median, Bound::AtMost, 1.5),
    ),
    (
        "tool_calls_sustained",
        Goal::new(Of::Median, Bound::AtLeast, 500.0),
    ),
    ("docker_exec", Goal::new(Of::Ratio, Bound::AtLeast, 40.0)),
    (
        "tool_call_forked",
        Goal::new(Of::Median, Bound::AtMost, 2.5),
    ),
    (
        "tool_call_javascript",
        Goal::new(Of::Ratio, Bound::AtMost, 1.2),
    ),
    ("tool_call_bash", Goal::new(Of::Ratio, Bound::AtMost, 1.2)),
    ("exec_ready", Goal::new(Of::Median, Bound::AtMost, 25.0)),
    (
        "exec_beside_llm_sandbox",
        Goal::new(Of::Ratio, Bound::AtMost, 1.0),
    ),
    ("exec_refill", Goal::new(Of::Median, Bound::AtLeast, 5.0)),
    ("custom_call", Goal::new(Of::Ratio, Bound::AtMost, 1.2)),
    ("download_get", Goal::new(Of::Ratio, Bound::AtLeast, 0.9)),
    ("download_grpc", Goal::new(Of::Ratio, Bound::AtLeast, 0.9)),
    ("upload_put", Goal::new(Of::Ratio, Bound::AtLeast, 0.9)),
    ("upload_grpc", Goal::new(Of::Ratio, Bound::AtLeast, 0.9)),
    ("https_get", Goal::new(Of::Ratio, Bound::AtMost, 1.2)),
    ("files_read", Goal::new(Of::Ratio, Bound::AtLeast, 0.2)),
    ("files_write", Goal::new(Of::Ratio, Bound::AtLeast, 0.2)),
    (
        "files_passthrough",
        Goal::new(Of::Ratio, Bound::AtLeast, 0.9),
    ),
    ("beside_reads", FAIR),
    ("beside_refusals", FAIR),
    ("beside_writes", FAIR),
    ("beside_env_reads", FAIR),
    ("beside_commands", FAIR),
    ("beside_fetches", FAIR),
    ("beside_custom_calls", FAIR),
    // 2 MiB.
    ("soak_growth", Goal::new(Of::Median, Bound::AtMost, 2.098)),
    (
        "nonsense_growth",
        Goal::new(Of::Median, Bound::AtMost, 2.098),
    ),
    ("listing_peak", Goal::new(Of::Median, Bound::AtMost, 8.388)),
    (
        "broker_memory_idle",
        Goal::new(Of::Median, Bound::AtMost, 10.0),
    ),
    ("packs_memory", Goal::new(Of::Median, Bound::AtMost, 200.0)),
    ("packs_up", Goal::new(Of::Median, Bound::AtMost, 2.0)),
    ("base_image", Goal::new(Of::Median, Bound::AtMost, 55.0)),
];

/// The goal of a figure, where it has one.
pub fn of(name: &str) -> Option<Goal> {
    let found = GOALS.iter().find(|(named, _)| *named == name);
    found.map(|(_, goal)| *goal)
}

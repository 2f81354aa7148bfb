//! Which records are wanted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rumi_audit::query::Filter;
use rumi_policy::{ComponentId, PackId};

use crate::moment::{Moment, NotATime};

/// All that is given must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct Filters {
    /// Records of this pack
    #[arg(long, value_name = "PACK")]
    pack: Option<PackId>,

    /// Records of this component
    #[arg(long, value_name = "COMPONENT")]
    component: Option<ComponentId>,

    /// Records about this permission
    #[arg(long, value_name = "PERMISSION")]
    permission: Option<String>,

    /// Requests that were allowed, or denied
    #[arg(long, value_enum, value_name = "DECISION")]
    decision: Option<Decision>,

    /// Records with this reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,

    /// Records of this phase
    #[arg(long, value_enum, value_name = "PHASE")]
    phase: Option<Phase>,

    /// Not older than this: `90s`, `1h`, `2d` ago, or a date and time in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,

    /// Older than this
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,

    /// Records that hold this text anywhere
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Decision {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Phase {
    /// What was decided about a request
    Decision,
    /// How an allowed request ended
    Outcome,
    /// What an admin did
    Admin,
    /// A change of the policy in force
    Policy,
    /// A repair of the log after a crash
    Recovered,
    /// A signing key
    Key,
}

impl Filters {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            pack: self.pack.as_ref().map(ToString::to_string),
            component: self.component.as_ref().map(ToString::to_string),
            permission: self.permission.clone(),
            decision: self.decision.map(|decision| {
                match decision {
                    Decision::Allow => "allow",
                    Decision::Deny => "deny",
                }
                .to_owned()
            }),
            reason: self.reason.clone(),
            phase: self.phase.map(|phase| {
                match phase {
                    Phase::Decision => "decision",
                    Phase::Outcome => "outcome",
                    Phase::Admin => "admin",
                    Phase::Policy => "policy",
                    Phase::Recovered => "recovered",
                    Phase::Key => "key",
                }
                .to_owned()
            }),
            id: None,
            since: self.since.map(system_time),
            until: self.until.map(system_time),
            text: self.text.clone(),
        }
    }
}

fn moment(text: &str) -> Result<Moment, NotATime> {
    Moment::parse(text, Moment::now())
}

fn system_time(moment: Moment) -> SystemTime {
    // No record is older than the epoch.
    UNIX_EPOCH + Duration::from_millis(u64::try_from(moment.unix_ms()).unwrap_or(0))
}

//! `packctl grant replay FILE|DIR`

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rumi_policy::{ComponentId, PolicySet, PolicySource, SourceFile};
use serde::Serialize;

use super::{
    history::{self, History, Request, Verdict},
    place_and_message,
};
use crate::{
    asking::Question,
    commands::audit::Source,
    context::Context,
    failure::{Exit, Failure},
    judging::Judgement,
    moment::Moment,
    output::Format,
    policy_files,
};

/// Different changes that are listed; what goes beyond is counted.
const MOST: usize = 10_000;

/// Say what the log's history would have got under another policy
///
/// FILE is a grant that takes the place of its component's; DIR holds grants/ and
/// scopes/ (those in force, where it has no scopes/). Each request is judged as
/// it was asked, at the time it was asked; what a handler found (sizes,
/// addresses, symlinks) is taken to be found again, and `max_uses`,
/// `rate_per_minute` and `ask` are not replayed. Exits with 6 when a decision
/// would change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packctl grant replay /tmp/default:tool:my_tool.json
  packctl grant replay /srv/rumi-next --since 30d
  packctl grant replay /srv/rumi-next --component default:tool:my_tool -o json")]
pub(crate) struct Replay {
    /// A grant file, or a directory with grants/ and scopes/
    #[arg(value_name = "FILE|DIR")]
    policy: PathBuf,

    /// Requests since then: `1h`, `2d` ago, or a date and time in UTC [default: all]
    #[arg(long, value_name = "TIME", value_parser = Moment::read)]
    since: Option<Moment>,

    /// Only requests of this component
    #[arg(long, value_name = "COMPONENT")]
    component: Option<ComponentId>,

    #[command(flatten)]
    source: Source,
}

/// What would be otherwise, and how much was asked again.
#[derive(Debug, Serialize)]
struct Report {
    requests: u64,
    same: u64,
    allowed_to_denied: u64,
    denied_to_allowed: u64,
    /// Requests whose records do not hold all that would decide.
    untold: u64,
    policy: String,
    changes: Vec<Change>,
    /// Changes that are counted above and not listed.
    unlisted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Key {
    change: &'static str,
    component: String,
    permission: String,
    action: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    particular: Option<String>,
    /// Of the denial: what it would be, or what it was.
    reason: String,
}

#[derive(Debug, Serialize)]
struct Change {
    #[serde(flatten)]
    key: Key,
    count: u64,
    last_record: String,
    last_time: String,
}

impl Replay {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let (source, only) = self.other(context)?;
        let set = PolicySet::compile(source);
        for problem in set.problems() {
            context.console.warning(&place_and_message(problem));
        }
        let component = match (&self.component, only) {
            (Some(wanted), Some(only)) if *wanted != only => {
                return Err(Failure::Usage {
                    message: format!(
                        "`{}` is the grant of `{only}`, not of `{wanted}`",
                        self.policy.display()
                    ),
                    hint: "leave `--component` out".to_owned(),
                });
            }
            (wanted, only) => wanted.clone().or(only),
        };
        let filter = history::filter(self.since, component.as_ref());
        let mut replayed = Replayed::new(&set);
        History::open(directory, filter)?.each(|request| {
            replayed.take(&request);
            Ok(())
        })?;
        let report = replayed.report();
        context.out.one(&report, lines)?;
        if context.out.format() == Format::Table && report.requests == 0 {
            context.console.say("the log holds no such request");
        }
        match report.allowed_to_denied + report.denied_to_allowed {
            0 => Ok(()),
            _ => Err(Failure::Said(Exit::Changed)),
        }
    }

    /// The other policy, and whose it is where it is one component's grant.
    fn other(&self, context: &Context) -> Result<(PolicySource, Option<ComponentId>), Failure> {
        let path = &self.policy;
        let metadata = fs::metadata(path).map_err(Failure::files("read", path))?;
        if metadata.is_dir() {
            return Ok((directory(path, context)?, None));
        }
        let bytes = policy_files::read_existing(path)?.unwrap_or_default();
        let component = component_of(path, &bytes)?;
        let name = component.grant_file();
        let mut source = policy_files::source(context)?;
        source.grants.retain(|file| file.name != name);
        source.grants.push(SourceFile { name, bytes });
        Ok((source, Some(component)))
    }
}

fn directory(path: &Path, context: &Context) -> Result<PolicySource, Failure> {
    let grants = path.join("grants");
    if !grants.is_dir() {
        return Err(Failure::NotFound {
            message: format!("`{}` holds no grants/ directory", path.display()),
            hint: "name a grant file, or a directory with grants/ and scopes/".to_owned(),
        });
    }
    let mut source = policy_files::source(context)?;
    source.grants = policy_files::directory(&grants)?;
    let scopes = path.join("scopes");
    if scopes.is_dir() {
        source.scopes = policy_files::directory(&scopes)?;
    }
    Ok(source)
}

/// Whose grant it is, by its contents: a copy may be called anything.
fn component_of(path: &Path, bytes: &[u8]) -> Result<ComponentId, Failure> {
    let wrong = |why: String| Failure::Failed {
        message: format!("`{}` is no grant: {why}", path.display()),
        hint: "grants/README.md says what one looks like".to_owned(),
    };
    let document: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let named = document.get("component_id").and_then(|id| id.as_str());
    let named = named.ok_or_else(|| wrong("`component_id` is missing".to_owned()))?;
    named
        .parse()
        .map_err(|error: rumi_policy::SpellingError| wrong(error.to_string()))
}

struct Replayed<'a> {
    set: &'a PolicySet,
    report: Report,
    changes: BTreeMap<Key, Change>,
}

impl<'a> Replayed<'a> {
    fn new(set: &'a PolicySet) -> Self {
        Self {
            set,
            report: Report {
                requests: 0,
                same: 0,
                allowed_to_denied: 0,
                denied_to_allowed: 0,
                untold: 0,
                policy: set.hash().hex(),
                changes: Vec::new(),
                unlisted: 0,
            },
            changes: BTreeMap::new(),
        }
    }

    fn take(&mut self, request: &Request) {
        self.report.requests += 1;
        let (Some(component), Some(question)) = (request.component(), asked(request)) else {
            // What was no request is none under any policy.
            match request.verdict {
                Verdict::Allowed => self.report.untold += 1,
                _ => self.report.same += 1,
            }
            return;
        };
        let judged = question.judge(self.set, &component, request.at());
        match (request.verdict, judged) {
            (_, Judgement::Untold(_)) => self.report.untold += 1,
            (Verdict::Allowed, Judgement::Denied(denial)) => {
                self.report.allowed_to_denied += 1;
                self.change(request, "allowed to denied", denial.reason.as_str());
            }
            (Verdict::Refused, Judgement::Allowed) => {
                self.report.denied_to_allowed += 1;
                self.change(request, "denied to allowed", request.text("reason"));
            }
            // Of what was found, the program of a command alone is known.
            (Verdict::TakenBack, Judgement::Allowed)
                if request.text("reason") == "command_not_allowed" =>
            {
                self.report.denied_to_allowed += 1;
                self.change(request, "denied to allowed", "command_not_allowed");
            }
            _ => self.report.same += 1,
        }
    }

    fn change(&mut self, request: &Request, change: &'static str, reason: &str) {
        let key = Key {
            change,
            component: request.text("component").to_owned(),
            permission: request.text("permission").to_owned(),
            action: request.text("action").to_owned(),
            target: request.target(),
            particular: request.particular().map(str::to_owned),
            reason: reason.to_owned(),
        };
        if !self.changes.contains_key(&key) && self.changes.len() == MOST {
            self.report.unlisted += 1;
            return;
        }
        let change = self.changes.entry(key.clone()).or_insert(Change {
            key,
            count: 0,
            last_record: String::new(),
            last_time: String::new(),
        });
        change.count += 1;
        request.text("id").clone_into(&mut change.last_record);
        request.text("time").clone_into(&mut change.last_time);
    }

    fn report(mut self) -> Report {
        self.report.changes = self.changes.into_values().collect();
        self.report
    }
}

/// The request, with what is known of how it was meant. Whether missing parents were to be made is
/// not recorded; it matters for the granted directory alone, which was refused where they were not.
fn asked(request: &Request) -> Option<Question> {
    use rumi_policy::FileWriteAction::Mkdir;
    let mut question = request.question()?;
    if let Question::FileWrite(ask) = &mut question
        && let Mkdir { parents } = &mut ask.action
    {
        *parents = request.text("reason") != "not_a_file";
    }
    Some(question)
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let mut heading = "";
    for change in &report.changes {
        let key = &change.key;
        if key.change != heading {
            heading = key.change;
            lines.push(format!("{heading}:"));
        }
        let particular = key.particular.as_ref().map(|more| format!(" {more}"));
        lines.push(format!(
            "  {:>7}x  {}  {}:{}  `{}{}`  {}  (last {} {})",
            change.count,
            key.component,
            key.permission,
            key.action,
            key.target,
            particular.unwrap_or_default(),
            key.reason,
            change.last_record,
            change.last_time,
        ));
    }
    if report.unlisted > 0 {
        lines.push(format!("  {} more changes are not listed", report.unlisted));
    }
    lines.push(format!(
        "{} requests: {} the same, {} allowed to denied, {} denied to allowed, {} cannot be told",
        report.requests,
        report.same,
        report.allowed_to_denied,
        report.denied_to_allowed,
        report.untold,
    ));
    lines
}

//! `packctl grant why RECORD`

use rumi_audit::{RecordId, query::Filter};
use rumi_policy::{ComponentId, Grant, PolicySet};
use serde::Serialize;

use super::{
    deciding::{self, Entry},
    handlers,
    history::{History, Request, Verdict},
    now,
    suggest::{Denials, Proposal, propose},
};
use crate::{
    commands::audit::Source, context::Context, failure::Failure, judging::Judgement, policy_files,
};

/// Explain one decision: who asked, which entry decided, and what would allow it
///
/// Reads the log and the policy files; the broker need not run. Where the policy
/// has changed since, the entries are those of today's files, and it says so.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// The id, as replies and `audit query` show it
    record: RecordId,

    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Serialize)]
struct Explained {
    record: String,
    time: String,
    component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<serde_json::Value>,
    permission: String,
    action: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    particular: Option<String>,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The rule, or what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    grant: String,
    grant_is_there: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    policy: String,
    policy_in_force: bool,
    /// What today's files say.
    today: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_allow: Option<Proposal>,
}

impl Why {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let filter = Filter {
            id: Some(self.record.to_string()),
            ..Filter::default()
        };
        let mut found = None;
        History::open(directory.clone(), filter.clone())?.each(|request| {
            found = Some(request);
            Ok(())
        })?;
        let Some(request) = found else {
            return Err(Failure::NotFound {
                message: format!("no decision is recorded as `{}`", self.record),
                hint: format!(
                    "`packctl audit show {}` shows what else may be",
                    self.record
                ),
            });
        };
        let mut explained = explain(context, &request)?;
        if request.verdict != Verdict::Allowed && explained.today != "allowed" {
            let denials = Denials::read(directory, filter, |_| true)?;
            let source = policy_files::source(context)?;
            explained.would_allow = Some(propose(
                denials,
                &source,
                &|handler| handlers::is_there(context, handler),
                now(),
            ));
        }
        context.out.one(&explained, Explained::lines)?;
        let proposed = explained
            .would_allow
            .is_some_and(|proposal| !proposal.is_empty());
        if proposed {
            let record = self.record;
            context
                .console
                .hint(&format!("packctl grant suggest --record {record} --apply"));
        }
        Ok(())
    }
}

fn explain(context: &Context, request: &Request) -> Result<Explained, Failure> {
    let source = policy_files::source(context)?;
    let component: Option<ComponentId> = request.component();
    let name = component.as_ref().map(ComponentId::grant_file);
    let file = source
        .grants
        .iter()
        .find(|file| Some(&file.name) == name.as_ref())
        .cloned();
    let set = PolicySet::compile(source);
    let question = request.question();
    let entry = file.as_ref().and_then(|file| {
        let grant = Grant::parse(&file.name, &file.bytes).ok()?;
        let text = String::from_utf8_lossy(&file.bytes);
        deciding::entry(&grant, &text, question.as_ref()?)
    });
    let today = match (&question, &component) {
        (Some(question), Some(component)) => match question.judge(&set, component, now()) {
            Judgement::Allowed if request.verdict == Verdict::TakenBack => {
                "depends on what is found".to_owned()
            }
            Judgement::Allowed => "allowed".to_owned(),
            Judgement::Denied(denial) => format!("denied: {}", denial.reason),
            Judgement::Untold(why) => format!("cannot be told: {why}"),
        },
        _ => "cannot be told: the record does not hold the whole of the request".to_owned(),
    };
    let text = |name: &str| request.text(name).to_owned();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Explained {
        record: text("id"),
        time: text("time"),
        component: text("component"),
        invocation: some(text("invocation")),
        peer: request.fields.get("peer").cloned(),
        permission: text("permission"),
        action: text("action"),
        target: request.target(),
        particular: request.particular().map(str::to_owned),
        decision: match request.verdict {
            Verdict::Allowed => "allow",
            Verdict::Refused | Verdict::TakenBack => "deny",
        },
        reason: some(text("reason")),
        because: request
            .detail("why")
            .or_else(|| request.detail("sentence"))
            .map(str::to_owned),
        grant: name
            .map(|name| format!("grants/{name}"))
            .unwrap_or_default(),
        grant_is_there: file.is_some(),
        entry,
        policy_in_force: text("policy") == set.hash().hex(),
        policy: text("policy"),
        today,
        would_allow: None,
    })
}

impl Explained {
    fn lines(&self) -> Vec<String> {
        let peer = |name: &str| {
            let value = self.peer.as_ref().and_then(|peer| peer.get(name));
            value.map(ToString::to_string).unwrap_or_default()
        };
        let mut who = format!(
            "{} (uid {}, pid {}",
            self.component,
            peer("uid"),
            peer("pid")
        );
        if let Some(invocation) = &self.invocation {
            who.push_str(&format!(", call {invocation}"));
        }
        who.push(')');
        let particular = self.particular.as_ref().map(|more| format!(" ({more})"));
        let asked = format!(
            "{}:{} `{}`{}",
            self.permission,
            self.action,
            self.target,
            particular.unwrap_or_default()
        );
        let decided = match &self.reason {
            Some(reason) => format!("{}: {reason}", self.decision),
            None => self.decision.to_owned(),
        };
        let policy = match self.policy_in_force {
            true => format!("{}, which is what the files hold now", self.policy),
            false => format!(
                "{}, which is not what the files hold now; entries and lines are today's",
                self.policy
            ),
        };
        let mut lines = vec![
            format!("record    {} at {}", self.record, self.time),
            format!("who       {who}"),
            format!("asked     {asked}"),
            format!("decided   {decided}"),
        ];
        lines.extend(self.because.as_ref().map(|why| format!("because   {why}")));
        lines.push(format!("grant     {}", self.by_grant()));
        lines.push(format!("policy    {policy}"));
        lines.push(format!("today     {}", self.today));
        if let Some(proposal) = &self.would_allow {
            for change in &proposal.changes {
                lines.push(format!("allowed by this change of {}:", change.file));
                lines.extend(change.diff.iter().map(|line| format!("    {line}")));
            }
            for left in &proposal.left {
                lines.push(format!("not lifted by a grant: {}", left.why));
            }
        }
        lines
    }

    fn by_grant(&self) -> String {
        let Some(entry) = &self.entry else {
            return match self.grant_is_there {
                true => format!("{}: no entry is near", self.grant),
                false => format!("{}: there is no such file", self.grant),
            };
        };
        let line = entry.line.map(|line| format!(", line {line}"));
        let how = match (entry.covers, self.decision) {
            (true, "allow") => "decided",
            (true, _) => "names it",
            (false, _) => "comes nearest",
        };
        format!(
            "{}{}: `{}` of {}.{} {how}",
            self.grant,
            line.unwrap_or_default(),
            entry.value,
            entry.permission,
            entry.list
        )
    }
}

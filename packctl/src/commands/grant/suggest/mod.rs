//! `packctl grant suggest`

mod denials;
mod lift;
mod proposal;

use rumi_audit::RecordId;
use rumi_policy::{ComponentId, PermissionName};

pub(super) use denials::Denials;
pub(super) use proposal::{Proposal, propose};

use super::{change, handlers, history, in_force, now, permission};
use crate::{
    commands::audit::Source, context::Context, failure::Failure, moment::Moment, output::Format,
    policy_files,
};

/// A day: what was denied longer ago has been lived with.
const A_DAY_MS: i64 = 86_400_000;

/// Propose the narrowest grants that would have admitted what was denied
///
/// Reads the denials in the log and shows, for each grant file, the change that
/// admits them: exactly that file, host and port, key or command. Each line is
/// shown with what it admits and how often that was denied. What no grant should
/// lift is listed with the reason. Nothing is changed without --apply.
///
/// A pack decides what it asks for: read each line before you apply it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packctl grant suggest
  packctl grant suggest --since 2h default:tool:my_tool
  packctl grant suggest --record 3f9k2m8q0v7x1c4b --apply")]
pub(crate) struct Suggest {
    /// Only this component
    component: Option<ComponentId>,

    /// Denials since then: `90s`, `1h`, `2d` ago, or a date and time in UTC [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = Moment::read)]
    since: Option<Moment>,

    /// Only denials of this permission
    #[arg(long, value_name = "PERMISSION", value_parser = permission())]
    permission: Option<PermissionName>,

    /// Only this denial, whenever it was; may be repeated
    #[arg(long = "record", value_name = "RECORD", conflicts_with = "since")]
    records: Vec<RecordId>,

    /// Change the grant files
    #[arg(long)]
    apply: bool,

    #[command(flatten)]
    source: Source,
}

impl Suggest {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let since = match (self.since, self.records.is_empty()) {
            (None, true) => Some(Moment::ago_ms(A_DAY_MS)),
            (since, _) => since,
        };
        let filter = history::filter(since, self.component.as_ref());
        let permission = self.permission.as_ref().map(ToString::to_string);
        let records: Vec<String> = self.records.iter().map(ToString::to_string).collect();
        let denials = Denials::read(directory, filter, |request| {
            permission
                .as_ref()
                .is_none_or(|wanted| request.text("permission") == wanted)
                && (records.is_empty() || records.iter().any(|id| id == request.text("id")))
        })?;
        let source = policy_files::source(context)?;
        let mut proposal = propose(
            denials,
            &source,
            &|handler| handlers::is_there(context, handler),
            now(),
        );
        if self.apply {
            apply(context, &proposal)?;
            proposal.applied = true;
        }
        show(context, &proposal)?;
        if self.apply && !proposal.is_empty() {
            in_force::wait(context);
        }
        Ok(())
    }
}

/// Makes the additions to the files as they are now, under the lock that all edits take.
fn apply(context: &Context, proposal: &Proposal) -> Result<(), Failure> {
    for file in &proposal.changes {
        let component = &file.component;
        change::write(context, component, |before| {
            let mut edited = rumi_policy::edit::Edited {
                bytes: before.unwrap_or_default().to_vec(),
                changed: false,
            };
            for addition in &file.additions {
                let bytes = (before.is_some() || edited.changed).then_some(edited.bytes.as_slice());
                let next = addition.apply(bytes, component);
                let next = next.map_err(|error| change::refused(&error))?;
                edited = rumi_policy::edit::Edited {
                    changed: edited.changed || next.changed,
                    ..next
                };
            }
            Ok(edited)
        })?;
    }
    Ok(())
}

fn show(context: &mut Context, proposal: &Proposal) -> Result<(), Failure> {
    context.out.one(proposal, lines)?;
    if context.out.format() != Format::Table {
        return Ok(());
    }
    if proposal.granted_since > 0 {
        context.console.say(&format!(
            "{} of the denied requests would be allowed by now",
            proposal.granted_since
        ));
    }
    if proposal.beyond > 0 {
        context.console.warning(&format!(
            "{} more denials were not looked at: there are too many different ones",
            proposal.beyond
        ));
    }
    if proposal.is_empty() {
        context.console.say("nothing to suggest");
    } else if proposal.applied {
        context.console.say("applied");
    } else {
        context
            .console
            .hint("nothing was changed; the same with `--apply` changes the files");
    }
    Ok(())
}

fn lines(proposal: &Proposal) -> Vec<String> {
    let mut lines = Vec::new();
    for file in &proposal.changes {
        lines.push(format!("--- {}", file.file));
        lines.push(format!("+++ {}", file.file));
        lines.extend(file.diff.iter().cloned());
        for one in &file.admits {
            let line = one.line.map(|line| format!("line {line}: "));
            lines.push(format!(
                "    {}{} `{}` admits {} ({}, last {} {})",
                line.unwrap_or_default(),
                one.permission,
                one.value,
                one.admits,
                times(one.seen.count),
                one.seen.last_record,
                one.seen.last_time,
            ));
        }
        lines.push(String::new());
    }
    if !proposal.left.is_empty() {
        lines.push("not lifted:".to_owned());
    }
    for one in &proposal.left {
        let particular = one.key.particular.as_ref();
        lines.push(format!(
            "    {} {}:{} `{}{}` {} ({}, last {})",
            one.key.component,
            one.key.permission,
            one.key.action,
            one.key.target,
            particular
                .map(|more| format!(" {more}"))
                .unwrap_or_default(),
            one.reason,
            times(one.seen.count),
            one.seen.last_record,
        ));
        lines.push(format!("        {}", one.why));
    }
    lines
}

pub(super) fn times(count: u64) -> String {
    match count {
        1 => "denied once".to_owned(),
        many => format!("denied {many} times"),
    }
}

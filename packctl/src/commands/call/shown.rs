//! The answer of one call, as a person reads it.

use rumi_proto::v1::{CallDenial, CallResponse};
use serde::Deserialize;

use crate::{
    console::Console,
    context::Context,
    failure::{Exit, Failure},
    json_text::Layout,
    output::Format,
};

/// The part of a result that decides about the exit code.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    error: Option<VerdictError>,
}

#[derive(Debug, Deserialize)]
struct VerdictError {
    #[serde(default, rename = "type")]
    kind: String,
}

impl Verdict {
    pub(super) fn of(reply: &CallResponse) -> Result<Self, Failure> {
        // A result that is no JSON is the broker's mistake and must not pass for an answer.
        serde_json::from_str(&reply.result_json).map_err(|error| Failure::Failed {
            message: format!("the broker's answer is not a result: {error}"),
            hint: "packctl and rumi-broker may be of different versions".to_owned(),
        })
    }

    pub(super) fn exit(&self) -> Exit {
        match &self.error {
            _ if self.ok => Exit::Ok,
            Some(error) if error.kind == "Denied" => Exit::Denied,
            _ => Exit::Failed,
        }
    }
}

pub(super) fn show(
    context: &mut Context,
    reply: &CallResponse,
    verbose: bool,
) -> Result<(), Failure> {
    let console = context.console;
    let layout = match context.out.format() {
        Format::Table | Format::Json => Layout::Pretty,
        Format::Jsonl => Layout::Compact,
    };
    let exit = Verdict::of(reply)?.exit();
    if verbose || exit == Exit::Failed {
        printed(console, "", reply);
    } else {
        hidden(console, reply);
    }
    if let Some(text) = stopped(&reply.stopped_reason) {
        console.warning(text);
    }
    context.out.json_text(&reply.result_json, layout)?;
    context.out.flush()?;
    for denial in &reply.denials {
        explain(console, denial);
    }
    match exit {
        Exit::Ok => Ok(()),
        exit => Err(Failure::Said(exit)),
    }
}

/// What the tool wrote to its own output, each line behind its stream's name.
pub(super) fn printed(console: Console, whose: &str, reply: &CallResponse) {
    for (label, text) in [("stdout", &reply.stdout), ("stderr", &reply.stderr)] {
        for line in text.lines() {
            console.say(&format!("{whose}{label} | {line}"));
        }
    }
    if reply.truncated {
        console.warning(&format!(
            "{whose}the tool printed more than its limit; the rest was dropped"
        ));
    }
}

/// That the tool wrote something; a refusal's traceback would push the remedy out of sight.
fn hidden(console: Console, reply: &CallResponse) {
    let lines = reply.stdout.lines().count() + reply.stderr.lines().count();
    if lines > 0 {
        let noun = if lines == 1 { "line" } else { "lines" };
        console.labelled(
            "note",
            "36",
            &format!("the tool printed {lines} {noun}; --verbose shows them"),
        );
    }
    if reply.truncated {
        console.warning("the tool printed more than its limit; the rest was dropped");
    }
}

/// What is to be said about how a call ended; nothing where the result says it all.
fn stopped(reason: &str) -> Option<&'static str> {
    match reason {
        "" | "exited" | "not_started" => None,
        "timeout" => Some("the call was stopped: its time was up"),
        "memory" => Some("the call was stopped: it used more memory than it may"),
        "crashed" => Some("the tool's process ended without an answer"),
        _ => Some("the call was stopped for a reason that this packctl does not know"),
    }
}

/// Characters of what a pack chose that are shown.
const SHOWN: usize = 300;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(crate) fn explain(console: Console, denial: &CallDenial) {
    console.labelled(
        "denied",
        "31",
        &format!(
            "{} of `{}`: {} (record {})",
            denial.permission,
            shortened(&denial.target),
            denial.reason,
            denial.record
        ),
    );
    remedy(console, denial);
}

fn remedy(console: Console, denial: &CallDenial) {
    // A command that is cut would allow something else.
    if denial.remedy.len() > SHOWN * 2 {
        let show = format!("packctl audit show {}", denial.record);
        console.labelled("hint", "32", &show);
    } else if !denial.remedy.is_empty() {
        console.labelled("remedy", "32", &denial.remedy);
    }
}

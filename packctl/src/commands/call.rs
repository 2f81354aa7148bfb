//! `packctl call COMPONENT`

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use rumi_policy::ComponentId;
use rumi_proto::v1::{CallDenial, CallRequest, CallResponse};
use serde::Deserialize;

use crate::{
    broker,
    console::Console,
    context::Context,
    failure::{Exit, Failure},
    json_text::Layout,
    moment,
    output::Format,
};

/// Call a tool and print its result
///
/// The result goes to stdout as JSON; each refusal the tool met, with the command that
/// would allow it, goes to stderr, and so does what a tool printed that failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The tool, as PACK:tool:NAME
    component: ComponentId,

    /// Arguments: a JSON object, @FILE that holds one, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        default_value = "{}",
        allow_hyphen_values = true
    )]
    args: String,

    /// Stop the call after this long (`500ms`, `10s`, `2m`) instead of what the pack says
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,

    /// Show what the tool printed even when it succeeded or was denied something
    #[arg(short, long)]
    verbose: bool,
}

/// The part of a result that decides about the exit code.
#[derive(Debug, Deserialize)]
struct Verdict {
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

impl Call {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let verbose = self.verbose;
        let request = CallRequest {
            component_id: self.component.to_string(),
            args_json: arguments(&self.args)?,
            timeout_ms: self.timeout.map_or(0, |timeout| {
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
            }),
        };
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .call(request)
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            show(context, &reply, verbose)
        })
    }
}

fn show(context: &mut Context, reply: &CallResponse, verbose: bool) -> Result<(), Failure> {
    let console = context.console;
    let layout = match context.out.format() {
        Format::Table | Format::Json => Layout::Pretty,
        Format::Jsonl => Layout::Compact,
    };
    // A result that is no JSON is the broker's mistake and must not pass for an answer.
    let verdict: Verdict =
        serde_json::from_str(&reply.result_json).map_err(|error| Failure::Failed {
            message: format!("the broker's answer is not a result: {error}"),
            hint: "packctl and rumi-broker may be of different versions".to_owned(),
        })?;
    let exit = verdict.exit();
    printed(console, reply, verbose || exit == Exit::Failed);
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

impl Verdict {
    fn exit(&self) -> Exit {
        match &self.error {
            _ if self.ok => Exit::Ok,
            Some(error) if error.kind == "Denied" => Exit::Denied,
            _ => Exit::Failed,
        }
    }
}

/// What the tool wrote to its own output, or that it wrote something.
fn printed(console: Console, reply: &CallResponse, whole: bool) {
    let streams = [("stdout", &reply.stdout), ("stderr", &reply.stderr)];
    if whole {
        for (label, text) in streams {
            for line in text.lines() {
                console.say(&format!("{label} | {line}"));
            }
        }
    } else {
        // The traceback of a refusal would push the remedy out of sight.
        let lines: usize = streams.iter().map(|(_, text)| text.lines().count()).sum();
        if lines > 0 {
            let noun = if lines == 1 { "line" } else { "lines" };
            console.labelled(
                "note",
                "36",
                &format!("the tool printed {lines} {noun}; --verbose shows them"),
            );
        }
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

fn explain(console: Console, denial: &CallDenial) {
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
    // A command that is cut would allow something else.
    if denial.remedy.len() > SHOWN * 2 {
        let show = format!("packctl audit show {}", denial.record);
        console.labelled("hint", "32", &show);
    } else if !denial.remedy.is_empty() {
        console.labelled("remedy", "32", &denial.remedy);
    }
}

/// The text of the arguments, known to be a JSON object.
fn arguments(given: &str) -> Result<String, Failure> {
    let (text, name) = match given.strip_prefix('@') {
        Some(file) => {
            let path = Path::new(file);
            let text = fs::read_to_string(path).map_err(Failure::files("read", path))?;
            (text, format!("`{file}`"))
        }
        None if given == "-" => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(Failure::files("read", "standard input"))?;
            (text, "standard input".to_owned())
        }
        None => (given.to_owned(), format!("`{given}`")),
    };
    let wrong = |why: String| Failure::Usage {
        message: format!("the arguments in {name} are no JSON object: {why}"),
        hint: r#"write an object, as in --args '{"key": "value"}'"#.to_owned(),
    };
    if !text.trim_start().starts_with('{') {
        return Err(wrong("they do not begin with `{`".to_owned()));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(&text)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(text)
}

fn timeout(text: &str) -> Result<Duration, String> {
    moment::span_ms(text)
        .and_then(|ms| u64::try_from(ms).ok())
        .filter(|ms| (1..=u64::from(u32::MAX)).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is not a span of time like `500ms`, `10s` or `2m`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_must_be_an_object() {
        assert_eq!(arguments(r#" {"a": 1} "#).unwrap(), r#" {"a": 1} "#);
        for text in ["", "[]", "1", "{", "{} {}", "null", "'{}'"] {
            let failure = arguments(text).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{text}");
        }
        assert_eq!(arguments("@/nonexistent").unwrap_err().exit(), Exit::Failed);
    }

    #[test]
    fn timeouts_are_bounded() {
        assert_eq!(timeout("1500ms"), Ok(Duration::from_millis(1500)));
        for text in ["0s", "", "5", "100w"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}

//! From what a program said or left behind to the frame that answers the broker.

use std::{collections::BTreeMap, io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{channel::LONGEST, output::Output, program::ProgramError};

/// What is kept of the output when the frame would not hold it otherwise.
const OUTPUT_REST: usize = 64 * 1024;
/// Readers of replies (serde_json) stop at 128 levels; three are the frame's own.
const DEEPEST: usize = 120;
/// How Node.js ends when its heap is full.
const HEAP: &str = "JavaScript heap out of memory";

/// Why the program did not answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stopped {
    Crashed,
    Memory,
    /// It ended with an exit code other than 0.
    Exit,
}

#[derive(Debug, Serialize)]
struct Failure {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug)]
enum Body {
    /// `{"ok": …}`, as JSON.
    Result(String),
    /// An error object, as JSON.
    Error(String),
}

/// All there is to say of a program.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    stopped: Option<Stopped>,
    output: Output,
}

/// Only to see whether the broker will be able to read a frame.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    #[expect(dead_code, reason = "it is parsed, and not looked at")]
    body: &'a RawValue,
}

impl Answer {
    /// The program was not started.
    pub(super) fn broken(error: &ProgramError) -> Box<Self> {
        Self::failed(None, "load", error.to_string(), Output::default())
    }

    /// The broker waits for no answer any more.
    pub(super) fn given_up(output: Output) -> Box<Self> {
        Self::failed(
            None,
            "given_up",
            "nobody waits for an answer".to_owned(),
            output,
        )
    }

    fn failed(
        stopped: Option<Stopped>,
        kind: &'static str,
        message: String,
        output: Output,
    ) -> Box<Self> {
        Box::new(Self {
            body: Body::error(kind, message),
            stopped,
            output,
        })
    }

    /// The program said so in a line, behind the expected word.
    pub(super) fn said(line: &[u8], word: &str, output: Output) -> Box<Self> {
        let text = std::str::from_utf8(line).ok();
        let body = text.and_then(|text| text.strip_prefix(word));
        match body {
            _ if line.len() > LONGEST => {
                Self::failed(None, "result_too_large", too_large(), output)
            }
            Some(body) if word.starts_with("result") => Box::new(Self {
                body: Body::Result(body.to_owned()),
                stopped: None,
                output,
            }),
            Some(body) => Box::new(Self {
                body: Body::Error(body.to_owned()),
                stopped: None,
                output,
            }),
            None => {
                let message = "the tool's process said on descriptor 3 what is no answer";
                Self::failed(
                    Some(Stopped::Crashed),
                    "protocol",
                    message.to_owned(),
                    output,
                )
            }
        }
    }

    /// The program ended instead of answering.
    pub(super) fn ended(status: ExitStatus, when: &str, output: Output) -> Box<Self> {
        if status.signal().is_some() && String::from_utf8_lossy(&output.stderr).contains(HEAP) {
            let message = "the tool's heap was full".to_owned();
            return Self::failed(Some(Stopped::Memory), "memory", message, output);
        }
        let message = format!("the tool's process ended {when} ({})", how(status));
        let message = explained(message, &output);
        Self::failed(Some(Stopped::Crashed), "crashed", message, output)
    }

    /// The program ended, and this is what it had written on descriptor 3.
    pub(super) fn written(
        written: io::Result<Vec<u8>>,
        status: ExitStatus,
        output: Output,
    ) -> Box<Self> {
        let body = written
            .map_err(|error| Body::error("result", format!("the result cannot be read: {error}")))
            .and_then(|bytes| wrapped(&bytes));
        let failed = match &body {
            Ok(Wrapped { failed, .. }) => *failed,
            Err(_) => false,
        };
        if !status.success() && !failed {
            let signal = status.signal().is_some();
            let (kind, stopped) = if signal {
                ("crashed", Stopped::Crashed)
            } else {
                ("exit", Stopped::Exit)
            };
            let message = explained(format!("the tool ended with {}", how(status)), &output);
            return Self::failed(Some(stopped), kind, message, output);
        }
        let body = body.map_or_else(|error| error, |wrapped| Body::Result(wrapped.json));
        Box::new(Self {
            body,
            stopped: None,
            output,
        })
    }

    /// The answer to a call.
    pub(super) fn result(self) -> Vec<u8> {
        let stopped = self.stopped;
        let json = match self.body {
            Body::Result(json) => json,
            Body::Error(error) => of_error(&error),
        };
        framed("result", "result", json, stopped, self.output)
    }

    /// That there can be none.
    pub(super) fn broken_frame(self) -> Vec<u8> {
        let (Body::Error(json) | Body::Result(json)) = self.body;
        framed("broken", "error", json, None, self.output)
    }
}

impl Body {
    fn error(kind: &'static str, message: String) -> Self {
        let failure = Failure { message, kind };
        // Texts alone can always be written.
        Self::Error(serde_json::to_string(&failure).unwrap_or_else(|_| "{}".to_owned()))
    }
}

fn of_error(error: &str) -> String {
    format!(r#"{{"ok":false,"error":{error}}}"#)
}

fn framed(
    kind: &str,
    name: &str,
    json: String,
    stopped: Option<Stopped>,
    mut output: Output,
) -> Vec<u8> {
    let json = match readable(&json) {
        Ok(()) => json,
        Err(why) => replaced(name, "unserializable", why),
    };
    let compose = |json: &str, output: &Output| {
        let text = |bytes: &[u8]| {
            serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap_or_default()
        };
        let stopped = stopped
            .and_then(|stopped| serde_json::to_string(&stopped).ok())
            .map(|word| format!(r#""stopped":{word},"#))
            .unwrap_or_default();
        format!(
            r#"{{"type":"{kind}",{stopped}"{name}":{json},"stdout":{},"stderr":{},"truncated":{}}}"#,
            text(&output.stdout),
            text(&output.stderr),
            output.truncated
        )
    };
    let mut frame = compose(&json, &output);
    if frame.len() > LONGEST {
        output.cut(OUTPUT_REST);
        frame = compose(&json, &output);
    }
    if frame.len() > LONGEST {
        frame = compose(&replaced(name, "result_too_large", too_large()), &output);
    }
    frame.into_bytes()
}

/// Whether the broker, and whoever reads its answers, will be able to read this.
fn readable(json: &str) -> Result<(), String> {
    let frame = format!(r#"{{"body":{json}}}"#);
    if let Err(error) = serde_json::from_str::<Frame<'_>>(&frame) {
        return Err(format!("the result is not JSON: {error}"));
    }
    let (mut depth, mut text, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match (text, byte) {
            (true, b'\\') if !escaped => {
                escaped = true;
                continue;
            }
            (true, b'"') if escaped => {}
            (_, b'"') => text = !text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = false;
        if depth > DEEPEST {
            return Err(format!("the result is nested deeper than {DEEPEST} levels"));
        }
    }
    Ok(())
}

/// An error in the place of what no frame can hold.
fn replaced(name: &str, kind: &'static str, message: String) -> String {
    let (Body::Error(error) | Body::Result(error)) = Body::error(kind, message);
    if name == "error" {
        error
    } else {
        of_error(&error)
    }
}

fn too_large() -> String {
    "the result is larger than 16 MiB, the most that can be passed on".to_owned()
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// With what it said last, which is most often why.
fn explained(message: String, output: &Output) -> String {
    match output.last_words() {
        Some(words) => format!("{message}: {words}"),
        None => message,
    }
}

#[derive(Debug)]
struct Wrapped {
    json: String,
    /// It says itself that it failed.
    failed: bool,
}

/// What stands on descriptor 3 in the form of a result. Nothing is null, JSON is itself, and a plain
/// text is a text; but what begins like JSON and is none is more likely a mistake.
fn wrapped(bytes: &[u8]) -> Result<Wrapped, Body> {
    let unserializable = |message: String| Body::error("unserializable", message);
    if bytes.len() > LONGEST {
        return Err(Body::error("result_too_large", too_large()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| unserializable("what was written to descriptor 3 is not UTF-8".to_owned()))?;
    let text = text.trim();
    let data = match serde_json::from_str::<&RawValue>(text) {
        _ if text.is_empty() => "null".to_owned(),
        Ok(value) => {
            let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(text);
            let members = members.unwrap_or_default();
            let ok = members.get("ok").map(|ok| ok.get());
            if matches!(ok, Some("true" | "false"))
                && (members.contains_key("data") || members.contains_key("error"))
            {
                return Ok(Wrapped {
                    json: text.to_owned(),
                    failed: ok == Some("false"),
                });
            }
            value.get().to_owned()
        }
        Err(error) if text.starts_with(['{', '[', '"']) => {
            let message =
                format!("what was written to descriptor 3 begins like JSON and is none: {error}");
            return Err(unserializable(message));
        }
        Err(_) => serde_json::to_string(text).map_err(|error| unserializable(error.to_string()))?,
    };
    Ok(Wrapped {
        json: format!(r#"{{"ok":true,"data":{data}}}"#),
        failed: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DONE: i32 = 0;

    fn written(text: &str, status: i32, stderr: &str) -> Value {
        let output = Output {
            stderr: stderr.as_bytes().to_vec(),
            ..Output::default()
        };
        let answer = Answer::written(
            Ok(text.as_bytes().to_vec()),
            ExitStatus::from_raw(status),
            output,
        );
        serde_json::from_slice(&answer.result()).unwrap()
    }

    #[test]
    fn what_a_program_writes_is_wrapped_unless_it_is_a_result_already() {
        for (text, expected) in [
            ("", json!({"ok": true, "data": null})),
            ("hello\n", json!({"ok": true, "data": "hello"})),
            ("[note] done", json!(null)),
            ("{\"a\": 1}\n", json!({"ok": true, "data": {"a": 1}})),
            (
                "{\"ok\": 1, \"data\": 2}",
                json!({"ok": true, "data": {"ok": 1, "data": 2}}),
            ),
            (
                "{\"ok\": true, \"data\": 5}",
                json!({"ok": true, "data": 5}),
            ),
            ("12345678901234567890123", Value::Null),
        ] {
            let frame = written(text, DONE, "");
            match text {
                "[note] done" => assert_eq!(frame["result"]["error"]["type"], "unserializable"),
                "12345678901234567890123" => assert!(frame["result"]["data"].is_number()),
                _ => assert_eq!(frame["result"], expected, "{text}"),
            }
            assert_eq!(frame.get("stopped"), None);
        }
    }

    #[test]
    fn an_exit_code_is_an_error_with_the_last_words() {
        let frame = written("half", 3 << 8, "first\ncannot go on\n\n");
        let error = &frame["result"]["error"];
        assert_eq!(error["type"], "exit");
        assert_eq!(
            error["message"],
            "the tool ended with exit code 3: cannot go on"
        );
        assert_eq!(frame["stopped"], "exit");
        // A failure that says why itself is left as it is.
        let own = r#"{"ok": false, "error": {"message": "mine", "type": "own"}}"#;
        assert_eq!(written(own, 1 << 8, "")["result"]["error"]["type"], "own");
        let frame = written("", 9, "");
        assert_eq!(frame["stopped"], "crashed");
    }

    #[test]
    fn a_full_heap_is_memory() {
        let output = Output {
            stderr: format!("FATAL ERROR: Reached heap limit - {HEAP}\n").into_bytes(),
            ..Output::default()
        };
        let frame = Answer::ended(ExitStatus::from_raw(6), "x", output).result();
        let frame: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(frame["stopped"], "memory");
    }

    #[test]
    fn what_the_broker_could_not_read_is_replaced() {
        let deep = format!("result {}1{}", "[".repeat(200), "]".repeat(200));
        let answer = Answer::said(deep.as_bytes(), "result ", Output::default());
        let frame: Value = serde_json::from_slice(&answer.result()).unwrap();
        assert_eq!(frame["result"]["error"]["type"], "unserializable");
        let answer = Answer::said(b"result {\"ok\":tru", "result ", Output::default());
        let frame: Value = serde_json::from_slice(&answer.result()).unwrap();
        assert_eq!(frame["result"]["error"]["type"], "unserializable");
        let answer = Answer::said(b"ready", "result ", Output::default());
        let frame: Value = serde_json::from_slice(&answer.result()).unwrap();
        assert_eq!(frame["result"]["error"]["type"], "protocol");
    }

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let brackets = "[".repeat(500);
        assert_eq!(
            readable(&format!(r#"["\\\"{brackets}", {{"{brackets}": 1}}]"#)),
            Ok(())
        );
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(readable(&nested(DEEPEST)), Ok(()));
        assert!(readable(&nested(DEEPEST + 1)).is_err());
    }

    #[test]
    fn output_gives_way_to_the_result() {
        let output = Output {
            stdout: vec![b'\0'; 3 * 1024 * 1024],
            ..Output::default()
        };
        let answer = Answer::said(b"result {\"ok\":true,\"data\":1}", "result ", output);
        let frame = answer.result();
        assert!(frame.len() < LONGEST);
        let frame: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(frame["truncated"], true);
        assert_eq!(frame["result"]["data"], 1);
    }
}

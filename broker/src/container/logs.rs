//! A container's output as the engine kept it.

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::{Stream, StreamExt as _};

use super::{
    build_output::plain,
    engine::{ContainerId, Engine},
    error::EngineError,
};

/// One line that a container printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it came on stderr.
    pub error: bool,
    /// When, as the engine writes times.
    pub time: String,
    /// Without control characters: it comes from a pack.
    pub text: String,
}

impl Engine {
    /// The last `tail` lines, or all; with `follow`, those that come later too.
    pub fn logs(
        &self,
        container: &ContainerId,
        tail: Option<u32>,
        follow: bool,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + Send + use<> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(follow)
            .tail(&tail)
            .build();
        let engine = self.clone();
        let container = container.clone();
        let lines = engine.docker().logs(container.as_str(), Some(options));
        lines.map(move |answer| match answer {
            Ok(output) => Ok(line(output)),
            Err(source) => Err(EngineError::call("read the output of", container.as_str())(
                source,
            )),
        })
    }

    /// The end of a container's output as one text, for an error's message.
    pub async fn last_words(&self, container: &ContainerId) -> String {
        let lines = self.logs(container, Some(5), false);
        let lines: Vec<String> = lines
            .filter_map(|line| async move { line.ok().map(|line| line.text) })
            .collect()
            .await;
        if lines.is_empty() {
            "none".to_owned()
        } else {
            lines.join("\n")
        }
    }
}

fn line(output: LogOutput) -> LogLine {
    let error = matches!(output, LogOutput::StdErr { .. });
    let bytes = output.into_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (time, rest) = text.split_once(' ').unwrap_or(("", &text));
    LogLine {
        error,
        time: plain(time),
        text: plain(rest),
    }
}

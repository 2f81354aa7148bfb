//! `packctl call COMPONENT`

mod arguments;
mod counting;
mod many;
mod profile;
pub(crate) mod shown;

use std::time::Duration;

use rumi_policy::ComponentId;
use rumi_proto::v1::{CallRequest, CallResponse};

use crate::{
    broker::{self, Client},
    context::Context,
    failure::Failure,
    moment,
};

/// Most calls that one packctl has open at once.
const MOST_JOBS: u16 = 256;

/// Call a tool and print its result
///
/// The result goes to stdout as JSON; each refusal the tool met, with the command that
/// would allow it, goes to stderr, and so does what a tool printed that failed.
///
/// With --args-file the tool is called once for each line of a file, and the results are
/// lines in the same order, each as soon as those before it are there.
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

    /// Call once for each line of this file (- for standard input): a JSON object each; empty lines are passed over
    #[arg(long, value_name = "FILE", conflicts_with = "args")]
    args_file: Option<String>,

    /// Calls that may run at once
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        requires = "args_file",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_JOBS))
    )]
    jobs: u16,

    /// Stop a call after this long (`500ms`, `10s`, `2m`) instead of what the pack says
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,

    /// Show what the tool printed, stdout and stderr, even when it succeeded or was denied something
    #[arg(short, long)]
    verbose: bool,

    /// Say on stderr where the time went, and how much memory was used at once
    #[arg(long)]
    profile: bool,
}

/// What is the same for every call of one command.
#[derive(Debug, Clone)]
struct Template {
    component: String,
    timeout_ms: u32,
    verbose: bool,
    profile: bool,
}

impl Call {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let template = Template {
            component: self.component.to_string(),
            timeout_ms: self.timeout.map_or(0, |timeout| {
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
            }),
            verbose: self.verbose,
            profile: self.profile,
        };
        if let Some(file) = &self.args_file {
            let lines = arguments::lines(file)?;
            let jobs = usize::from(self.jobs);
            return broker::converse(context, async move |client, context| {
                many::run(client, context, &template, lines, jobs).await
            });
        }
        let args = arguments::one(&self.args)?;
        broker::converse(context, async move |client, context| {
            let (reply, took) = template.call(client, args).await?;
            let shown = shown::show(context, &reply, template.verbose);
            if template.profile {
                profile::Profile::of(&reply, took).show(context)?;
            }
            shown
        })
    }
}

impl Template {
    /// One call, and how long packctl waited for its answer.
    async fn call(
        &self,
        mut client: Client,
        args_json: String,
    ) -> Result<(CallResponse, Duration), Failure> {
        let request = CallRequest {
            component_id: self.component.clone(),
            args_json,
            timeout_ms: self.timeout_ms,
        };
        let asked = std::time::Instant::now();
        let reply = client.call(request).await;
        let took = asked.elapsed();
        let reply = reply.map_err(|status| broker::refused(&status))?;
        Ok((reply.into_inner(), took))
    }
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
    fn timeouts_are_bounded() {
        assert_eq!(timeout("1500ms"), Ok(Duration::from_millis(1500)));
        for text in ["0s", "", "5", "100w"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}

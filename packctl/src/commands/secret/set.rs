//! `packctl secret set NAME`

use rumi_proto::v1::SecretSetRequest;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde::Serialize;

use super::{input, name};
use crate::{broker, context::Context, failure::Failure};

/// Keep a value, new or in the place of another
///
/// The value is read from standard input: packctl secret set API_TOKEN < FILE.
/// At a terminal it is asked for and not shown. It is never taken from the
/// command line, where others see it. The next request uses it; packs that run
/// need no restart.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// Name of the secret, as grants spell it: letters, digits and `_`
    name: String,

    /// Keep the input as it is; otherwise one line end at its end is left out
    #[arg(long)]
    exact: bool,

    /// Not read: values do not belong on a command line
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
    value: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    version: u64,
    replaced: bool,
}

impl Set {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        if !self.value.is_empty() {
            return Err(name::on_the_command_line());
        }
        let name = name::parse(&self.name)?;
        forbid_dumps();
        let value = input::read(context, &name, self.exact)?;
        broker::converse(context, async move |mut client, context| {
            // The message's copies of the value live as long as this process, which ends here.
            let request = SecretSetRequest {
                name: name.clone(),
                value: value.to_vec().into(),
            };
            drop(value);
            let reply = client
                .secret_set(broker::question(request))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let kept = Kept {
                name,
                version: reply.version,
                replaced: reply.replaced,
            };
            context.out.one(&kept, |kept| {
                let verb = if kept.replaced { "replaced" } else { "kept" };
                vec![format!("{verb} `{}`, version {}", kept.name, kept.version)]
            })
        })
    }
}

/// A core file would hold the value. Neither call can fail for the process itself.
fn forbid_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).unwrap_or_default();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
}

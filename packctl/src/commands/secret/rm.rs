//! `packctl secret rm NAME`

use rumi_proto::v1::SecretRemoveRequest;

use super::name;
use crate::{broker, context::Context, failure::Failure};

/// Forget a secret
///
/// From the next request on it has no value; whatever a grant makes of it fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Name of the secret
    name: String,
}

impl Rm {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let name = name::parse(&self.name)?;
        broker::converse(context, async move |mut client, context| {
            let request = SecretRemoveRequest { name: name.clone() };
            let reply = client
                .secret_remove(broker::question(request))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            if !reply.used_by.is_empty() {
                let users: Vec<_> = reply.used_by.iter().map(|id| format!("`{id}`")).collect();
                context.console.warning(&format!(
                    "the grants of {} still name `{name}`",
                    users.join(", ")
                ));
            }
            context.console.say(&format!("forgot `{name}`"));
            Ok(())
        })
    }
}

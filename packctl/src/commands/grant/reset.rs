//! `packctl grant reset COMPONENT [PERMISSION]`

use rumi_policy::{ComponentId, PermissionName};
use rumi_proto::v1::GrantResetRequest;
use serde::Serialize;

use super::permission;
use crate::{broker, context::Context, failure::Failure};

/// Count the uses of a grant anew
///
/// What `max_uses` and `rate_per_minute` bound may be used as often as they say once more. Recorded
/// as an admin action. Without a permission all of the component are counted anew, which also helps
/// where the counts cannot be read any more.
#[derive(Debug, clap::Args)]
pub(crate) struct Reset {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,

    /// The permission, or the name of a custom handler; all when none is named
    #[arg(value_parser = permission())]
    permission: Option<PermissionName>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    component: String,
    permission: Option<String>,
    /// Uses that were counted before; nothing where they could not be read.
    before: Option<u64>,
}

impl Reset {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let permission = self.permission.as_ref().map(ToString::to_string);
            let request = GrantResetRequest {
                component_id: self.component.to_string(),
                permission: permission.clone().unwrap_or_default(),
            };
            let reply = client
                .grant_reset(broker::question(request))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let outcome = Outcome {
                component: self.component.to_string(),
                permission,
                before: reply.readable.then_some(reply.before),
            };
            context.out.one(&outcome, |outcome| {
                let what = match &outcome.permission {
                    Some(permission) => format!("`{permission}` of `{}`", outcome.component),
                    None => format!("all of `{}`", outcome.component),
                };
                let before = match outcome.before {
                    Some(uses) => format!("it had {uses} uses"),
                    None => "its uses could not be read".to_owned(),
                };
                vec![format!("{what} is counted anew; {before}")]
            })
        })
    }
}

//! How often a grant was used, as the broker counts it.

use rumi_policy::{Conditions, Grant, PermissionName};
use rumi_proto::v1::{ComponentUses, UsesRequest};

use crate::{broker, context::Context, failure::Failure, moment::Moment};

/// Says it beside the grant, where something is counted. Without a broker nobody knows, and the
/// grant is shown without it.
pub(super) fn say(context: &mut Context, grant: &Grant) {
    let bounded: Vec<(PermissionName, &Conditions)> = bounded(grant).collect();
    if bounded.is_empty() {
        return;
    }
    let asked = broker::converse(context, async |mut client, _| {
        let component_id = grant.component().to_string();
        let reply = client
            .uses(broker::question(UsesRequest { component_id }))
            .await
            .map_err(|status| broker::refused(&status))?;
        Ok::<_, Failure>(reply.into_inner())
    });
    let Ok(reply) = asked else {
        context
            .console
            .say("how often it was used is known to the broker, which does not answer");
        return;
    };
    let counted = reply.components.into_iter().next();
    if counted.as_ref().is_some_and(|counted| !counted.readable) {
        context
            .console
            .warning("its uses cannot be counted, so what it bounds is denied");
        context
            .console
            .hint(&format!("packctl grant reset {}", grant.component()));
        return;
    }
    for (permission, conditions) in bounded {
        context
            .console
            .say(&line(&permission, conditions, counted.as_ref()));
    }
}

fn bounded(grant: &Grant) -> impl Iterator<Item = (PermissionName, &Conditions)> {
    let built_in = rumi_policy::Permission::ALL
        .into_iter()
        .map(PermissionName::from);
    let custom = grant.custom().keys().cloned().map(PermissionName::Custom);
    built_in.chain(custom).filter_map(|permission| {
        let conditions = grant.conditions(&permission)?;
        conditions.counts_uses().then_some((permission, conditions))
    })
}

fn line(
    permission: &PermissionName,
    conditions: &Conditions,
    counted: Option<&ComponentUses>,
) -> String {
    let uses = counted.and_then(|counted| {
        let mut all = counted.permissions.iter();
        all.find(|uses| uses.permission == permission.as_str())
    });
    let total = uses.map_or(0, |uses| uses.total);
    let of = conditions
        .max_uses()
        .map_or(String::new(), |most| format!(" of {most}"));
    let last = match uses.map(|uses| uses.latest_unix_ms) {
        Some(at) if at > 0 => format!(", last {} ago", Moment::from_unix_ms(at).ago(Moment::now())),
        _ => String::new(),
    };
    format!("`{permission}` was used {total}{of} times{last}")
}

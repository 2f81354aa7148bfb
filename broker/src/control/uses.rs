//! How often grants were used, shown and begun anew.

use rumi_audit::{Admin, Peer};
use rumi_policy::{ComponentId, PermissionName, Uses};
use rumi_proto::v1;
use tonic::Status;

use super::ControlService;

const ACTION: &str = "grant_reset";

impl ControlService {
    pub(super) fn counted(&self, request: &v1::UsesRequest) -> Result<v1::UsesResponse, Status> {
        let wanted = match request.component_id.as_str() {
            "" => None,
            text => Some(component(text)?),
        };
        let listed = self.packs.broker().usages().list().into_iter();
        let listed = listed.filter(|counted| match &wanted {
            Some(wanted) => counted.component == *wanted,
            None => true,
        });
        let components = listed.map(|counted| v1::ComponentUses {
            component_id: counted.component.to_string(),
            readable: counted.uses.is_some(),
            permissions: counted.uses.iter().flatten().map(shown).collect(),
        });
        Ok(v1::UsesResponse {
            components: components.collect(),
        })
    }

    pub(super) async fn count_anew(
        &self,
        actor: Peer,
        request: &v1::GrantResetRequest,
    ) -> Result<v1::GrantResetResponse, Status> {
        let component = component(&request.component_id)?;
        let permission: Option<PermissionName> = match request.permission.as_str() {
            "" => None,
            text => Some(text.parse().map_err(invalid)?),
        };
        let usages = self.packs.broker().usages();
        if !usages.counts(&component) {
            return Err(Status::not_found(format!(
                "no uses of `{component}` were counted; they are where its grant says `max_uses` or `rate_per_minute`"
            )));
        }
        let target = permission.as_ref().map_or("", PermissionName::as_str);
        self.admin(actor, ACTION, target, Some(&component)).await?;
        match usages.reset(&component, permission.as_ref()) {
            Ok(before) => Ok(v1::GrantResetResponse {
                before: before.unwrap_or_default(),
                readable: before.is_some(),
            }),
            Err(error) => {
                // What was announced and did not happen must not stand in the log as if it had.
                let failed = Admin {
                    actor,
                    action: ACTION,
                    target: target.as_bytes(),
                    pack: Some(component.pack_str()),
                    component: Some(component.as_str()),
                    reason: Some("failed"),
                    detail: None,
                };
                let recorded = self.packs.broker().audit().admin(failed).await;
                recorded.map_err(|error| Status::unavailable(error.to_string()))?;
                Err(Status::failed_precondition(error.to_string()))
            }
        }
    }
}

fn component(text: &str) -> Result<ComponentId, Status> {
    text.parse().map_err(invalid)
}

fn invalid(error: rumi_policy::SpellingError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn shown((permission, uses): &(PermissionName, Uses)) -> v1::PermissionUses {
    v1::PermissionUses {
        permission: permission.to_string(),
        total: uses.total(),
        latest_unix_ms: uses.latest().map_or(0, |latest| latest.0),
    }
}

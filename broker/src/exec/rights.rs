//! What a run may ask for: a grant that is held for its identity alone, and for as long as it runs.

use std::{fs, io, path::PathBuf, sync::Arc};

use rumi_policy::{ComponentId, Grant, PolicySet};
use serde_json::Value;

use crate::{broker::Broker, daemon, trust::BundleError};

/// The admin's grant for code that brings none, as every grant in `grants/`.
pub(super) const DEFAULT: &str = "exec:tool:run";

/// Why a run has no rights, or not those that it was to have.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// It is no grant.
    #[error("the grant of the run cannot be used: {0}")]
    Grant(String),
    /// The admin's cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// It asks for the network and has none.
    #[error(
        "the run is to have the network, and its grant gives it none; remedy: give --grant FILE with `network`, or packctl grant add {DEFAULT} network HOST"
    )]
    NoNetwork,
    /// What its programs trust.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The change cannot be written down.
    #[error("the audit log cannot be written, so nothing is done: {0}")]
    Audit(#[from] rumi_audit::Unavailable),
    /// The broker failed.
    #[error("the policy could not be changed; the broker's log says why")]
    Failed,
}

/// A grant in force, until it is given back.
#[derive(Debug)]
pub(super) struct Rights {
    broker: Arc<Broker>,
    component: ComponentId,
    lent: bool,
}

impl Rights {
    /// Puts the grant into force that was given, or else the admin's for code, or else none. The network is
    /// taken out of it unless it was asked for.
    pub(super) async fn lend(
        broker: &Arc<Broker>,
        component: &ComponentId,
        given: Option<&str>,
        network: bool,
    ) -> Result<Self, RightsError> {
        let mut rights = Self {
            broker: Arc::clone(broker),
            component: component.clone(),
            lent: false,
        };
        let text = match given {
            Some(text) => Some(text.as_bytes().to_vec()),
            None => default(broker)?,
        };
        let grant = text
            .map(|text| for_component(&text, component, network))
            .transpose()?;
        if network && grant.as_ref().is_none_or(|(_, reaches)| !reaches) {
            return Err(RightsError::NoNetwork);
        }
        if let Some((grant, _)) = grant {
            rights.lent = true;
            rights.change(Some(grant)).await?;
            let policy = broker.policy().current();
            if policy.set.grant(component).is_none() {
                return Err(RightsError::Grant(problem(&policy.set, component)));
            }
            if network {
                broker.bundles().write(component, &policy.set)?;
            }
        }
        Ok(rights)
    }

    async fn change(&self, grant: Option<Vec<u8>>) -> Result<(), RightsError> {
        let (broker, component) = (Arc::clone(&self.broker), self.component.clone());
        // Files are read and directories are opened for it.
        let changed = tokio::task::spawn_blocking(move || {
            broker.policy().lend(&component, grant);
            broker.bundles().follow(&broker.policy().current().set);
        });
        changed.await.map_err(|error| {
            tracing::error!(%error, "a grant could not be lent");
            RightsError::Failed
        })?;
        let policy = self.broker.policy().current();
        Ok(daemon::note_policy(&self.broker, &policy.set).await?)
    }

    /// Takes the grant out of force.
    pub(super) async fn give_back(mut self) {
        if std::mem::take(&mut self.lent)
            && let Err(error) = self.change(None).await
        {
            tracing::error!(component = %self.component, %error, "the end of a grant could not be recorded");
        }
        self.broker.bundles().forget(&self.component);
    }
}

impl Drop for Rights {
    /// Where nobody gave it back, because something failed.
    fn drop(&mut self) {
        if self.lent {
            self.broker.policy().lend(&self.component, None);
            self.broker.bundles().forget(&self.component);
        }
    }
}

fn default(broker: &Broker) -> Result<Option<Vec<u8>>, RightsError> {
    let path = broker.layout().grants().join(format!("{DEFAULT}.json"));
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RightsError::Read { path, source }),
    }
}

/// The same grant for this component, and whether it reaches the network.
fn for_component(
    text: &[u8],
    component: &ComponentId,
    network: bool,
) -> Result<(Vec<u8>, bool), RightsError> {
    let wrong = |why: String| RightsError::Grant(why);
    let mut grant: Value =
        serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    let named = grant.get("component_id").and_then(Value::as_str);
    let named = named.ok_or_else(|| wrong("it names no `component_id`".to_owned()))?;
    // As strictly as every other file: a key that is there twice, or is unknown, ends here.
    let parsed = Grant::parse(&format!("{named}.json"), text)
        .map_err(|problem| wrong(problem.to_string()))?;
    let reaches = parsed.network().is_some_and(|network| network.enabled);
    let fields = grant
        .as_object_mut()
        .ok_or_else(|| wrong("it is no object".to_owned()))?;
    fields.insert("component_id".to_owned(), component.as_str().into());
    if !network
        && let Some(permissions) = fields.get_mut("permissions").and_then(Value::as_object_mut)
    {
        permissions.remove("network");
    }
    let bytes = serde_json::to_vec(&grant).map_err(|error| wrong(error.to_string()))?;
    Ok((bytes, reaches))
}

fn problem(set: &PolicySet, component: &ComponentId) -> String {
    let file = component.grant_file();
    let found = set.problems().iter().map(ToString::to_string);
    found
        .into_iter()
        .find(|problem| problem.contains(&file))
        .unwrap_or_else(|| "the policy does not take it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_becomes_that_of_the_run_and_loses_the_network_unless_asked_for() {
        let component = ComponentId::of_code(1, 2);
        let text = br#"{"component_id": "a:tool:b", "permissions": {
            "network": {"enabled": true, "allowed_domains": ["example.com"], "allowed_ports": [443]},
            "env_read": {"enabled": true, "allowed_keys": ["K"]}}}"#;
        for network in [true, false] {
            let (bytes, reaches) = for_component(text, &component, network).unwrap();
            assert!(reaches);
            let grant = Grant::parse(&component.grant_file(), &bytes).unwrap();
            assert_eq!(grant.network().is_some(), network);
            assert!(grant.env_read().is_some());
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        let component = ComponentId::of_code(1, 2);
        for text in [
            "",
            "[]",
            "{}",
            r#"{"component_id": "x", "permissions": {}}"#,
            r#"{"component_id": "a:tool:b", "permissions": {}, "more": 1}"#,
            r#"{"component_id": "a:tool:b", "permissions": {}, "permissions": {}}"#,
        ] {
            assert!(
                for_component(text.as_bytes(), &component, true).is_err(),
                "{text}"
            );
        }
    }
}

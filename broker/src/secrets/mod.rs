//! Secret values: kept sealed on disk, lent to whoever was granted them, and told to nobody else.

mod codec;
mod import;
mod injected;
mod key;
mod sealed;
mod secret;
mod store;

use std::{collections::BTreeMap, sync::Arc};

use rumi_policy::EnvKey;
use zeroize::Zeroizing;

pub use self::{
    import::import,
    injected::{Carried, inject},
    secret::Secret,
    store::{Store, StoreError},
};
use crate::config::EnvSource;

/// The sources of `env_read`, in the order in which they are asked.
#[derive(Debug)]
pub struct Values {
    store: Arc<Store>,
    sources: Vec<EnvSource>,
}

impl Values {
    /// Sources in the order the configuration gives.
    #[must_use]
    pub fn new(store: Arc<Store>, sources: Vec<EnvSource>) -> Self {
        Self { store, sources }
    }

    /// The values of those keys that exist; the first source that has a key wins. A secret that was
    /// changed is the new one at once.
    ///
    /// # Errors
    /// When the store of secrets cannot be used: a key that it may hold must not be answered from
    /// somewhere else.
    pub fn get<'a>(
        &self,
        keys: impl Iterator<Item = &'a EnvKey>,
    ) -> Result<BTreeMap<String, Secret>, Arc<StoreError>> {
        let mut values = BTreeMap::new();
        for key in keys {
            for source in &self.sources {
                let value = match source {
                    EnvSource::Secrets => self.store.get(key)?,
                    EnvSource::Environment => std::env::var(key.as_str())
                        .ok()
                        .map(|value| Secret::new(Zeroizing::new(value))),
                };
                if let Some(value) = value {
                    values.insert(key.to_string(), value);
                    break;
                }
            }
        }
        Ok(values)
    }
}

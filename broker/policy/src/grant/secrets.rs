//! Which secrets a grant names.

use super::Grant;
use crate::ids::EnvKey;
use crate::template::Template;

impl Grant {
    /// The secrets without which something of this grant cannot work.
    pub fn used_secrets(&self) -> impl Iterator<Item = &EnvKey> {
        let environment = self.terminal().and_then(|terminal| terminal.env.as_ref());
        let environment = environment.into_iter().flat_map(|env| env.values());
        let inject = self.network().and_then(|network| network.inject.as_ref());
        let headers = inject.into_iter().flat_map(|hosts| hosts.values());
        let headers = headers.flat_map(|headers| headers.values());
        environment.chain(headers).flat_map(Template::secrets)
    }

    /// Whether the component may read this secret, or makes use of it without seeing it.
    pub fn names_secret(&self, name: &EnvKey) -> bool {
        let read = self.env_read().map(|grant| &grant.allowed_keys);
        read.is_some_and(|keys| keys.contains(name)) || self.used_secrets().any(|used| used == name)
    }
}

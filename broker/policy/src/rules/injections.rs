//! Which headers are added for which host.

use std::collections::HashMap;
use std::sync::Arc;

use crate::grant::{Inject, InjectedHeader};
use crate::host::{Host, Scheme};
use crate::template::Template;

/// Headers of one host, in the order of their names.
pub type Headers = Arc<[(InjectedHeader, Template)]>;

#[derive(Debug, Default)]
pub(crate) struct Injections {
    https: HashMap<Host, Headers>,
    http: HashMap<Host, Headers>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(crate) enum Injection {
    Nothing,
    Headers(Headers),
    /// There is a secret for this host, and this way is open to all who listen.
    OnlyOverTls,
}

impl Injections {
    pub(crate) fn new(inject: Option<&Inject>) -> Self {
        let mut injections = Self::default();
        for (host, headers) in inject.into_iter().flatten() {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let map = match host.scheme() {
                Scheme::Https => &mut injections.https,
                Scheme::Http => &mut injections.http,
            };
            map.insert(host.host().clone(), headers);
        }
        injections
    }

    pub(crate) fn of(&self, scheme: Scheme, host: &Host) -> Injection {
        let map = match scheme {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
        };
        match map.get(host) {
            Some(headers) => Injection::Headers(Arc::clone(headers)),
            None if scheme == Scheme::Http && self.https.contains_key(host) => {
                Injection::OnlyOverTls
            }
            None => Injection::Nothing,
        }
    }
}

//! Confirmations as the policy gives them out, for servers on this machine.

use std::{net::IpAddr, time::Duration};

use rumi_policy::{
    ComponentId, Confirmed, Network, NetworkAsk, NetworkFound, Permission, PolicySet, PolicySource,
    SourceFile, UnixMillis, decide,
};
use tokio::time::Instant;

use crate::outbound::Limits;

/// Far more time and room than a test needs, so that only the grant's limits count.
pub(super) fn ample() -> Limits {
    Limits {
        deadline: Instant::now() + Duration::from_secs(60),
        body_bytes: u64::MAX,
    }
}

/// What a test asks for, and how much of it the grant allows.
pub(super) struct Wish<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) addresses: &'a [&'a str],
    pub(super) timeout_ms: u64,
    pub(super) max_response_bytes: u64,
}

impl<'a> Wish<'a> {
    pub(super) fn get(url: &'a str) -> Self {
        Self {
            method: "GET",
            url,
            addresses: &["127.0.0.1"],
            timeout_ms: 10_000,
            max_response_bytes: 1024 * 1024,
        }
    }

    /// Loopback is excepted from the table, as an admin would for a server of his own.
    pub(super) fn confirmed(&self) -> Confirmed<Network> {
        let found = NetworkFound {
            addresses: self
                .addresses
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            own: Vec::new(),
            // `::1` is judged as the IPv4-compatible form of 0.0.0.1, too.
            exceptions: ["127.0.0.0/8", "127.0.0.1/32", "::1/128"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        };
        self.judged(&found).unwrap()
    }

    pub(super) fn judged(
        &self,
        found: &NetworkFound,
    ) -> Result<Confirmed<Network>, rumi_policy::Denial> {
        let ask = NetworkAsk::parse(self.method, self.url).unwrap();
        let caller: ComponentId = "web:tool:fetcher".parse().unwrap();
        let grant = serde_json::json!({
            "component_id": caller.to_string(),
            "permissions": {"network": {
                "enabled": true,
                "allowed_domains": [ask.host().to_string()],
                "allowed_ports": [ask.port().get()],
                "methods": [self.method],
                "timeout_ms": self.timeout_ms,
                "max_response_bytes": self.max_response_bytes,
            }},
        });
        let scope = serde_json::json!({
            "version": "1.0", "description": "for tests", "default_config": {}, "limits": {},
        });
        let file = |name: String, value: &serde_json::Value| SourceFile {
            name,
            bytes: value.to_string().into_bytes(),
        };
        let set = PolicySet::compile(PolicySource {
            grants: vec![file(caller.grant_file(), &grant)],
            scopes: vec![file("network.json".to_owned(), &scope)],
            protected: Vec::new(),
        });
        // The other permissions have no scope here, which is reported too.
        let understood = set.grant(&caller).is_some() && set.scope(Permission::Network).is_some();
        assert!(understood, "{:?}", set.problems());
        decide::<Network>(&set, &caller, ask, UnixMillis(0))
            .unwrap()
            .confirm(found)
    }
}

/// Addresses from text.
pub(super) fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

//! Names to addresses, over DNS alone.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{ProtoError, rr::Name},
};
use rumi_policy::Host;
use tokio::time::Instant;

use super::{
    deadline,
    name_servers::{NameServers, NameServersUnknown},
    own::Tables,
};

/// A lookup that takes longer has failed, whatever the request's own limit is.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// One question to one server; shorter than the whole, so that a lost datagram is asked again.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// More addresses than a name needs. Beyond it the answer is refused as a whole: judging only a part of
/// it would leave the rest unjudged.
const MAX_ADDRESSES: usize = 64;

/// Asks name servers, and nothing else: not `/etc/hosts`, not mDNS, no search domains.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    name_servers: NameServers,
    tables: Arc<Tables>,
}

/// What the name servers said of a host.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Every address, each once, those of IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they say that it holds.
    pub(crate) until: Instant,
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The name servers say that there are none.
    #[error("`{host}` has no address; check the spelling of the name")]
    NotFound {
        /// The name.
        host: Host,
    },
    /// More addresses than are judged.
    #[error("`{host}` has {count} addresses, and at most {MAX_ADDRESSES} are accepted")]
    TooMany {
        /// The name.
        host: Host,
        /// How many came.
        count: usize,
    },
    /// No answer came in time.
    #[error("no name server answered for `{host}` in {} s; try again later", LOOKUP_TIMEOUT.as_secs())]
    Timeout {
        /// The name.
        host: Host,
    },
    /// The name does not fit into a DNS question.
    #[error("`{host}` is not a name that DNS can carry; use a shorter one")]
    Name {
        /// The name.
        host: Host,
        /// What is wrong with it.
        source: ProtoError,
    },
    /// The name servers failed, or said that they could not answer.
    #[error("the name servers could not answer for `{host}`; try again later")]
    Failed {
        /// The name.
        host: Host,
        /// From the resolver.
        source: Box<NetError>,
    },
    /// It is not known which servers to ask.
    #[error("no name server is known to the broker")]
    NoServers(#[from] NameServersUnknown),
}

impl Resolver {
    /// A resolver that asks these servers.
    pub(crate) fn new(name_servers: NameServers) -> Self {
        Self {
            name_servers,
            tables: Arc::default(),
        }
    }

    pub(super) fn name_servers(&self) -> &NameServers {
        &self.name_servers
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Every address the host has; a literal address is its own answer and asks nobody.
    ///
    /// Answers are kept by the component that asks, if at all: see [`super::answers`].
    pub(crate) async fn resolve(&self, host: &Host) -> Result<Answer, ResolveError> {
        if let Some(address) = host.address() {
            return Ok(Answer {
                addresses: vec![address],
                until: Instant::now(),
            });
        }
        let timeout = || ResolveError::Timeout { host: host.clone() };
        deadline::before(Instant::now() + LOOKUP_TIMEOUT, self.ask(host))
            .await
            .map_err(|_passed| timeout())?
    }

    async fn ask(&self, host: &Host) -> Result<Answer, ResolveError> {
        let mut name = Name::from_ascii(host.as_str()).map_err(|source| ResolveError::Name {
            host: host.clone(),
            source,
        })?;
        name.set_fqdn(true);
        let answer = self.client(host)?.lookup_ip(name).await;
        let (mut addresses, until) = match answer {
            Ok(answer) => {
                let addresses: Vec<IpAddr> = answer.iter().collect();
                (addresses, Instant::from_std(answer.valid_until()))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => (Vec::new(), Instant::now()),
            Err(NetError::Timeout) => return Err(ResolveError::Timeout { host: host.clone() }),
            Err(source) => return Err(failed(host, source)),
        };
        let count = addresses.len();
        if count > MAX_ADDRESSES {
            return Err(ResolveError::TooMany {
                host: host.clone(),
                count,
            });
        }
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        if addresses.is_empty() {
            return Err(ResolveError::NotFound { host: host.clone() });
        }
        Ok(Answer { addresses, until })
    }

    /// A client a lookup: a shared one would hold the system's servers of yesterday, and its cache and
    /// connections would be shared between components.
    fn client(&self, host: &Host) -> Result<TokioResolver, ResolveError> {
        let mut options = ResolverOpts::default();
        options.ndots = 0;
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 2;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        TokioResolver::builder_with_config(
            self.name_servers.config()?,
            TokioRuntimeProvider::default(),
        )
        .with_options(options)
        .build()
        .map_err(|source| failed(host, source))
    }
}

fn failed(host: &Host, source: NetError) -> ResolveError {
    ResolveError::Failed {
        host: host.clone(),
        source: Box::new(source),
    }
}

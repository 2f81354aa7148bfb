//! Which name servers are asked: those of the configuration, else those of the system.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::NetError,
    system_conf::parse_resolv_conf,
};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The name servers to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameServers {
    /// Those of `/etc/resolv.conf`, read anew at each lookup, because a laptop or a VPN rewrites it
    /// while the broker runs.
    System,
    /// Exactly these.
    Listed(Vec<SocketAddr>),
}

/// Why the system's name servers are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameServersUnknown {
    /// The file cannot be read.
    #[error(
        "cannot read `{RESOLV_CONF}`; list name servers under network.resolvers in docker/config.json"
    )]
    Read(#[source] io::Error),
    /// The file names no server, or not in its own syntax.
    #[error(
        "`{RESOLV_CONF}` names no usable name server; add a `nameserver` line, or list name servers under network.resolvers in docker/config.json"
    )]
    Parse(#[source] NetError),
}

impl NameServers {
    /// The resolver's configuration: servers only. Search domains and the host's own domain are left
    /// out, because with them a granted name could come to mean another one.
    pub(super) fn config(&self) -> Result<ResolverConfig, NameServersUnknown> {
        let servers = match self {
            Self::System => {
                let text = std::fs::read(RESOLV_CONF).map_err(NameServersUnknown::Read)?;
                let (config, _options) =
                    parse_resolv_conf(text).map_err(NameServersUnknown::Parse)?;
                config.name_servers().to_vec()
            }
            Self::Listed(servers) => servers.iter().copied().map(listed).collect(),
        };
        Ok(ResolverConfig::from_name_servers(servers))
    }

    /// Their addresses, which no pack may reach.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>, NameServersUnknown> {
        match self {
            Self::System => Ok(self
                .config()?
                .name_servers()
                .iter()
                .map(|server| server.ip)
                .collect()),
            Self::Listed(servers) => Ok(servers.iter().map(SocketAddr::ip).collect()),
        }
    }
}

fn listed(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = server.port();
            connection
        })
        .to_vec();
    NameServerConfig::new(server.ip(), true, connections)
}

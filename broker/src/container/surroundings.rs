//! What unmodified software finds around itself in a pack's container.

use std::collections::HashMap;

use bollard::models::HostConfig;
use rumi_policy::ComponentId;

/// Variables by which programs are told of a bundle of certificate authorities. None of them
/// knows the others'.
const BUNDLE_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
];

/// Where the guest answers names; see `docker/guest/src/init/names.rs`.
pub(super) const NAME_SERVER: &str = "127.0.0.1";

/// The environment of a component's worker, and so of all that it starts. The address and the
/// secret of the loopback proxy are the guest's to add: the engine would show them to everybody
/// who may ask it.
pub(super) fn environment(component: &ComponentId) -> Vec<String> {
    let mut variables = vec![
        format!("RUMI_SOCKET=/run/rumi/{component}.sock"),
        format!("RUMI_COMPONENT={component}"),
        format!(
            "PATH=/run/rumi/bin/{}:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
            component.name_in_path()
        ),
        "HOME=/workspace".into(),
        "LANG=C.UTF-8".into(),
    ];
    let bundle = format!("/run/rumi/ca/{component}.pem");
    variables.extend(BUNDLE_VARIABLES.map(|name| format!("{name}={bundle}")));
    variables
}

/// The same for a program that is given its environment one variable at a time, and may have no network.
pub fn surroundings_of(
    component: &ComponentId,
    network: bool,
) -> impl Iterator<Item = (String, String)> {
    let variables = environment(component).into_iter().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    variables.filter(move |(name, _)| network || !BUNDLE_VARIABLES.contains(&name.as_str()))
}

/// Sends all questions for names to the guest.
pub(super) fn with_names(config: HostConfig) -> HostConfig {
    HostConfig {
        dns: Some(vec![NAME_SERVER.into()]),
        // Without it the engine copies the host's search domains, which are nobody's business.
        dns_search: Some(vec![".".into()]),
        // The guest is there or it is not; nothing gets better by waiting.
        dns_options: Some(vec!["timeout:2".into(), "attempts:2".into()]),
        ..with_ports(config)
    }
}

/// Lets the guest, which holds no capability, listen on the ports that clients connect to. The engines that
/// set this by themselves do not do so under every configuration.
pub(super) fn with_ports(config: HostConfig) -> HostConfig {
    HostConfig {
        sysctls: Some(HashMap::from([(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        )])),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_finds_its_own_places() {
        let component: ComponentId = "default:tool:my_tool".parse().unwrap();
        let variables = environment(&component);
        let value = |name: &str| {
            variables
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        // A colon would end the directory's name.
        let first = value("PATH").unwrap().split(':').next().unwrap();
        assert_eq!(first, "/run/rumi/bin/default.tool.my_tool");
        for name in BUNDLE_VARIABLES {
            assert_eq!(value(name), Some("/run/rumi/ca/default:tool:my_tool.pem"));
        }
    }
}

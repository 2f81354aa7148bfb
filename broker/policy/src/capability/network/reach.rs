//! Which hosts and ports a component reaches, whatever it does there.

use super::tunnel::TunnelForm;
use crate::denial::{Denial, Remedy};
use crate::host::{Host, Port};
use crate::ids::ComponentId;
use crate::permission::Permission;
use crate::reason::Reason;
use crate::rules::domains::Verdict;
use crate::rules::{NetworkLimits, NetworkRule};

/// Refuses a host that the scope forbids to everybody.
pub(super) fn check_host(limits: &NetworkLimits, host: &Host) -> Result<(), Denial> {
    let Some(entry) = limits.forbidden.iter().find(|domain| domain.matches(host)) else {
        return Ok(());
    };
    let sentence = format!("the host `{host}` is out of bounds for every component");
    Err(Denial::new(Reason::ForbiddenByScope, sentence)
        .with_detail(format!("`{entry}` is forbidden to all by the scope")))
}

/// Refuses a port that the scope forbids for HTTP and TLS.
pub(super) fn check_port(limits: &NetworkLimits, port: Port) -> Result<(), Denial> {
    if limits.forbidden_ports.contains(&port) {
        return Err(out_of_bounds(port, "forbidden_ports"));
    }
    Ok(())
}

fn out_of_bounds(port: Port, list: &str) -> Denial {
    let sentence = format!("port {port} is out of bounds for every component");
    Denial::new(Reason::ForbiddenByScope, sentence)
        .with_detail(format!("`{list}` of the scope lists it"))
}

/// Whether `allowed_domains` and `allowed_ports` name this host and port.
pub(super) fn check_domain(
    rule: &NetworkRule,
    host: &Host,
    port: Port,
    remedy: impl FnOnce() -> Option<Remedy>,
) -> Result<(), Denial> {
    let (reason, sentence) = match rule.domains.judge(host, port, &rule.ports) {
        Verdict::Allowed => return Ok(()),
        Verdict::OtherPort => (
            Reason::PortNotAllowed,
            format!("port {port} of `{host}` was not granted to this component"),
        ),
        Verdict::Unknown => (
            Reason::DomainNotAllowed,
            format!("the host `{host}` was not granted to this component"),
        ),
    };
    Err(Denial::new(reason, sentence).with_remedy(remedy()))
}

/// Whether a tunnel to this host and port may be opened, and what may pass through it.
pub(super) fn admit(
    caller: &ComponentId,
    rule: &NetworkRule,
    host: &Host,
    port: Port,
) -> Result<TunnelForm, Denial> {
    check_host(&rule.limits, host)?;
    if rule.tcp.contains(host, port) {
        if rule.limits.forbidden_tcp_ports.contains(&port) {
            return Err(out_of_bounds(port, "forbidden_tcp_ports"));
        }
        return Ok(TunnelForm::Raw);
    }
    check_port(&rule.limits, port)
        .map_err(|denial| denial.with_remedy(tcp_of(caller, &rule.limits, host, port)))?;
    check_domain(rule, host, port, || {
        grant_of(caller, &rule.limits, host, port)
    })?;
    if port == Port::HTTP {
        return Ok(TunnelForm::Http);
    }
    if host.address().is_some() {
        let sentence = format!(
            "TLS to the address `{host}` names no server, so what passes cannot be checked; use the \
             host's name, or have `{}` granted as `tcp`",
            host.with_port(port)
        );
        let remedy = tcp_of(caller, &rule.limits, host, port);
        return Err(Denial::new(Reason::SniMismatch, sentence).with_remedy(remedy));
    }
    if rule.intercept.contains(host) {
        return Ok(TunnelForm::Intercepted);
    }
    check_narrowing(rule, host)?;
    Ok(TunnelForm::Tls)
}

/// Inside TLS nobody sees methods and paths: a grant that names them would not be kept.
fn check_narrowing(rule: &NetworkRule, host: &Host) -> Result<(), Denial> {
    let (reason, what) = if rule.narrowed.methods {
        (Reason::MethodNotAllowed, "methods")
    } else if rule.narrowed.paths {
        (Reason::PathNotAllowed, "paths")
    } else {
        return Ok(());
    };
    let sentence = format!(
        "the policy narrows `{what}`, which cannot be seen inside a TLS tunnel to `{host}`; ask the \
         broker for the request itself (`fetch`)"
    );
    Err(Denial::new(reason, sentence)
        .with_detail("the grant's `intercept` would let the broker see into this host's tunnels"))
}

/// The command that would grant a connection that carries anything.
pub(super) fn tcp_of(
    caller: &ComponentId,
    limits: &NetworkLimits,
    host: &Host,
    port: Port,
) -> Option<Remedy> {
    check_host(limits, host).ok()?;
    let open = !limits.forbidden_tcp_ports.contains(&port);
    let value = format!("tcp://{}", host.with_port(port));
    open.then(|| Remedy::grant_add(caller, Permission::Network, [value]))
}

/// The command that would grant this host and port.
pub(super) fn grant_of(
    caller: &ComponentId,
    limits: &NetworkLimits,
    host: &Host,
    port: Port,
) -> Option<Remedy> {
    check_host(limits, host).ok()?;
    check_port(limits, port).ok()?;
    let value = if !host.is_v6() && port == Port::HTTPS {
        host.to_string()
    } else {
        host.with_port(port)
    };
    Some(Remedy::grant_add(caller, Permission::Network, [value]))
}

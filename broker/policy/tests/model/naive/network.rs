//! Requests and tunnels.

use std::net::IpAddr;

use super::spelling::{is_address, is_host};
use super::wildcards::fits_path;
use super::{Given, Objections, Opinion, first};
use crate::request::{Found, Terms};

const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const OTHER_METHOD: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];
const OTHER_PATH: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-prefix",
];

/// Whether it is `https`, host, port, and path without the query.
pub fn url(text: &str) -> Option<(bool, String, u64, String)> {
    let strange = |c: char| !c.is_ascii_graphic() || "#\\\"<>".contains(c);
    if text.len() > 8192 || text.contains(strange) {
        return None;
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return None,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, port) = authority(&rest[..end])?;
    let path = rest[end..].split('?').next().unwrap();
    let path = if path.is_empty() { "/" } else { path };
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Some((tls, host, port, path.to_owned()))
}

/// `host`, `host:port`, and the same with an IPv6 address in brackets.
pub fn authority(text: &str) -> Option<(String, Option<u64>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        if !host.contains(':') {
            return None;
        }
        match after {
            "" => (host, None),
            after => (host, Some(after.strip_prefix(':')?)),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if !is_host(host) {
        return None;
    }
    let Some(port) = port else {
        return Some((host.to_owned(), None));
    };
    let number: u64 = port.parse().ok()?;
    let plain = number.to_string() == port && (1..=65535).contains(&number);
    plain.then(|| (host.to_owned(), Some(number)))
}

/// `example.com` is that host only, `*.example.com` its subdomains only.
fn domain_covers(domain: &str, host: &str) -> bool {
    match domain.strip_prefix("*.") {
        None => domain == host,
        Some(parent) if is_address(host) => domain == parent,
        Some(parent) => {
            let host: Vec<&str> = host.split('.').collect();
            let parent: Vec<&str> = parent.split('.').collect();
            host.len() > parent.len() && host[host.len() - parent.len()..] == parent[..]
        }
    }
}

/// The domain of an entry of `allowed_domains`, and the port where it names one.
fn entry(text: &str) -> (String, Option<u64>) {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once("]:").unwrap();
        return (host.to_owned(), Some(port.parse().unwrap()));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_owned(), Some(port.parse().unwrap())),
        _ => (text.to_owned(), None),
    }
}

fn forbidden_host(given: &Given, host: &str) -> bool {
    let domains = given.limit_texts("forbidden");
    domains.iter().any(|domain| domain_covers(domain, host))
}

fn allowed_ports(given: &Given) -> Vec<u64> {
    given.ports("allowed_ports").unwrap_or_else(|| vec![443])
}

fn methods(given: &Given) -> Vec<String> {
    let usual = || USUAL.map(str::to_owned).to_vec();
    given.texts("methods").unwrap_or_else(usual)
}

/// A grant narrows methods by naming them, a scope by leaving out one of the usual ones.
fn narrows_methods(given: &Given) -> bool {
    let methods = methods(given);
    given.grant["methods"].is_array()
        || USUAL
            .iter()
            .any(|usual| !methods.iter().any(|method| method == usual))
}

fn narrows_paths(given: &Given) -> bool {
    given.grant["paths"].is_array()
}

/// What holds against host and port, whatever is done there.
fn against_host(given: &Given, host: &str, port: u64) -> Objections {
    let mut known = false;
    for text in given.granted("allowed_domains") {
        let (domain, own_port) = entry(&text);
        if !domain_covers(&domain, host) {
            continue;
        }
        known = true;
        let fits = match own_port {
            Some(own_port) => own_port == port,
            None => allowed_ports(given).contains(&port),
        };
        if fits {
            return Vec::new();
        }
    }
    vec![if known {
        "port_not_allowed"
    } else {
        "domain_not_allowed"
    }]
}

pub fn fetch(given: &Given, method: &str, address: &str, headers: &[String]) -> Opinion {
    let (tls, host, port, path) = url(address).unwrap();
    let mut forbidden = Vec::new();
    if forbidden_host(given, &host) || given.limit_ports("forbidden_ports").contains(&port) {
        forbidden.push("forbidden_by_scope");
    }
    let mut objections = against_host(given, &host, port);
    if !methods(given).iter().any(|allowed| allowed == method) {
        objections.push("method_not_allowed");
    }
    if narrows_paths(given) && !path_fits(given, &path) {
        objections.push("path_not_allowed");
    }
    for header in headers {
        let header = header.to_ascii_lowercase().replace('_', "-");
        if narrows_methods(given) && OTHER_METHOD.contains(&header.as_str()) {
            objections.push("method_not_allowed");
        }
        if narrows_paths(given) && OTHER_PATH.contains(&header.as_str()) {
            objections.push("path_not_allowed");
        }
    }
    // A secret goes over https only, unless the host is written with `http://`.
    let inject = &given.grant["inject"];
    let plain = &inject[format!("http://{host}")];
    let added = if tls { &inject[&host] } else { plain };
    if !tls && plain.is_null() && !inject[&host].is_null() {
        objections.push("domain_not_allowed");
    }
    let mut added: Vec<String> = added
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), value.as_str().unwrap()))
        .collect();
    added.sort();
    let timeout = given.number("timeout_ms", 30_000);
    let reply = given.number("max_response_bytes", 64 << 20);
    let terms = Terms::from([
        ("timeout_ms", timeout.to_string()),
        ("max_response_bytes", reply.to_string()),
        ("inject", added.join("\n")),
    ]);
    first(vec![forbidden, objections], terms)
}

/// One of the globs matches, and servers cannot read the path in more than one way: no dots, no
/// empty segments, no encoded slashes.
fn path_fits(given: &Given, path: &str) -> bool {
    let lower = path.to_lowercase();
    if lower.contains("%2f") || lower.contains("%5c") {
        return false;
    }
    let names: Vec<&str> = lower[1..].split('/').collect();
    for (at, name) in names.iter().enumerate() {
        let decoded = name.replace("%2e", ".");
        let is_last = at + 1 == names.len();
        if decoded == "." || decoded == ".." || (name.is_empty() && !is_last) {
            return false;
        }
    }
    given
        .granted("paths")
        .iter()
        .any(|glob| fits_path(&glob[1..], &path[1..]))
}

/// The form of a tunnel to this host and port.
fn form(given: &Given, host: &str, port: u64) -> Result<&'static str, Objections> {
    if forbidden_host(given, host) {
        return Err(vec!["forbidden_by_scope"]);
    }
    let named = |text: &String| authority(text) == Some((host.to_owned(), Some(port)));
    if given.granted("tcp").iter().any(named) {
        return if given.limit_ports("forbidden_tcp_ports").contains(&port) {
            Err(vec!["forbidden_by_scope"])
        } else {
            Ok("tcp")
        };
    }
    if given.limit_ports("forbidden_ports").contains(&port) {
        return Err(vec!["forbidden_by_scope"]);
    }
    let objections = against_host(given, host, port);
    if !objections.is_empty() {
        return Err(objections);
    }
    if port == 80 {
        return Ok("http");
    }
    // TLS to an address names no server.
    if is_address(host) {
        return Err(vec!["sni_mismatch"]);
    }
    if given.granted("intercept").iter().any(|own| own == host) {
        return Ok("intercepted");
    }
    // Nobody sees methods and paths inside.
    let mut objections = Vec::new();
    if narrows_methods(given) {
        objections.push("method_not_allowed");
    }
    if narrows_paths(given) {
        objections.push("path_not_allowed");
    }
    if objections.is_empty() {
        Ok("tls")
    } else {
        Err(objections)
    }
}

pub fn tunnel(given: &Given, target: &str, open_as: Option<&str>) -> Opinion {
    let (host, port) = authority(target).unwrap();
    let form = form(given, &host, port.unwrap())?;
    if open_as.is_some_and(|open_as| open_as != form) {
        return Err(vec!["revoked"]);
    }
    let timeout = given.number("timeout_ms", 30_000);
    Ok(Terms::from([
        ("form", form.to_owned()),
        ("timeout_ms", timeout.to_string()),
    ]))
}

/// All ports to which a tunnel would be allowed, of those that the grant means for this host.
pub fn resolve(given: &Given, host: &str) -> Opinion {
    if forbidden_host(given, host) {
        return Err(vec!["forbidden_by_scope"]);
    }
    let mut candidates = Vec::new();
    for text in given.granted("allowed_domains") {
        let (domain, own_port) = entry(&text);
        if domain_covers(&domain, host) {
            candidates.extend(own_port.map_or_else(|| allowed_ports(given), |port| vec![port]));
        }
    }
    for text in given.granted("tcp") {
        let (named, port) = authority(&text).unwrap();
        if named == host {
            candidates.extend(port);
        }
    }
    candidates.sort_unstable();
    candidates.dedup();
    let mut ports = Vec::new();
    let mut objections = Vec::new();
    for port in candidates {
        match form(given, host, port) {
            Ok(_) => ports.push(port.to_string()),
            Err(reasons) => objections.extend(reasons),
        }
    }
    match (ports.is_empty(), objections.is_empty()) {
        (false, _) => Ok(Terms::from([("ports", ports.join(" "))])),
        (true, false) => Err(objections),
        (true, true) => Err(vec!["domain_not_allowed"]),
    }
}

pub fn confirm_fetch(address: &str, found: &Found) -> Opinion {
    let (_, host, _, _) = url(address).unwrap();
    let steps = vec![against_addresses(&host, found)];
    first(
        steps,
        Terms::from([("addresses", found.addresses.join(" "))]),
    )
}

pub fn confirm_tunnel(given: &Given, target: &str, found: &Found) -> Opinion {
    let (host, port) = authority(target).unwrap();
    let form = form(given, &host, port.unwrap()).unwrap();
    let mut objections = against_addresses(&host, found);
    if matches!(form, "tls" | "intercepted") && found.hello != host {
        objections.push("sni_mismatch");
    }
    first(
        vec![objections],
        Terms::from([("addresses", found.addresses.join(" "))]),
    )
}

/// Addresses that anybody may reach, by hand; all others of the generator are nobody's.
pub const PUBLIC: [&str; 4] = ["93.184.216.34", "1.1.1.1", "8.8.4.4", "2606:4700::1111"];

/// Every address of the answer is judged, and one bad one denies the name. An address of the host's own
/// needs an exception for just that address.
fn against_addresses(host: &str, found: &Found) -> Objections {
    let blocked = vec!["blocked_address"];
    if found.addresses.is_empty() {
        return blocked;
    }
    for address in &found.addresses {
        if is_address(host) && host != address {
            return blocked;
        }
        let single = |range: &&String| {
            let width = if address.contains(':') { 128 } else { 32 };
            **range == format!("{address}/{width}")
        };
        let alone = found.exceptions.iter().any(|range| single(&range));
        let inside = found
            .exceptions
            .iter()
            .any(|range| is_inside(address, range));
        let is_own = found.own.contains(address);
        let is_public = PUBLIC.contains(&address.as_str());
        if (is_own && !alone) || (!is_public && !inside) {
            return blocked;
        }
    }
    Vec::new()
}

/// Whether the first bits of an address are those of a range, bit by bit.
fn is_inside(address: &str, range: &str) -> bool {
    let (network, length) = range.split_once('/').unwrap();
    let bits = |text: &str| -> String {
        match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => format!("{:032b}", u32::from(address)),
            IpAddr::V6(address) => format!("{:0128b}", u128::from(address)),
        }
    };
    let (address, network) = (bits(address), bits(network));
    let length: usize = length.parse().unwrap();
    address.len() == network.len() && address[..length] == network[..length]
}

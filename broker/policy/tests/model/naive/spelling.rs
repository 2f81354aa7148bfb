//! What is no request, however much may be granted: nothing is repaired.

use super::network;
use crate::request::Request;

pub fn is_malformed(request: &Request) -> bool {
    match request {
        Request::FileRead { path, .. } => !is_path(path),
        Request::FileWrite {
            action, path, to, ..
        } => !is_path(path) || (*action == "rename" && !is_path(to)),
        Request::Env { key } => !key.is_empty() && !is_key(key),
        Request::Terminal {
            argv, directory, ..
        } => {
            !is_path(directory)
                || argv.first().is_none_or(|program| !is_program(program))
                || argv.iter().any(|argument| argument.contains('\0'))
        }
        Request::Fetch { method, url, .. } => !is_method(method) || network::url(url).is_none(),
        Request::Tunnel { authority, .. } => match network::authority(authority) {
            Some((_, port)) => port.is_none(),
            None => true,
        },
        Request::Resolve { host } => !is_host(host),
        Request::Custom { handler, .. } => !is_handler(handler),
    }
}

/// Absolute, and in the one spelling it can have. Percent codes, `~` and the like are names.
pub fn is_path(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    if !path.starts_with('/') || path.len() > 4095 || path.contains('\0') {
        return false;
    }
    path[1..]
        .split('/')
        .all(|name| !name.is_empty() && name != "." && name != ".." && name.len() <= 255)
}

fn is_key(key: &str) -> bool {
    key.len() <= 255
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A bare name or an absolute path.
fn is_program(program: &str) -> bool {
    if program.contains(char::is_whitespace) || program.contains(char::is_control) {
        return false;
    }
    if program.starts_with('/') {
        return program != "/" && is_path(program);
    }
    !program.is_empty()
        && program.len() <= 255
        && !program.contains('/')
        && !program.starts_with('-')
        && program != "."
        && program != ".."
}

fn is_method(method: &str) -> bool {
    (1..=24).contains(&method.len())
        && method.chars().all(|c| c.is_ascii_uppercase())
        && method != "CONNECT"
        && method != "TRACE"
}

/// A name in lower case without a dot at its end, or an address in its one spelling.
pub fn is_host(host: &str) -> bool {
    if host.contains(':') {
        let Ok(address) = host.parse::<std::net::Ipv6Addr>() else {
            return false;
        };
        return address.to_string() == host && address.to_ipv4_mapped().is_none();
    }
    if host.len() > 253 {
        return false;
    }
    let labels: Vec<&str> = host.split('.').collect();
    for label in &labels {
        let fits = (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !fits {
            return false;
        }
    }
    let last = labels[labels.len() - 1];
    let is_number = last.chars().all(|c| c.is_ascii_digit())
        || (last.starts_with("0x") && last[2..].chars().all(|c| c.is_ascii_hexdigit()));
    !is_number || is_v4(&labels)
}

pub fn is_address(host: &str) -> bool {
    host.contains(':') || is_v4(&host.split('.').collect::<Vec<_>>())
}

/// Four plain decimal numbers.
fn is_v4(labels: &[&str]) -> bool {
    labels.len() == 4
        && labels.iter().all(|label| {
            (0..=255_u32)
                .map(|number| number.to_string())
                .any(|number| number == *label)
        })
}

fn is_handler(name: &str) -> bool {
    let known = ["file_read", "file_write", "env_read", "terminal", "network"];
    (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !known.contains(&name)
}

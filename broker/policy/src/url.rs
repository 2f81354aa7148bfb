//! The few URLs a component may ask for, taken apart without repairing anything.

use crate::host::{Host, Port, Scheme};

const URL_BYTES: usize = 8192;

pub(crate) struct Parts {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: Port,
    pub(crate) path_and_query: String,
}

/// Splits `http(s)://host[:port][/path][?query]`. User information, fragments, backslashes,
/// white space and non-ASCII text are refused: parsers disagree about each of them.
pub(crate) fn split(url: &str) -> Result<Parts, String> {
    if url.len() > URL_BYTES {
        return Err(format!("the url is longer than {URL_BYTES} bytes"));
    }
    check_characters(url)?;
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err("the url must begin with `https://` or `http://`, in lower case".to_owned());
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("the url must not carry user information".to_owned());
    }
    let (host, port) = split_authority(authority)?;
    let path_and_query = if tail.starts_with('/') {
        tail.to_owned()
    } else {
        format!("/{tail}")
    };
    Ok(Parts {
        scheme,
        host,
        port: port.unwrap_or(scheme.default_port()),
        path_and_query,
    })
}

/// Checks what follows the authority when it did not come out of [`split`].
pub(crate) fn check_path_and_query(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("the path of a url must begin with `/`".to_owned());
    }
    if text.len() > URL_BYTES {
        return Err(format!("the url is longer than {URL_BYTES} bytes"));
    }
    check_characters(text)
}

fn check_characters(text: &str) -> Result<(), String> {
    let strange = |b: u8| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\' | b'"' | b'<' | b'>');
    match text.bytes().find(|b| strange(*b)) {
        Some(b'#') => Err("the url must not carry a fragment".to_owned()),
        Some(_) => Err("the url contains a character that must be percent-encoded".to_owned()),
        None => Ok(()),
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn split_authority(text: &str) -> Result<(Host, Option<Port>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| "the `[` of the host is not closed".to_owned())?;
        if !host.contains(':') {
            return Err("only an ipv6 address stands in brackets".to_owned());
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("after `]` only a port may follow".to_owned()),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an ipv6 address must stand in brackets".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let host = host.parse::<Host>().map_err(|error| error.to_string())?;
    let port = port
        .map(str::parse::<Port>)
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok((host, port))
}

/// Why servers may disagree about what a path names. Where a grant names paths, what it allows must
/// be what the server serves, so such a path is refused rather than repaired.
pub(crate) fn ambiguity(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    for code in ["%2f", "%5c", "%25", "%00"] {
        if lower.contains(code) {
            return Some("has an encoded slash, backslash, percent sign or NUL");
        }
    }
    let mut segments = lower.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Some("has an empty segment");
        }
        // Some servers cut parameters off a segment before they look at it.
        let name = segment.split(';').next().unwrap_or(segment);
        if matches!(name.replace("%2e", ".").as_str(), "." | "..") {
            return Some("has a `.` or `..` segment");
        }
    }
    None
}

//! Headers that describe one connection, and so are nobody's business on the next.

use http::{HeaderMap, HeaderName, header};

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-connection",
];
/// Every header of this kind is for a proxy, and the broker is the last one.
const PROXY: &str = "proxy-";

/// Removes them, and those that `connection` names.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let proxies: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PROXY))
        .cloned()
        .collect();
    let fixed = HOP_BY_HOP.iter().copied().map(HeaderName::from_static);
    for name in named.into_iter().chain(proxies).chain(fixed) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::strip;

    #[test]
    fn what_is_for_one_connection_goes_and_all_else_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Mine, keep-alive,close"),
            ("connection", "x-other"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("x-kept", "1"),
            ("keep-alive", "1"),
            ("proxy-authorization", "Basic x"),
            ("proxy-anything", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer x"),
        ] {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "x-kept"]);
    }
}

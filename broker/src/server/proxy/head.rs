//! The head of a proxied request: one length, one host, and nothing that is meant for the proxy.

use http::{HeaderMap, HeaderValue, Version, header};
use rumi_policy::{Denial, NetworkAsk};

use crate::outbound;

/// Names and values together; common servers refuse more than 8 to 32 KiB.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Checks the headers and leaves those for the server. What could be read in two ways is refused: a second opinion about a
/// request's end or its host is how one request is smuggled inside another.
pub(super) fn end_to_end(
    version: Version,
    mut headers: HeaderMap,
    ask: &NetworkAsk,
) -> Result<HeaderMap, Denial> {
    check_size(&headers)?;
    check_length(&headers)?;
    check_host(version, &headers, ask)?;
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    if upgrade.is_some_and(|asked| asked.eq_ignore_ascii_case(b"websocket")) {
        return Err(Denial::bad_request(
            "a WebSocket passes as `wss://` through `CONNECT` only; plain requests are not upgraded",
        ));
    }
    outbound::strip(&mut headers);
    headers.remove(header::HOST);
    // The broker has answered it already, by reading the body.
    headers.remove(header::EXPECT);
    Ok(headers)
}

fn check_size(headers: &HeaderMap) -> Result<(), Denial> {
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
        .fold(0, usize::saturating_add);
    if bytes > MAX_HEADER_BYTES {
        return Err(Denial::bad_request(format!(
            "the headers of a request may hold at most {MAX_HEADER_BYTES} bytes; send large values in the body"
        )));
    }
    Ok(())
}

fn check_length(headers: &HeaderMap) -> Result<(), Denial> {
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let digits =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let why = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => return Ok(()),
        ([length], []) if digits(length) => return Ok(()),
        ([], [coding]) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => return Ok(()),
        ([_, ..], [_, ..]) => "both `content-length` and `transfer-encoding`",
        ([], _) => "a `transfer-encoding` other than `chunked`",
        (_, []) => "more than one `content-length`, or one that is no number",
    };
    Err(Denial::bad_request(format!("the request has {why}")))
}

fn check_host(version: Version, headers: &HeaderMap, ask: &NetworkAsk) -> Result<(), Denial> {
    let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
    let agrees = match hosts.as_slice() {
        // Before HTTP/1.1 there was no such header.
        [] => version == Version::HTTP_10,
        [host] => host.to_str().is_ok_and(|host| ask.is_authority(host)),
        _ => false,
    };
    if agrees {
        return Ok(());
    }
    Err(Denial::bad_request(format!(
        "the request needs one `host` header, and it must be `{}`",
        ask.authority()
    )))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Version};
    use rumi_policy::NetworkAsk;

    use super::end_to_end;

    fn check(version: Version, url: &str, headers: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let ask = NetworkAsk::parse("POST", url).unwrap();
        end_to_end(version, map, &ask)
            .map(|left| left.keys().map(ToString::to_string).collect())
            .map_err(|denial| denial.sentence)
    }

    #[test]
    fn the_host_must_be_that_of_the_url() {
        let url = "http://a.test:8080/";
        for (host, fits) in [
            ("a.test:8080", true),
            ("a.test", false),
            ("b.test:8080", false),
            ("a.test:8080 ", false),
            ("A.test:8080", false),
            ("", false),
        ] {
            let checked = check(Version::HTTP_11, url, &[("host", host)]);
            assert_eq!(checked.is_ok(), fits, "{host}: {checked:?}");
        }
        for host in ["a.test", "a.test:80"] {
            check(Version::HTTP_11, "http://a.test/", &[("host", host)]).unwrap();
        }
        let twice = [("host", "a.test:8080"), ("host", "a.test:8080")];
        assert!(check(Version::HTTP_11, url, &twice).is_err());
        assert!(check(Version::HTTP_11, url, &[]).is_err());
        assert!(check(Version::HTTP_10, url, &[]).is_ok());
    }

    #[test]
    fn a_request_ends_in_one_way_only() {
        for (headers, part) in [
            (&[("content-length", "5")][..], None),
            (&[("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "Chunked")], None),
            (
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                Some("both"),
            ),
            (
                &[("content-length", "5"), ("content-length", "5")],
                Some("more than one"),
            ),
            (&[("content-length", "+5")], Some("no number")),
            (&[("content-length", "")], Some("no number")),
            (
                &[("transfer-encoding", "gzip, chunked")],
                Some("other than"),
            ),
            (&[("transfer-encoding", "identity")], Some("other than")),
            (
                &[
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                Some("other than"),
            ),
        ] {
            let mut headers = headers.to_vec();
            headers.push(("host", "a.test"));
            let checked = check(Version::HTTP_11, "http://a.test/", &headers);
            match part {
                None => drop(checked.unwrap()),
                Some(part) => {
                    let message = checked.unwrap_err();
                    assert!(message.contains(part), "{headers:?}: {message}");
                }
            }
        }
    }

    #[test]
    fn only_what_is_meant_for_the_server_is_left() {
        let left = check(
            Version::HTTP_11,
            "http://a.test/",
            &[
                ("host", "a.test"),
                ("expect", "100-continue"),
                ("proxy-authorization", "Basic c2VjcmV0"),
                ("proxy-connection", "keep-alive"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("upgrade", "h2c"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(left.unwrap(), ["accept"]);
    }
}

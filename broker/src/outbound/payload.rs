//! What a pack may put into a request: headers that mean something to the far end only, and a body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that steer the connection, or say where the message ends or goes. Those are the broker's to set:
/// a second opinion about any of them is how one request is smuggled inside another.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Every header of this kind is for a proxy, and there is none.
const RESERVED_PREFIX: &str = "proxy-";
/// As many as common servers accept.
const MAX_HEADERS: usize = 100;
/// Names and values together; common servers refuse more than 8 to 32 KiB.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Checked headers and the body of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    headers: HeaderMap,
    body: Bytes,
}

/// What is wrong with a request's headers. Values are never repeated in messages: they may be secrets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PayloadError {
    /// Not a token.
    #[error("`{name}` is not a header name; use letters, digits and hyphens", name = name.escape_debug())]
    Name {
        /// As given.
        name: String,
    },
    /// Line breaks and their kin would begin another header.
    #[error(
        "the value of header `{name}` holds a character other than visible ASCII, space and tab; encode it"
    )]
    Value {
        /// The header.
        name: HeaderName,
    },
    /// One of those the broker sets.
    #[error("header `{name}` is set by the broker; leave it out")]
    Reserved {
        /// The header.
        name: HeaderName,
    },
    /// Too many.
    #[error("a request may carry at most {MAX_HEADERS} headers; leave some out")]
    TooMany,
    /// Too long.
    #[error(
        "the headers of a request may hold at most {MAX_HEADER_BYTES} bytes; send large values in the body"
    )]
    TooLarge,
}

impl Payload {
    /// Checks the headers; nothing is repaired, the first that is not allowed refuses the request.
    pub(crate) fn new<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: Bytes,
    ) -> Result<Self, PayloadError> {
        let mut checked = HeaderMap::new();
        let mut bytes = 0_usize;
        for (name, value) in headers {
            bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
            if bytes > MAX_HEADER_BYTES {
                return Err(PayloadError::TooLarge);
            }
            if checked.len() >= MAX_HEADERS {
                return Err(PayloadError::TooMany);
            }
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| PayloadError::Name {
                    name: name.to_owned(),
                })?;
            if RESERVED.contains(&name.as_str()) || name.as_str().starts_with(RESERVED_PREFIX) {
                return Err(PayloadError::Reserved { name });
            }
            // The HTTP library lets bytes beyond ASCII pass, about whose meaning servers disagree.
            let visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
            let checked_value = value
                .bytes()
                .all(visible)
                .then(|| HeaderValue::from_str(value).ok());
            let Some(value) = checked_value.flatten() else {
                return Err(PayloadError::Value { name });
            };
            checked.append(name, value);
        }
        Ok(Self {
            headers: checked,
            body,
        })
    }

    /// The headers, for what the broker adds.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Bytes of the body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    pub(super) fn into_parts(self) -> (HeaderMap, Bytes) {
        (self.headers, self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, value: &str) -> Option<String> {
        Payload::new([(name, value)], Bytes::new())
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn headers_for_the_far_end_pass() {
        for (name, value) in [
            ("Accept", "*/*"),
            ("Authorization", "Bearer a.b-c"),
            ("X-Empty", ""),
            ("Cookie", "a=b\t; c=\"d\""),
            ("Range", "bytes=0-1"),
        ] {
            assert_eq!(refusal(name, value), None, "{name}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_refused_by_name_in_any_case() {
        for name in [
            "Host",
            "HOST",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "Proxy-Authorization",
            "Proxy-Connection",
            "proxy-anything",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "HTTP2-Settings",
        ] {
            let message = refusal(name, "x").unwrap();
            assert!(
                message.contains(&format!("`{}`", name.to_lowercase())),
                "{message}"
            );
        }
    }

    #[test]
    fn names_that_are_no_tokens_are_refused() {
        for name in [
            "",
            " Accept",
            "Accept ",
            "Acc ept",
            "a:b",
            "a\r\nHost",
            "a\0",
            "h\u{f6}st",
            "Host\u{a0}",
        ] {
            assert!(
                matches!(
                    Payload::new([(name, "x")], Bytes::new()),
                    Err(PayloadError::Name { .. })
                ),
                "{name:?}"
            );
        }
    }

    #[test]
    fn values_that_could_end_the_header_are_refused_and_never_repeated() {
        for value in [
            "a\r\nHost: b",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\u{7f}",
            "a\u{85}",
            "s\u{e9}cret",
            "\u{1b}[2J",
        ] {
            let message = refusal("X-Test", value).unwrap();
            assert!(
                message.contains("`x-test`") && !message.contains(value),
                "{message:?}"
            );
        }
    }

    #[test]
    fn the_flood_is_bounded_in_number_and_bytes() {
        let many = |count| Payload::new((0..count).map(|_| ("a", "b")), Bytes::new()).err();
        assert_eq!(many(MAX_HEADERS), None);
        assert_eq!(many(MAX_HEADERS + 1), Some(PayloadError::TooMany));
        let long = |length| refusal("a", &"b".repeat(length));
        assert_eq!(long(MAX_HEADER_BYTES - 1), None);
        assert_eq!(
            long(MAX_HEADER_BYTES),
            Some(PayloadError::TooLarge.to_string())
        );
    }
}

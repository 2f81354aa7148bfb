//! What goes out on the wire.

use bytes::Bytes;

use super::{
    confirmation::{Wish, ample},
    origin::{Origin, send},
};
use crate::outbound::{Payload, Reply, Tls, fetch, fetch::FetchError};

pub(super) async fn fetch_with(wish: &Wish<'_>, payload: Payload) -> Result<Reply, FetchError> {
    fetch(&Tls::with_roots([]), &wish.confirmed(), payload, ample()).await
}

pub(super) async fn fetch_plain(wish: &Wish<'_>) -> Result<Reply, FetchError> {
    fetch_with(wish, Payload::default()).await
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_request_is_written_as_it_was_judged() {
    let origin = Origin::plain(vec![send(EMPTY)]).await;
    let port = origin.address.port();
    let headers = [("Accept", "text/plain"), ("X-Two", "1"), ("X-Two", "2")];
    for (method, body, extra) in [
        ("GET", "", ""),
        ("DELETE", "", ""),
        ("GET", "query", "content-length: 5\r\n"),
        ("POST", "a=b", "content-length: 3\r\n"),
        ("POST", "", "content-length: 0\r\n"),
        ("PUT", "", "content-length: 0\r\n"),
        ("PROPFIND", "", ""),
    ] {
        let url = origin.url("http", "api.test", "//other.test/a%20b?c=d&e");
        let wish = Wish {
            method,
            ..Wish::get(&url)
        };
        let payload = Payload::new(headers, Bytes::from_static(body.as_bytes())).unwrap();
        fetch_with(&wish, payload).await.unwrap();
        let seen = origin.seen(1).await.pop().unwrap().request;
        origin.forget();
        let (head, sent) = seen.split_once("\r\n\r\n").unwrap();
        let (line, rest) = head.split_once("\r\n").unwrap();
        assert_eq!(line, format!("{method} //other.test/a%20b?c=d&e HTTP/1.1"));
        let mut lines: Vec<&str> = rest.lines().collect();
        lines.sort_unstable();
        let mut expected = format!(
            "accept: text/plain\r\nconnection: close\r\n{extra}host: api.test:{port}\r\nx-two: 1\r\nx-two: 2"
        );
        expected.retain(|c| c != '\r');
        assert_eq!(lines.join("\n"), expected, "{method}");
        assert_eq!(sent, body, "{method}");
    }
}

#[tokio::test]
async fn an_ipv6_host_stands_in_brackets() {
    let Ok(origin) = Origin::start("[::1]:0", None, vec![send(EMPTY)]).await else {
        // A machine without IPv6 cannot be reached that way either.
        return;
    };
    let url = origin.url("http", "[::1]", "/");
    let wish = Wish {
        addresses: &["::1"],
        ..Wish::get(&url)
    };
    fetch_plain(&wish).await.unwrap();
    let seen = origin.seen(1).await.pop().unwrap().request;
    assert!(
        seen.contains(&format!("host: [::1]:{}\r\n", origin.address.port())),
        "{seen}"
    );
}

#[tokio::test]
async fn a_path_that_http_cannot_carry_is_refused_before_anything_is_sent() {
    let origin = Origin::plain(vec![send(EMPTY)]).await;
    let url = origin.url("http", "api.test", "/a`b");
    let error = fetch_plain(&Wish::get(&url)).await.unwrap_err();
    assert!(matches!(error, FetchError::Request(_)), "{error:?}");
    assert!(error.to_string().contains("percent-encode"), "{error}");
    assert!(origin.nobody_came().await);
}

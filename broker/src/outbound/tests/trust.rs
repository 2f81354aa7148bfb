//! Which servers are believed to be the host.

use std::time::{Duration, Instant};

use super::{
    authority::Authority,
    confirmation::{Wish, ample},
    origin::{Origin, Step, forever, send},
};
use crate::outbound::{FetchFailure, Payload, Reply, Tls, fetch, fetch::FetchError, tls::TlsError};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

async fn fetch_from(tls: &Tls, wish: &Wish<'_>) -> Result<Reply, FetchError> {
    fetch(tls, &wish.confirmed(), Payload::default(), ample()).await
}

#[tokio::test]
async fn the_host_is_named_in_the_sni_and_http_1_is_offered() {
    let authority = Authority::new();
    let origin = Origin::tls(authority.server(&["api.test"]), vec![send(HELLO)]).await;
    let url = origin.url("https", "api.test", "/x");
    for _ in 0..2 {
        let reply = fetch_from(&authority.trusted(), &Wish::get(&url))
            .await
            .unwrap();
        assert_eq!(reply.body.as_ref(), b"hello");
    }
    for seen in origin.seen(2).await {
        assert_eq!(seen.sni.as_deref(), Some("api.test"));
        assert_eq!(seen.alpn.as_deref(), Some("http/1.1"));
        assert!(seen.request.starts_with("GET /x HTTP/1.1\r\n"), "{seen:?}");
    }
}

#[tokio::test]
async fn an_address_must_stand_in_the_certificate() {
    let authority = Authority::new();
    for (names, trusted) in [
        (&["127.0.0.1"][..], true),
        (&["api.test"], false),
        (&["127.0.0.2"], false),
    ] {
        let origin = Origin::tls(authority.server(names), vec![send(HELLO)]).await;
        let url = origin.url("https", "127.0.0.1", "/");
        let result = fetch_from(&authority.trusted(), &Wish::get(&url)).await;
        assert_eq!(result.is_ok(), trusted, "{names:?}: {result:?}");
        assert!(origin.seen(1).await.iter().all(|seen| seen.sni.is_none()));
    }
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_refused_and_nothing_is_sent() {
    let authority = Authority::new();
    let (impostor, stranger) = (Authority::new(), Authority::named("stranger"));
    let crowd: Vec<String> = (0..2_000)
        .map(|number| format!("host{number}.test"))
        .collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    for (name, acceptor, why) in [
        (
            "another name",
            authority.server(&["other.test"]),
            "another host",
        ),
        (
            "a subdomain",
            authority.server(&["www.api.test"]),
            "another host",
        ),
        (
            "a wildcard below",
            authority.server(&["*.api.test"]),
            "another host",
        ),
        (
            "a longer name",
            authority.server(&["api.test.evil.test"]),
            "another host",
        ),
        (
            "an address",
            authority.server(&["127.0.0.1"]),
            "another host",
        ),
        ("a crowd", authority.server(&crowd), "another host"),
        (
            "expired",
            authority.server_until(&["api.test"], 2001),
            "expired",
        ),
        ("an impostor", impostor.server(&["api.test"]), "not valid"),
        (
            "unknown authority",
            stranger.server(&["api.test"]),
            "not trusted",
        ),
    ] {
        let origin = Origin::tls(acceptor, vec![send(HELLO)]).await;
        let url = origin.url("https", "api.test", "/");
        let error = fetch_from(&authority.trusted(), &Wish::get(&url))
            .await
            .unwrap_err();
        assert!(
            matches!(error, FetchError::Tls(TlsError::Handshake { .. })),
            "{name}: {error:?}"
        );
        assert_eq!(error.kind(), FetchFailure::Unavailable);
        let message = error.to_string();
        assert!(
            message.contains("`api.test`") && message.contains(why),
            "{name}: {message}"
        );
        // What a far end writes into its certificate is not repeated, so it cannot fill the log either.
        assert!(message.len() < 300, "{name}: {message}");
        assert!(
            origin
                .seen(1)
                .await
                .iter()
                .all(|seen| seen.request.is_empty()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let authority = Authority::new();
    for script in [vec![send(HELLO)], vec![forever(vec![0x16; 4096])], vec![]] {
        let origin = Origin::plain(script).await;
        let url = origin.url("https", "api.test", "/");
        // The plain server waits for the end of a request head that never comes, so time is short.
        let wish = Wish {
            timeout_ms: 1_000,
            ..Wish::get(&url)
        };
        let error = fetch_from(&authority.trusted(), &wish).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                FetchFailure::Unavailable | FetchFailure::Timeout
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_stalled_handshake_ends_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://api.test:{}/",
        listener.local_addr().unwrap().port()
    );
    let started = Instant::now();
    let wish = Wish {
        timeout_ms: 300,
        ..Wish::get(&url)
    };
    let error = fetch_from(&Authority::new().trusted(), &wish)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FetchFailure::Timeout, "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_body_without_an_end_counts_only_with_the_end_that_tls_has() {
    let authority = Authority::new();
    let body = send("HTTP/1.1 200 OK\r\n\r\nhello");
    for (script, complete) in [(vec![body.clone()], true), (vec![body, Step::Cut], false)] {
        let origin = Origin::tls(authority.server(&["api.test"]), script).await;
        let url = origin.url("https", "api.test", "/");
        let result = fetch_from(&authority.trusted(), &Wish::get(&url)).await;
        match result {
            Ok(reply) => assert!(complete && reply.body.as_ref() == b"hello", "{reply:?}"),
            Err(error) => assert!(
                !complete && matches!(error, FetchError::Broken { .. }),
                "{error:?}"
            ),
        }
    }
}

#[tokio::test]
async fn the_limits_hold_behind_tls_too() {
    let authority = Authority::new();
    for script in [
        vec![send("HTTP/1.1 200 OK\r\n\r\n"), forever(vec![b'x'; 65_536])],
        vec![forever("HTTP/1.1 102 Processing\r\n\r\n".repeat(100))],
    ] {
        let origin = Origin::tls(authority.server(&["api.test"]), script).await;
        let url = origin.url("https", "api.test", "/");
        let error = fetch_from(&authority.trusted(), &Wish::get(&url))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::TooLarge {
                    limit: 1_048_576,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn without_roots_only_https_fails_and_says_why() {
    let tls = Tls::with_roots([]);
    assert_eq!(tls.problems().len(), 1, "{:?}", tls.problems());
    let origin = Origin::plain(vec![send(HELLO)]).await;
    let plain = origin.url("http", "api.test", "/");
    assert!(fetch_from(&tls, &Wish::get(&plain)).await.is_ok());
    let secret = origin.url("https", "api.test", "/");
    let error = fetch_from(&tls, &Wish::get(&secret)).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Tls(TlsError::NoRoots)),
        "{error:?}"
    );
    assert!(error.to_string().contains("ca-certificates"), "{error}");
}

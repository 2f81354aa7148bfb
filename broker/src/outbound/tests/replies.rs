//! What far ends may send back, and what becomes of it.

use std::time::{Duration, Instant};

use super::{
    confirmation::{Wish, ample},
    origin::{Origin, Step, forever, send},
    requests::fetch_plain,
};
use crate::outbound::{FetchFailure, Limits, Payload, Reply, Tls, fetch, fetch::FetchError};

const MIB: usize = 1024 * 1024;

async fn reply_to(method: &str, script: Vec<Step>) -> Result<Reply, FetchError> {
    let origin = Origin::plain(script).await;
    let url = origin.url("http", "api.test", "/");
    fetch_plain(&Wish {
        method,
        ..Wish::get(&url)
    })
    .await
}

async fn reply(script: Vec<Step>) -> Result<Reply, FetchError> {
    reply_to("GET", script).await
}

#[tokio::test]
async fn a_reply_comes_back_whole() {
    for (name, script) in [
        (
            "sized",
            vec![send(
                "HTTP/1.1 200 OK\r\nx-a: 1\r\nContent-Length: 5\r\n\r\nhello",
            )],
        ),
        (
            "chunked",
            vec![send(
                "HTTP/1.1 200 OK\r\nx-a: 1\r\nTransfer-Encoding: Chunked\r\nTrailer: x-t\r\n\r\n\
                 2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nx-t: 1\r\n\r\n",
            )],
        ),
        (
            "until the end",
            vec![send("HTTP/1.0 200 OK\r\nx-a: 1\r\n\r\nhello")],
        ),
        (
            "in pieces",
            "HTTP/1.1 200 OK\r\nx-a: 1\r\nContent-Length: 5\r\n\r\nhello"
                .bytes()
                .map(|byte| send([byte]))
                .collect(),
        ),
        (
            "after others",
            vec![send(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\nx-a: 1\r\nContent-Length: 5\r\n\r\nhello",
            )],
        ),
    ] {
        let reply = reply(script).await.unwrap();
        assert_eq!(
            (reply.status, reply.body.as_ref()),
            (200, b"hello".as_slice()),
            "{name}"
        );
        assert!(
            reply.headers.contains(&("x-a".to_owned(), "1".to_owned())),
            "{name}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_a_reply_like_any_other() {
    let elsewhere = Origin::plain(vec![send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let target = elsewhere.url("http", "127.0.0.1", "/");
    for status in [301, 302, 303, 307, 308] {
        let head =
            format!("HTTP/1.1 {status} Go\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let reply = reply(vec![send(head)]).await.unwrap();
        assert_eq!(reply.status, status);
        assert!(
            reply
                .headers
                .contains(&("location".to_owned(), target.clone())),
            "{reply:?}"
        );
    }
    assert!(elsewhere.nobody_came().await);
}

#[tokio::test]
async fn headers_of_the_connection_stay_here() {
    let reply = reply(vec![send(
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nTE: x\r\n\
          Trailer: x\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
          X-Name: f\xfcr \xff\r\nContent-Length: 0\r\n\r\n",
    )])
    .await
    .unwrap();
    let headers: Vec<(&str, &str)> = reply
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-name", "f\u{fc}r \u{ff}"),
            ("content-length", "0"),
        ]
    );
}

#[tokio::test]
async fn a_compressed_body_stays_compressed() {
    let bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    let mut bytes =
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n".to_vec();
    bytes.extend_from_slice(bomb);
    let reply = reply(vec![send(bytes)]).await.unwrap();
    assert_eq!(reply.body.as_ref(), bomb);
    assert!(
        reply
            .headers
            .contains(&("content-encoding".to_owned(), "gzip".to_owned()))
    );
}

#[tokio::test]
async fn the_limit_on_the_body_is_exact() {
    let sized = |length: usize| {
        vec![
            send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            )),
            send(vec![b'x'; length]),
        ]
    };
    let chunked = |length: usize| {
        vec![
            send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n"
            )),
            send(vec![b'x'; length]),
            send("\r\n0\r\n\r\n"),
        ]
    };
    let until_end = |length: usize| vec![send("HTTP/1.1 200 OK\r\n\r\n"), send(vec![b'x'; length])];
    for (kind, fits, exceeds) in [
        ("sized", sized(MIB), sized(MIB + 1)),
        ("chunked", chunked(MIB), chunked(MIB + 1)),
        ("until the end", until_end(MIB), until_end(MIB + 1)),
    ] {
        let reply = reply(fits).await.unwrap();
        assert_eq!(reply.body.len(), MIB, "{kind}");
        let error = self::reply(exceeds).await.unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::TooLarge {
                    limit: 1_048_576,
                    ..
                }
            ),
            "{kind}: {error:?}"
        );
        assert!(
            error.to_string().contains("larger than 1048576 bytes"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn floods_end_soon_whatever_they_are_made_of() {
    let line = format!("x-flood: {}\r\n", "y".repeat(1000));
    for (name, script, expected) in [
        (
            "endless body",
            vec![send("HTTP/1.1 200 OK\r\n\r\n"), forever(vec![b'x'; 65_536])],
            FetchFailure::TooLarge,
        ),
        (
            "endless chunks of one byte",
            vec![
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                forever("1\r\nx\r\n".repeat(1000)),
            ],
            FetchFailure::TooLarge,
        ),
        (
            "declared and never sent",
            vec![
                send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
                Step::Wait(Duration::from_secs(9)),
            ],
            FetchFailure::TooLarge,
        ),
        (
            "endless headers",
            vec![send("HTTP/1.1 200 OK\r\n"), forever(line.repeat(10))],
            FetchFailure::TooLarge,
        ),
        (
            "one endless header",
            vec![
                send("HTTP/1.1 200 OK\r\nx-flood: "),
                forever("y".repeat(4096)),
            ],
            FetchFailure::TooLarge,
        ),
        (
            "many small headers",
            vec![send(format!(
                "HTTP/1.1 200 OK\r\n{}\r\n",
                "a: b\r\n".repeat(129)
            ))],
            FetchFailure::TooLarge,
        ),
        (
            "an endless status line",
            vec![send("HTTP/1.1 200 "), forever("y".repeat(4096))],
            FetchFailure::TooLarge,
        ),
        (
            "endless informational replies",
            vec![forever("HTTP/1.1 102 Processing\r\n\r\n".repeat(100))],
            FetchFailure::TooLarge,
        ),
        (
            "endless trailers",
            vec![
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
                forever(line.repeat(10)),
            ],
            FetchFailure::Unavailable,
        ),
        (
            "an endless chunk extension",
            vec![
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"),
                forever("y".repeat(4096)),
            ],
            FetchFailure::Unavailable,
        ),
    ] {
        let started = Instant::now();
        let origin = Origin::plain(script).await;
        let url = origin.url("http", "api.test", "/");
        let wish = Wish {
            max_response_bytes: 65_536,
            ..Wish::get(&url)
        };
        let error = fetch_plain(&wish).await.unwrap_err();
        assert_eq!(error.kind(), expected, "{name}: {error:?}");
        assert!(
            started.elapsed() < Duration::from_secs(9),
            "{name}: {:?}",
            started.elapsed()
        );
        origin.seen(1).await;
    }
}

#[tokio::test]
async fn a_slow_far_end_is_left_at_the_deadline() {
    let drip: Vec<Step> = (0..100)
        .flat_map(|_| [send("x"), Step::Wait(Duration::from_millis(50))])
        .collect();
    let slow_body = [
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")],
        drip.clone(),
    ]
    .concat();
    let slow_head = [vec![send("HTTP/1.1 200 OK\r\nx-slow: ")], drip].concat();
    let silent = vec![Step::Wait(Duration::from_secs(9))];
    let hints = (0..100)
        .flat_map(|_| {
            [
                send("HTTP/1.1 102 Wait\r\n\r\n"),
                Step::Wait(Duration::from_millis(50)),
            ]
        })
        .collect();
    for (name, script) in [
        ("body", slow_body),
        ("head", slow_head),
        ("silent", silent),
        ("hints", hints),
    ] {
        let origin = Origin::plain(script).await;
        let url = origin.url("http", "api.test", "/");
        let started = Instant::now();
        let error = fetch_plain(&Wish {
            timeout_ms: 400,
            ..Wish::get(&url)
        })
        .await
        .unwrap_err();
        let elapsed = started.elapsed();
        assert_eq!(error.kind(), FetchFailure::Timeout, "{name}: {error:?}");
        assert!(
            elapsed > Duration::from_millis(350) && elapsed < Duration::from_secs(2),
            "{name}: {elapsed:?}"
        );
        // The connection is gone with the request.
        assert!(
            origin.seen(1).await.iter().all(|seen| seen.abandoned),
            "{name}"
        );
    }
}

#[tokio::test]
async fn replies_that_can_be_read_in_two_ways_are_refused() {
    for (name, head) in [
        (
            "both lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "both, other order",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        ),
        (
            "a list of lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        ),
        (
            "a signed length",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        ),
        (
            "a negative length",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ),
        (
            "a huge length",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        ),
        (
            "another coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        ),
        (
            "codings",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "nearly chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked in 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a bad chunk size",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a huge chunk size",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
        ),
        (
            "another protocol",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        ("no head", "hello"),
        ("http/0.9", "<html>hello</html>\r\n\r\n"),
        ("http/2", "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("a bad status", "HTTP/1.1 2000 OK\r\n\r\n"),
        (
            "a folded header",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "a space in a name",
            "HTTP/1.1 200 OK\r\na : b\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "a NUL",
            "HTTP/1.1 200 OK\r\na: b\0c\r\ncontent-length: 0\r\n\r\n",
        ),
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\na: b\r\n"),
    ] {
        match reply(vec![send(head)]).await {
            Err(error) => assert_eq!(error.kind(), FetchFailure::Unavailable, "{name}: {error:?}"),
            Ok(reply) => panic!("{name}: {reply:?}"),
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_no_reply() {
    for (name, text) in [
        ("sized", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "in a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello",
        ),
    ] {
        let error = reply(vec![send(text)]).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Broken { .. }),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_reply_without_a_body_may_say_how_long_it_would_be() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    let reply = reply_to("HEAD", vec![send(head)]).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(
        reply
            .headers
            .contains(&("content-length".to_owned(), "99999999".to_owned()))
    );
    for status in ["204 No Content", "304 Not Modified"] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 99999999\r\n\r\n");
        assert!(self::reply(vec![send(head)]).await.unwrap().body.is_empty());
    }
}

#[tokio::test]
async fn what_follows_the_reply_is_not_part_of_it() {
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    let reply = reply(vec![send(two)]).await.unwrap();
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (200, b"hello".as_slice())
    );
}

#[tokio::test]
async fn the_smaller_of_two_limits_on_the_body_counts() {
    let origin = Origin::plain(vec![send("HTTP/1.1 200 OK\r\n\r\nhello")]).await;
    let url = origin.url("http", "api.test", "/");
    for (granted, wished, fits) in [
        (5, u64::MAX, true),
        (4, u64::MAX, false),
        (u64::MAX, 5, true),
        (u64::MAX, 4, false),
    ] {
        let confirmed = Wish {
            max_response_bytes: granted,
            ..Wish::get(&url)
        }
        .confirmed();
        let limits = Limits {
            body_bytes: wished,
            ..ample()
        };
        let result = fetch(&Tls::with_roots([]), &confirmed, Payload::default(), limits).await;
        assert_eq!(result.is_ok(), fits, "{granted} {wished}: {result:?}");
    }
}

//! Connecting to confirmed addresses, and letting go of them.

use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::{
    confirmation::{Wish, ample},
    origin::{Origin, Step, send},
    requests::fetch_plain,
};
use crate::outbound::{
    FetchFailure, Limits, Payload, Tls,
    dial::{DialError, dial},
    fetch,
};

#[tokio::test]
async fn the_addresses_are_tried_in_their_order() {
    let origin = Origin::plain(vec![send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let url = origin.url("http", "api.test", "/");
    let wish = Wish {
        addresses: &["127.0.0.2", "127.0.0.3", "127.0.0.1"],
        ..Wish::get(&url)
    };
    assert_eq!(fetch_plain(&wish).await.unwrap().status, 200);
    let stream = dial(wish.confirmed().facts(), ample().deadline)
        .await
        .unwrap();
    assert_eq!(stream.peer_addr().unwrap(), origin.address);
}

#[tokio::test]
async fn a_refused_connection_names_the_host_and_no_address() {
    // Bound and not listening: nobody else gets the port, and nobody answers on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let url = format!("https://api.test:{port}/");
    let error = dial(Wish::get(&url).confirmed().facts(), ample().deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Failed { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&format!("`api.test:{port}`")), "{message}");
    assert!(!message.contains("127.0.0.1"), "{message}");
}

#[tokio::test]
async fn the_connection_is_the_tcp_stream_itself() {
    let origin = Origin::plain(vec![send("pong")]).await;
    let url = origin.url("https", "db.test", "/");
    let mut stream = dial(Wish::get(&url).confirmed().facts(), ample().deadline)
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"ping\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
        .await
        .unwrap();
    assert_eq!(answer, "pong");
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_connection_along() {
    let origin = Origin::plain(vec![Step::Wait(Duration::from_secs(9))]).await;
    let url = origin.url("http", "api.test", "/");
    let confirmed = Wish::get(&url).confirmed();
    let started = Instant::now();
    let tls = Tls::with_roots([]);
    let request = fetch(&tls, &confirmed, Payload::default(), ample());
    tokio::time::timeout(Duration::from_millis(200), request)
        .await
        .unwrap_err();
    assert!(origin.seen(1).await.iter().all(|seen| seen.abandoned));
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn the_earlier_of_two_deadlines_counts() {
    let origin = Origin::plain(vec![Step::Wait(Duration::from_secs(9))]).await;
    let url = origin.url("http", "api.test", "/");
    for (allowed_ms, wished_ms) in [(200, 60_000), (60_000, 200), (60_000, 0)] {
        let confirmed = Wish {
            timeout_ms: allowed_ms,
            ..Wish::get(&url)
        }
        .confirmed();
        let wished = Limits {
            deadline: tokio::time::Instant::now() + Duration::from_millis(wished_ms),
            ..ample()
        };
        let started = Instant::now();
        let error = fetch(&Tls::with_roots([]), &confirmed, Payload::default(), wished)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), FetchFailure::Timeout, "{error:?}");
        assert!(error.to_string().contains("`api.test:"), "{error}");
        assert!(
            started.elapsed() < Duration::from_secs(7),
            "{:?}",
            started.elapsed()
        );
    }
}

//! Attacks on the proxy: other hosts under a granted name, requests inside requests, and connections that serve others.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rumi_tests::{PLACES, Street, client_hello, eventually, read_answer, say};
use serde_json::{Value, json};

fn street() -> &'static Street {
    static STREET: OnceLock<Street> = OnceLock::new();
    STREET.get_or_init(Street::start)
}

/// A server on port 443 of an address of its own would not be told from the origin, so these tests look at what
/// the origin saw and at what the log says.
#[track_caller]
fn last_record(name: &str, target: &str, phase: &str, reason: &str) -> Value {
    let mut found = None;
    eventually("the record", || {
        let records = street().records(name, target);
        found = records
            .into_iter()
            .rfind(|record| record["phase"] == phase && record["reason"] == reason);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn only_tls_for_the_granted_host_passes_a_tunnel() {
    let street = street();
    let mut none = client_hello("site.test");
    // An address is no name, and so the client sends none.
    none.splice(.., client_hello("192.0.2.1"));
    for (what, first) in [
        ("another host", client_hello("twin.test")),
        ("a subdomain", client_hello("a.site.test")),
        ("no name", none),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n".to_vec(),
        ),
        (
            "a nested tunnel",
            b"CONNECT twin.test:443 HTTP/1.1\r\n\r\n".to_vec(),
        ),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40]),
        (
            "a record of no handshake",
            vec![22, 3, 1, 0, 4, 99, 0, 0, 0],
        ),
        ("an empty record", vec![22, 3, 1, 0, 0, 22, 3, 1, 0, 0]),
        ("garbage", vec![22; 512]),
    ] {
        let before = street.records("web", "site.test:443").len();
        let mut stream = street.tunnel("web", "site.test:443");
        let answer = say(&mut stream, &first);
        assert_eq!(answer, "", "{what}: nothing comes back");
        eventually("two more records", || {
            let records = street.records("web", "site.test:443");
            let fresh = records.get(before..).unwrap_or_default();
            fresh
                .iter()
                .any(|record| record["decision"] == "deny" && record["reason"] == "sni_mismatch")
        });
    }
    assert!(
        street
            .origin
            .seen()
            .iter()
            .all(|seen| seen.sni.as_deref() != Some("twin.test"))
    );
}

#[test]
fn a_hello_in_single_bytes_is_judged_as_a_whole() {
    let street = street();
    let mut stream = street.tunnel("other", "site.test:443");
    for byte in client_hello("twin.test") {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(rest.is_empty());
    last_record("other", "site.test:443", "decision", "sni_mismatch");
}

#[test]
fn a_tunnel_that_says_nothing_is_closed_and_nothing_was_dialled() {
    let street = street();
    let mut silent = street.tunnel("other", "site.test:443");
    let mut partial = street.tunnel("other", "site.test:443");
    partial.write_all(&client_hello("site.test")[..40]).unwrap();
    let started = Instant::now();
    for stream in [&mut silent, &mut partial] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
        assert!(rest.is_empty());
    }
    let took = started.elapsed();
    assert!((8..14).contains(&took.as_secs()), "{took:?}");
    last_record("other", "site.test:443", "outcome", "deadline_exceeded");
}

#[test]
fn one_request_is_never_read_as_two() {
    let street = street();
    let head = "POST http://site.test/echo HTTP/1.1\r\nHost: site.test\r\n";
    let inner = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let chunked = format!("0\r\n\r\n{inner}");
    for (what, request) in [
        ("two lengths", format!("{head}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())),
        ("a list of lengths", format!("{head}Content-Length: 0, 0\r\n\r\n{inner}")),
        ("a signed length", format!("{head}Content-Length: +0\r\n\r\n{inner}")),
        ("an unknown coding", format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunked}")),
        ("two codings", format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n{chunked}")),
        ("a coding twice", format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunked}")),
        ("a coding in 1.0", format!("{}Transfer-Encoding: chunked\r\n\r\n{chunked}", head.replace("1.1", "1.0"))),
        ("a folded header", format!("{head}X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{inner}")),
        ("a space before the colon", format!("{head}Transfer-Encoding : chunked\r\n\r\n{chunked}")),
        ("another host", "GET http://site.test/smuggled HTTP/1.1\r\nHost: twin.test\r\n\r\n".to_owned()),
        ("two hosts", "GET http://site.test/smuggled HTTP/1.1\r\nHost: site.test\r\nHost: twin.test\r\n\r\n".to_owned()),
        ("no host", "GET http://site.test/smuggled HTTP/1.1\r\n\r\n".to_owned()),
        ("user information", "GET http://site.test@twin.test/smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n".to_owned()),
        ("a control character", "GET http://site.test/smuggled HTTP/1.1\r\nHost: site.test\r\nX: a\x00b\r\n\r\n".to_owned()),
        ("another scheme", "GET ftp://site.test/smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n".to_owned()),
        ("a WebSocket", "GET http://site.test/smuggled HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned()),
        ("a flood of headers", format!("{}\r\n", (0..2000).fold(head.replace("POST", "GET"), |all, n| format!("{all}X-{n}: a\r\n")))),
        ("a long header", format!("{}X: {}\r\n\r\n", head.replace("POST", "GET"), "a".repeat(100_000))),
    ] {
        let answer = street.raw("web", request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "431"].contains(&status), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: the connection ends: {answer}");
    }
    let seen = street.origin.seen();
    assert!(
        !seen.iter().any(|seen| seen.path.contains("smuggled")),
        "{seen:?}"
    );
    for request in [
        "GET http://twin.test/smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n",
        "CONNECT twin.test:443 HTTP/1.1\r\nHost: twin.test:443\r\n\r\n",
    ] {
        let mut inside = street.tunnel("web", "site.test:80");
        inside.write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut inside);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[test]
fn of_two_lengths_one_is_sent_on_and_the_connection_ends() {
    let street = street();
    for (number, lengths) in [
        "Content-Length: 50\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 50",
    ]
    .iter()
    .enumerate()
    {
        let request = format!(
            "POST http://site.test/echo?both={number} HTTP/1.1\r\nHost: site.test\r\n{lengths}\r\n\r\n\
             0\r\n\r\nGET http://site.test/smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n"
        );
        let answer = street.raw("web", request.as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        for seen in street.origin.seen_at(&format!("/echo?both={number}")) {
            let named = |wanted: &str| seen.headers.iter().any(|(name, _)| name == wanted);
            assert!(
                !(named("content-length") && named("transfer-encoding")),
                "{seen:?}"
            );
        }
    }
    assert_eq!(street.origin.seen_at("/smuggled").len(), 0);
}

/// A server that keeps its connections open and answers each request with its connection's number.
fn counting(address: Ipv4Addr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let open = Arc::clone(&counted);
            open.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                while read_answer(&mut stream).ends_with("\r\n\r\n") {
                    let body = format!("connection {number}");
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(head.as_bytes()).is_err() {
                        break;
                    }
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, open)
}

#[test]
fn a_connection_serves_one_component_under_one_policy() {
    let street = Street::start();
    let (port, open) = counting(street.address);
    let grant = json!({"network": {"enabled": true, "allowed_domains": ["site.test"], "allowed_ports": [port]}});
    for name in ["web", "other"] {
        street.broker.grant(&format!("street:tool:{name}"), &grant);
    }
    let get = |name: &str, header: &str| {
        let request = format!(
            "GET http://site.test:{port}/ HTTP/1.1\r\nHost: site.test:{port}\r\nConnection: close\r\n{header}\r\n"
        );
        let answer = street.raw(name, request.as_bytes());
        // The connection is put back after the reply is complete.
        thread::sleep(Duration::from_millis(200));
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    };
    let first = get("web", "");
    assert!(first.starts_with("connection "), "{first}");
    assert_eq!(get("web", ""), first, "the same component may use it again");
    let others = get("other", "");
    assert_ne!(others, first, "another component may not");
    assert_eq!(get("web", "Authorization: Negotiate abc\r\n"), first);
    let fresh = get("web", "");
    assert_ne!(
        fresh, first,
        "a connection that was logged in is not used again"
    );
    assert_eq!(open.load(Ordering::SeqCst), 2);
    street.broker.ungrant("street:tool:other");
    eventually("all that was kept under the old policy is closed", || {
        open.load(Ordering::SeqCst) == 0
    });
    assert_ne!(get("web", ""), fresh);
}

#[test]
fn what_a_component_has_open_is_bounded() {
    let street = street();
    let target = format!("site.test:{}", street.echo.port);
    let mut held = Vec::new();
    let answer = loop {
        let (tunnel, answer) = street.connect("busy", &target);
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        held.push(tunnel);
        assert!(held.len() < PLACES, "others keep some");
    };
    assert!(held.len() > 6, "more than its own part: {}", held.len());
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.contains("quota"),
        "{answer}"
    );
    let request =
        b"GET http://site.test/hello HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
    assert!(street.raw("busy", request).contains("rumi-reason: quota"));
    assert!(
        street.raw("web", request).starts_with("HTTP/1.1 200"),
        "nobody else is held up"
    );
    drop(held);
    eventually("there is room again", || {
        street
            .connect("busy", &target)
            .1
            .starts_with("HTTP/1.1 200")
    });
}

#[test]
fn a_small_request_does_not_wait_for_a_tunnel_at_full_speed() {
    let street = street();
    let target = format!("site.test:{}", street.echo.port);
    let mut busy = street.tunnel("other", &target);
    let mut reading = busy.try_clone().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = thread::spawn(move || {
        let piece = vec![1; 1 << 16];
        while !stopped.load(Ordering::Relaxed) && busy.write_all(&piece).is_ok() {}
        busy.shutdown(std::net::Shutdown::Write).ok();
    });
    let reader = thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while matches!(reading.read(&mut piece), Ok(1..)) {}
    });
    thread::sleep(Duration::from_millis(200));
    let peer = street.peer("web");
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let started = Instant::now();
            peer.json("NetworkResolve", &json!({"host": "site.test"}))
                .ok();
            started.elapsed()
        })
        .collect();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    reader.join().unwrap();
    times.sort();
    assert!(times[25] < Duration::from_millis(250), "{:?}", times[25]);
}

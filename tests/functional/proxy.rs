//! The proxy forms, byte by byte, and unmodified programs of the host through them.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener},
    os::unix::net::UnixStream,
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rumi_tests::{IDLE, Output, Peer, Street, eventually, read_answer, say, within};
use serde_json::{Value, json};

fn street() -> &'static Street {
    static STREET: OnceLock<Street> = OnceLock::new();
    STREET.get_or_init(Street::start)
}

/// The outcome of a tunnel or a request, once it is written.
#[track_caller]
fn outcome(name: &str, target: &str) -> Value {
    let mut found = None;
    eventually("the outcome", || {
        let records = street().records(name, target);
        found = records
            .into_iter()
            .rfind(|record| record["phase"] == "outcome");
        found.is_some()
    });
    found.unwrap()
}

/// Writes one byte at a time.
struct Slow(UnixStream);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_micros(200));
        self.0.write(&bytes[..bytes.len().min(1)])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn tls_passes_untouched_even_byte_by_byte() {
    let street = street();
    let before = street.origin.seen_at("/hello?by=tls").len();
    let stream = street.tunnel("web", "site.test:443");
    let mut tls = street.tls(Slow(stream), "site.test");
    let answer = say(
        &mut tls,
        b"GET /hello?by=tls HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let seen = street.origin.seen_at("/hello?by=tls");
    assert_eq!(seen.len(), before + 1);
    assert_eq!(seen[before].sni.as_deref(), Some("site.test"));
    let outcome = outcome("web", "site.test:443");
    let detail = &outcome["detail"];
    assert_eq!(detail["more"]["form"], "tls");
    for key in ["bytes_in", "bytes_out"] {
        assert!(detail[key].as_u64().unwrap() > 100, "{key}: {outcome}");
    }
    assert!(detail["more"]["duration_ms"].is_u64(), "{outcome}");
}

#[test]
fn plain_http_in_a_tunnel_is_decided_request_by_request() {
    let street = street();
    let mut stream = street.tunnel("narrow", "site.test:80");
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        read_answer(&mut stream)
    };
    let first = ask("GET /hello?one HTTP/1.1\r\nHost: site.test\r\n\r\n");
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    for (request, reason) in [
        (
            "POST /hello HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n",
            "method_not_allowed",
        ),
        (
            "GET /echo HTTP/1.1\r\nHost: site.test\r\n\r\n",
            "path_not_allowed",
        ),
        (
            "GET /files/../echo HTTP/1.1\r\nHost: site.test\r\n\r\n",
            "path_not_allowed",
        ),
    ] {
        let refused = ask(request);
        assert!(
            refused.contains(&format!("rumi-reason: {reason}")),
            "{refused}"
        );
    }
    let again = ask("GET /hello?two HTTP/1.1\r\nHost: site.test:80\r\n\r\n");
    assert!(
        again.starts_with("HTTP/1.1 200 OK"),
        "the connection lives on: {again}"
    );
    let other = ask("GET /hello HTTP/1.1\r\nHost: twin.test\r\n\r\n");
    assert!(other.contains("rumi-reason: bad_request"), "{other}");
    let records = street.records("narrow", "GET http://site.test/hello");
    let allowed = records
        .iter()
        .filter(|r| r["phase"] == "decision" && r["decision"] == "allow");
    assert_eq!(allowed.count(), 2, "{records:?}");
}

#[test]
fn the_absolute_form_passes_requests_on() {
    let street = street();
    let answer = street.raw(
        "web",
        b"POST http://site.test/echo?token=hidden-in-the-log HTTP/1.1\r\nHost: site.test\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
          Proxy-Connection: keep-alive\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-Mine: yes\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.contains("firstsecond"), "{answer}");
    let seen = street
        .origin
        .seen_at("/echo?token=hidden-in-the-log")
        .remove(0);
    assert_eq!(
        (seen.host.as_str(), seen.method.as_str()),
        ("site.test", "POST")
    );
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"x-mine"), "{names:?}");
    for gone in [
        "proxy-authorization",
        "proxy-connection",
        "x-hop",
        "connection",
    ] {
        assert!(!names.contains(&gone), "{gone}: {names:?}");
    }
    let outcome = outcome("web", "POST http://site.test/echo");
    assert_eq!(outcome["detail"]["bytes_in"], 11, "{outcome}");
    let all = serde_json::to_string(&street.broker.audit()).unwrap();
    assert!(!all.contains("hidden-in-the-log") && !all.contains("c2VjcmV0"));
}

#[test]
fn a_get_keeps_its_body() {
    let street = street();
    for body in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
        "Content-Length: 5\r\n\r\nfirst",
    ] {
        let answer = street.raw(
            "web",
            format!("GET http://site.test/echo HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{body}")
                .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert!(answer.contains("first"), "{answer}");
    }
}

#[test]
fn redirects_are_the_clients_affair() {
    let street = street();
    let answer = street.raw(
        "web",
        b"GET http://site.test/redirect?to=http://twin.test/hello HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n",
    );
    assert!(
        answer.contains("location: http://twin.test/hello"),
        "{answer}"
    );
    let hop = street.raw(
        "web",
        b"GET http://twin.test/hello HTTP/1.1\r\nHost: twin.test\r\nConnection: close\r\n\r\n",
    );
    assert!(hop.contains("rumi-reason: domain_not_allowed"), "{hop}");
}

#[test]
fn a_refusal_says_why_wherever_clients_look() {
    let street = street();
    for (name, target, status, reason) in [
        ("web", "refused.test:443", 403, "domain_not_allowed"),
        ("web", "site.test:444", 403, "port_not_allowed"),
        ("web", "metadata.test:443", 403, "blocked_address"),
        ("web", "metadata.test:80", 403, "blocked_address"),
        ("web", "metadata.test:5432", 403, "blocked_address"),
        ("web", "mixed.test:443", 403, "blocked_address"),
        ("web", "unknown.test:443", 502, "unavailable"),
        ("web", "localhost:443", 403, "forbidden_by_scope"),
        ("web", "site.test:6379", 403, "forbidden_by_scope"),
        ("web", "Site.test:443", 400, "bad_request"),
        ("web", "site.test", 400, "bad_request"),
        ("narrow", "site.test:443", 403, "method_not_allowed"),
        ("none", "site.test:443", 403, "no_grant"),
    ] {
        let (_, answer) = street.connect(name, target);
        let first = answer.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {answer}"
        );
        assert!(first.contains(reason), "{target}: {answer}");
        assert!(
            answer.contains(&format!("rumi-reason: {reason}")),
            "{answer}"
        );
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(answer.ends_with(")\n"), "{answer}");
        if status == 403 {
            let record = answer
                .lines()
                .find_map(|line| line.strip_prefix("rumi-record: "));
            let records = street.broker.records_of(record.expect("a record"));
            let denied = records
                .iter()
                .find(|record| record["decision"] == "deny")
                .unwrap();
            assert_eq!(denied["reason"], reason);
        }
    }
    let old = street.raw("none", b"CONNECT site.test:443 HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 403 "), "{old}");
}

#[test]
fn tcp_passes_anything_and_each_end_may_finish_first() {
    let street = street();
    let target = format!("site.test:{}", street.echo.port);
    let mut stream = street.tunnel("other", &target);
    stream.write_all(b"\x00\xffno TLS at all").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"\x00\xffno TLS at all");
    let outcome = outcome("other", &target);
    assert_eq!(outcome["detail"]["more"]["form"], "tcp");
    assert_eq!(outcome["detail"]["bytes_in"], 15);
    assert_eq!(outcome["detail"]["bytes_out"], 15);
}

#[test]
fn what_is_open_ends_within_a_second_when_its_grant_goes() {
    let street = street();
    let echo = format!("site.test:{}", street.echo.port);
    let mut raw = street.tunnel("fickle", &echo);
    let mut plain = street.tunnel("fickle", "site.test:80");
    let mut drip = street.peer("fickle").connect().unwrap();
    drip.write_all(b"GET http://site.test/drip HTTP/1.1\r\nHost: site.test\r\n\r\n")
        .unwrap();
    let tls = street.tunnel("fickle", "site.test:443");
    let mut tls = street.tls(tls, "site.test");
    tls.write_all(b"GET /drip HTTP/1.1\r\nHost: site.test\r\n\r\n")
        .unwrap();
    let mut some = [0; 512];
    assert!(drip.read(&mut some).unwrap() > 0 && tls.read(&mut some).unwrap() > 0);
    let peer = street.peer("fickle");
    let fetch = json!({"method": "GET", "url": "https://site.test/drip?fetched"});
    let fetched = thread::spawn(move || peer.json("NetworkFetch", &fetch).reason());
    eventually("the fetch", || {
        !street.origin.seen_at("/drip?fetched").is_empty()
    });
    raw.write_all(b"x").unwrap();
    raw.read_exact(&mut some[..1]).unwrap();
    // What else is granted changes nothing for those that stay allowed.
    let mut wider = street.granted();
    wider["network"]["allowed_domains"]
        .as_array_mut()
        .unwrap()
        .push(json!("more.test"));
    street.broker.grant("street:tool:fickle", &wider);
    raw.write_all(b"y").unwrap();
    raw.read_exact(&mut some[..1]).unwrap();
    let started = Instant::now();
    street.broker.home().ungrant("street:tool:fickle");
    for stream in [&mut raw, &mut plain, &mut drip, tls.get_mut()] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    }
    assert_eq!(fetched.join().unwrap(), "revoked");
    rumi_tests::in_time(started, Duration::from_secs(1));
    assert_eq!(outcome("fickle", &echo)["reason"], "revoked");
    assert_eq!(
        outcome("fickle", "GET http://site.test/drip")["reason"],
        "revoked"
    );
    street.broker.grant("street:tool:fickle", &street.granted());
    // One that carries anything does not outlive its `tcp` entry, whatever else is granted.
    let mut raw = street.tunnel("fickle", &echo);
    let mut tls_only = street.granted();
    tls_only["network"]["tcp"] = json!([]);
    tls_only["network"]["allowed_ports"] = json!([443, 80, street.echo.port]);
    let started = Instant::now();
    street.broker.home().grant("street:tool:fickle", &tls_only);
    raw.read_to_end(&mut Vec::new()).ok();
    rumi_tests::in_time(started, Duration::from_secs(1));
    street.broker.grant("street:tool:fickle", &street.granted());
}

#[test]
fn a_silent_tunnel_is_closed() {
    let street = street();
    let target = format!("site.test:{}", street.echo.port);
    let mut stream = street.tunnel("web", &target);
    let took = within(IDLE * 2, "the end of the tunnel", || {
        matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    });
    assert!(took > IDLE / 2, "{took:?}");
}

#[test]
fn a_request_in_a_tunnel_ends_with_its_client() {
    let street = street();
    for path in ["/stall", "/silent"] {
        for _ in 0..50 {
            // A place is free again a moment after its tunnel was closed.
            let mut opened = None;
            eventually("a place", || {
                let (stream, answer) = street.connect("gone", "site.test:80");
                let open = answer.starts_with("HTTP/1.1 200 ");
                opened = open.then_some(stream);
                open
            });
            let before = street.origin.seen_at(path).len();
            let mut stream = opened.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            eventually("the request", || street.origin.seen_at(path).len() > before);
        }
        within(Duration::from_secs(2), "the end of all of them", || {
            street.origin.stuck() == 0
        });
    }
}

#[test]
fn bodies_stream_and_are_never_gathered() {
    let street = street();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", street.broker.pid()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap()
    };
    let before = memory();
    const SIZE: usize = 48 << 20;
    let mut slow = street.peer("web").connect().unwrap();
    slow.write_all(
        format!("GET http://site.test/large/{SIZE} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )
    .unwrap();
    // Nobody reads; what the broker holds meanwhile is what it would hold for ever.
    thread::sleep(Duration::from_millis(1500));
    let held = memory().saturating_sub(before);
    assert!(held < 16 << 10, "{held} KiB more");
    let mut body = Vec::new();
    slow.read_to_end(&mut body).unwrap();
    assert!(body.len() > SIZE, "{}", body.len());
    drop(body);

    let mut upload = street.peer("web").connect().unwrap();
    let head = format!(
        "PUT http://site.test/upload HTTP/1.1\r\nHost: site.test\r\nContent-Length: {SIZE}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).unwrap();
    assert!(read_answer(&mut upload).starts_with("HTTP/1.1 100"));
    let piece = vec![7; 1 << 20];
    for _ in 0..SIZE / piece.len() {
        upload.write_all(&piece).unwrap();
    }
    let answer = read_answer(&mut upload);
    assert!(answer.contains(&SIZE.to_string()), "{answer}");
}

#[test]
fn a_reply_larger_than_granted_is_cut_and_looks_cut() {
    let street = street();
    let announced = street.raw(
        "small",
        b"GET http://site.test/large/2000 HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n",
    );
    assert!(announced.contains("resource_exhausted"), "{announced}");
    let endless = street.raw(
        "small",
        b"GET http://site.test/drip HTTP/1.1\r\nHost: site.test\r\n\r\n",
    );
    assert!(!endless.ends_with("0\r\n\r\n"), "it must not look whole");
    let outcome = outcome("small", "GET http://site.test/drip");
    assert_eq!(outcome["reason"], "resource_exhausted");
}

#[test]
fn an_old_client_gets_an_old_reply() {
    let street = street();
    let mut stream = street.peer("web").connect().unwrap();
    stream
        .write_all(b"CONNECT site.test:443 HTTP/1.0\r\n\r\n")
        .unwrap();
    let answer = read_answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let mut tls = street.tls(stream, "site.test");
    let answer = say(&mut tls, b"GET /hello HTTP/1.0\r\nHost: site.test\r\n\r\n");
    assert!(answer.contains("200 OK"), "{answer}");
    let answer = street.raw("web", b"GET http://site.test/hello HTTP/1.0\r\n\r\n");
    assert!(answer.contains("200 OK"), "{answer}");
}

/// A port of this host that leads to a component's socket, as the guest's proxy does in a container.
fn bridge(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = peer.connect().unwrap();
            let (mut a, mut b) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let (mut c, mut d) = (far, near);
            thread::spawn(move || {
                io::copy(&mut a, &mut b).ok();
                b.shutdown(Shutdown::Write).ok();
            });
            thread::spawn(move || {
                io::copy(&mut c, &mut d).ok();
                d.shutdown(Shutdown::Write).ok();
            });
        }
    });
    format!("http://{address}")
}

fn run(name: &str, program: &str, arguments: &[&str]) -> Output {
    let street = street();
    let bundle = street.broker.home().base().join("roots.pem");
    let proxy = bridge(street.peer(name));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs(["CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "SSL_CERT_FILE"].map(|key| (key, &bundle)))
        .envs(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|key| (key, &proxy)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    Output::of(&mut command)
}

#[test]
fn curl_and_python_need_no_change() {
    for url in ["https://site.test/hello", "http://site.test/hello"] {
        let done = run("web", "curl", &["-sS", "--fail-with-body", url]);
        assert!(
            done.code == 0 && done.stdout.contains("hello"),
            "{url}: {done:?}"
        );
        let refused = run("none", "curl", &["-sS", "-v", url]);
        assert!(refused.text().contains("no_grant"), "{url}: {refused:?}");
        let python = format!("import urllib.request as r; print(r.urlopen({url:?}).read())");
        let done = run("web", "python3", &["-c", &python]);
        assert!(
            done.code == 0 && done.stdout.contains("hello"),
            "{url}: {done:?}"
        );
        let refused = run("none", "python3", &["-c", &python]);
        assert!(refused.stderr.contains("no_grant"), "{url}: {refused:?}");
    }
}

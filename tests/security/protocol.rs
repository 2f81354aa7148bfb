//! What is said: malformed, deep, large, slow, and too much of it.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rumi_proto::v1;
use rumi_tests::{Peer, within};
use serde_json::json;
use tonic::Code;

use crate::yard::yard;

const COMPONENT: &str = "suspects:tool:crowd";

/// A good request is answered, and soon.
#[track_caller]
fn answered(peer: &Peer, after: &str) {
    let started = Instant::now();
    let reply = peer.json("EnvRead", &json!({"key": "PATH"}));
    assert_eq!(reply.reason(), "no_grant", "after {after}");
    rumi_tests::in_time(started, Duration::from_secs(1));
}

/// Sends bytes and reads until the broker ends or falls silent.
fn say(peer: &Peer, bytes: &[u8]) -> Vec<u8> {
    let mut stream = peer.connect().expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("a limit");
    // The broker may hang up in the middle, which is its right.
    stream.write_all(bytes).ok();
    stream.shutdown(std::net::Shutdown::Write).ok();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
    }
    answer
}

fn post(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn malformed_json_is_a_bad_request_of_its_own_connection() {
    let yard = yard();
    let peer = yard.component(COMPONENT);
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let bodies = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"key\"".to_owned(),
        "{".to_owned(),
        "{\"key\":".to_owned(),
        "{\"key\":\"A\"}}".to_owned(),
        "{\"key\":\"A\"} {\"key\":\"B\"}".to_owned(),
        "{\"key\":\"A\",\"key\":\"B\"}".to_owned(),
        "{\"key\":\"A\",\"\\u006bey\":\"B\"}".to_owned(),
        "{\"kay\":\"A\"}".to_owned(),
        "{\"Key\":\"A\"}".to_owned(),
        "{\"key\":1}".to_owned(),
        "{\"key\":{\"key\":\"A\"}}".to_owned(),
        "{key:\"A\"}".to_owned(),
        "{\"key\":\"A\",}".to_owned(),
        "{\"key\":NaN}".to_owned(),
        "// comment\n{}".to_owned(),
        "\u{feff}{\"key\":\"A\"}".to_owned(),
        deep("[", "]"),
        deep("{\"key\":", "}"),
    ];
    for body in &bodies {
        let reply = peer.post("EnvRead", body.as_bytes());
        let shown: String = body.chars().take(40).collect();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "invalid_argument"),
            "{shown}"
        );
        // What was sent is not sent back at full length.
        assert!(reply.body.len() < 4096, "{shown}");
    }
    answered(&peer, "malformed JSON");
}

#[test]
fn malformed_protobuf_is_an_error_of_its_own_request() {
    let yard = yard();
    let peer = yard.component(COMPONENT);
    let frames: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\0\0\0\0\x01",
        b"\0\0\0\0\x02\x0a\xff",
        b"\0\0\0\0\x02\xff\xff",
        b"\0\0\0\0\x03\x0a\x01\xff",
        b"\0\xff\xff\xff\xff",
        b"\x01\0\0\0\x01x",
        b"\x02\0\0\0\0",
    ];
    // gRPC by HTTP/1.1 is none; each must be refused without harm.
    for frame in frames {
        say(&peer, &post("application/grpc", frame));
        say(&peer, &post("application/proto", frame));
        answered(&peer, "malformed protobuf");
    }
    // By HTTP/2, through a client that sends whatever it is given.
    yard.block_on(async {
        use tonic::{Code, client::Grpc, codegen::http::uri::PathAndQuery};
        let stream = peer.connect().expect("a connection");
        stream
            .set_nonblocking(true)
            .expect("a socket of the runtime");
        let stream = tokio::net::UnixStream::from_std(stream).expect("a socket of the runtime");
        let io = hyper_util::rt::TokioIo::new(stream);
        let mut once = Some(io);
        let connect = tower::service_fn(move |_| {
            let io = once
                .take()
                .ok_or_else(|| std::io::Error::other("one connection"));
            async move { io }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
        let channel = endpoint
            .connect_with_connector(connect)
            .await
            .expect("a channel");
        let mut client = Grpc::new(channel);
        // Another message than the method takes: its first field is a number, not text.
        for method in [
            "EnvRead",
            "FileRead",
            "FileWrite",
            "TerminalRun",
            "NetworkFetch",
        ] {
            client.ready().await.expect("it goes on");
            let path =
                PathAndQuery::try_from(format!("/rumi.v1.Capabilities/{method}")).expect("a path");
            let codec = tonic_codec();
            let request = tonic::Request::new(rumi_proto::v1::StatusResponse {
                version: "\u{0}".repeat(10),
                started_unix: -1,
                pid: u32::MAX,
                ..Default::default()
            });
            let reply: Result<tonic::Response<rumi_proto::v1::EnvReadResponse>, _> =
                client.unary(request, path, codec).await;
            let status = reply.expect_err("a refusal");
            assert!(
                [
                    Code::InvalidArgument,
                    Code::PermissionDenied,
                    Code::Internal
                ]
                .contains(&status.code()),
                "{method}: {status}"
            );
        }
    });
    answered(&peer, "another message");
}

fn tonic_codec<T, U>() -> tonic_prost::ProstCodec<T, U>
where
    T: prost::Message + Send + 'static,
    U: prost::Message + Default + Send + 'static,
{
    tonic_prost::ProstCodec::default()
}

#[test]
fn smuggled_headers_and_noise_never_pass_for_a_request() {
    let yard = yard();
    let peer = yard.component(COMPONENT);
    let good = post("application/json", br#"{"key":"PATH"}"#);
    let cases: [(&str, Vec<u8>); 9] = [
        ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec()),
        (
            "length and chunks",
            [&b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..], &good]
                .concat(),
        ),
        ("a negative length", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec()),
        ("bare line feeds in a name", b"GET / HTTP/1.1\r\nHost: x\r\nA\nB: c\r\n\r\n".to_vec()),
        ("a folded header", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n".to_vec()),
        ("no version", b"GET /\r\n\r\n".to_vec()),
        ("HTTP/2 noise", [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 8192]].concat()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        ("noise", (0..4096_u32).map(|n| u8::try_from(n * 7919 % 251).unwrap_or(0)).collect()),
    ];
    for (name, bytes) in &cases {
        let answer = String::from_utf8_lossy(&say(&peer, bytes)).into_owned();
        assert!(
            !answer.contains("no_grant"),
            "{name} was taken for a request: {answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        answered(&peer, name);
    }
    // One after the other on one line are two requests, each answered.
    let answer = say(&peer, &[good.clone(), good].concat());
    assert_eq!(
        String::from_utf8_lossy(&answer)
            .matches("HTTP/1.1 403")
            .count(),
        2
    );
}

#[test]
fn messages_over_the_limit_are_refused_before_they_are_held() {
    let yard = yard();
    let peer = yard.component(COMPONENT);
    let large = |mebibytes: usize| format!("{{\"key\":\"{}\"}}", "A".repeat(mebibytes << 20));
    for mebibytes in [5, 64] {
        let reply = peer.post("EnvRead", large(mebibytes).as_bytes());
        assert!(
            [400, 413, 429].contains(&reply.status),
            "{mebibytes} MiB: {}",
            reply.status
        );
    }
    // Without a length, in chunks that do not end.
    let mut stream = peer.connect().unwrap();
    stream
        .write_all(b"POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
    let cut = (0..2048).position(|_| stream.write_all(&chunk).is_err());
    assert!(cut.is_some_and(|chunks| chunks < 256), "128 MiB were taken");
    let many: String = (0..10_000)
        .map(|number| format!("X-{number}: x\r\n"))
        .collect();
    say(
        &peer,
        format!("GET /files HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes(),
    );
    say(
        &peer,
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8 << 20)).as_bytes(),
    );
    answered(&peer, "large messages");
}

#[test]
fn a_silent_and_a_slow_peer_are_cut_after_ten_seconds() {
    let yard = yard();
    let peer = yard.component("suspects:tool:silent");
    let mut held: Vec<(&str, UnixStream)> =
        ["silence", "half a head", "half a preface", "dripping"]
            .map(|what| (what, peer.connect().unwrap()))
            .into();
    held[1]
        .1
        .write_all(b"POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHo")
        .unwrap();
    held[2].1.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    let started = Instant::now();
    for (_, stream) in &held {
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
    }
    let mut ended = vec![None; held.len()];
    while ended.contains(&None) && started.elapsed() < Duration::from_secs(20) {
        held[3].1.write_all(b"P").ok();
        for (index, (_, stream)) in held.iter_mut().enumerate() {
            let mut buffer = [0; 1024];
            let over = match stream.read(&mut buffer) {
                Ok(0) => true,
                Ok(_) => false,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            };
            if over && ended[index].is_none() {
                ended[index] = Some(started.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    for ((what, _), ended) in held.iter().zip(&ended) {
        let limit = Duration::from_secs(9)..Duration::from_secs(14);
        assert!(
            ended.is_some_and(|after| limit.contains(&after)),
            "{what}: {ended:?}"
        );
    }
    answered(&peer, "silence");
}

#[test]
fn three_hundred_connections_of_one_component_keep_no_other_waiting() {
    let yard = yard();
    let crowd = yard.component(COMPONENT);
    let other = yard.component("suspects:tool:silent");
    let held: Vec<UnixStream> = (0..300).map(|_| crowd.connect().unwrap()).collect();
    // Those beyond the limit are closed at once, and said to nobody else.
    let closed = || {
        let mut buffer = [0; 1];
        let closed = |stream: &&UnixStream| {
            stream.set_nonblocking(true).is_ok()
                && matches!((&mut &**stream).read(&mut buffer), Ok(0))
        };
        held.iter().filter(closed).count()
    };
    within(Duration::from_secs(3), "the limit", || {
        closed() >= 300 - 256
    });
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        assert_eq!(
            other.json("EnvRead", &json!({"key": "PATH"})).reason(),
            "no_grant"
        );
        times.push(started.elapsed());
    }
    times.sort();
    assert!(times[45] < Duration::from_millis(500), "{times:?}");
    drop(held);
    within(Duration::from_secs(5), "room for the crowd again", || {
        let Ok(mut stream) = crowd.connect() else {
            return false;
        };
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok();
        stream
            .write_all(&post("application/json", br#"{"key":"PATH"}"#))
            .ok();
        matches!(stream.read(&mut [0; 64]), Ok(1..))
    });
}

#[test]
fn what_http_2_may_send_ahead_is_bounded_by_few_connections() {
    let yard = yard();
    let crowd = yard.component("suspects:tool:channels");
    let other = yard.component("suspects:tool:silent");
    yard.block_on(async {
        let ask = || v1::EnvReadRequest {
            key: "PATH".to_owned(),
        };
        let mut channels = Vec::new();
        let mut beyond = loop {
            let mut channel = crowd.grpc().await;
            match channel.env_read(ask()).await.unwrap_err().code() {
                Code::PermissionDenied => channels.push(channel),
                Code::ResourceExhausted => break channel,
                other => panic!("{other:?}"),
            }
            assert!(channels.len() < 16, "others keep some");
        };
        assert!(channels.len() > 1, "more than its own part");
        let mut other = other.grpc().await;
        let refused = other.env_read(ask()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        // Other ways to speak, and those that have a place, go on.
        let reply = crowd.json("EnvRead", &json!({"key": "PATH"}));
        assert_eq!(reply.reason(), "no_grant");
        let first = channels.first_mut().unwrap();
        // As many at once as a client begins with before it is told how many it may have.
        let at_once = (0..100).map(|_| {
            let mut channel = first.clone();
            tokio::spawn(async move { channel.env_read(ask()).await.unwrap_err().code() })
        });
        for asked in at_once.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap(), Code::PermissionDenied);
        }
        drop(channels);
        let until = Instant::now() + Duration::from_secs(5);
        while beyond.env_read(ask()).await.unwrap_err().code() == Code::ResourceExhausted {
            assert!(Instant::now() < until, "a place that is left is free again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn requests_left_half_open_hold_no_turn_of_others() {
    let yard = yard();
    let crowd = yard.component(COMPONENT);
    let other = yard.component("suspects:tool:silent");
    let head = b"POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"key\"";
    let held: Vec<UnixStream> = (0..100)
        .filter_map(|_| {
            let mut stream = crowd.connect().ok()?;
            stream.write_all(head).ok()?;
            Some(stream)
        })
        .collect();
    for _ in 0..20 {
        answered(&other, "half requests of another");
    }
    drop(held);
    // The component itself goes on once they are gone.
    within(Duration::from_secs(5), "an answer", || {
        crowd.json("EnvRead", &json!({"key": "PATH"})).status == 403
    });
}

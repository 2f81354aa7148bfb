//! The loopback proxy against a broker on a real socket.

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    time::Duration,
};

use crate::support::{Broker, Guest, Place, python};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

/// A worker with its broker, and how its proxy is reached.
struct Scene {
    broker: Broker,
    port: u16,
    credentials: String,
    _worker: Guest,
    place: Place,
}

async fn enter() -> Scene {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = Guest::start(&[], "worker", &place.worker_arguments());
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    let source = "import os\ndef run(args):\n    return os.environ['HTTPS_PROXY']\n";
    let tool = place.file("environment.py", source);
    let answer = broker.spare().await.call(&tool, &json!({}));
    let url = answer["result"]["data"].as_str().unwrap();
    let (credentials, port) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once("@127.0.0.1:")
        .unwrap();
    Scene {
        port: port.parse().unwrap(),
        credentials: format!("Basic {}", STANDARD.encode(credentials)),
        broker,
        _worker: worker,
        place,
    }
}

impl Scene {
    fn connect(&self, credentials: &str, rest: &str) -> TcpStream {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let head = format!(
            "CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: {credentials}\r\n\r\n{rest}"
        );
        client.write_all(head.as_bytes()).unwrap();
        client
    }
}

fn everything(mut source: impl std::io::Read) -> String {
    let mut text = String::new();
    source.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_way_ends_by_itself() {
    let mut scene = enter().await;
    let client = scene.connect(&scene.credentials, "early");
    let mut broker = scene.broker.proxied().await;
    client.shutdown(Shutdown::Write).unwrap();
    // All of it as it was sent, and then the end, while the other way is still open.
    let request = everything(&broker);
    assert!(
        request.starts_with("CONNECT a.test:443 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nearly"), "{request}");
    let answer = "x".repeat(3 << 20);
    let reader = std::thread::spawn(move || everything(&client));
    broker.write_all(answer.as_bytes()).unwrap();
    broker.shutdown(Shutdown::Both).unwrap();
    assert!(reader.join().unwrap() == answer);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_writer() {
    let mut scene = enter().await;
    let client = scene.connect(&scene.credentials, "");
    let broker = scene.broker.proxied().await;
    broker.set_nonblocking(true).unwrap();
    let mut written = 0;
    // Buffers of the kernel and ours, and not a byte more.
    for _ in 0..200 {
        match (&broker).write(&[0; 65536]) {
            Ok(count) => written += count,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    assert!((65536..12 << 20).contains(&written), "{written}");
    drop(client);
}

#[tokio::test]
async fn without_the_secret_nothing_reaches_the_broker() {
    let scene = enter().await;
    let wrong = format!(
        "Basic {}",
        STANDARD.encode("rumi:00000000000000000000000000000000")
    );
    for credentials in ["", "Basic", &wrong] {
        let answer = everything(scene.connect(credentials, ""));
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        assert!(answer.contains("Proxy-Authenticate: Basic"), "{answer}");
    }
    // Another user with the right one: the kernel says whose socket it is.
    let script = format!(
        "import socket; s = socket.create_connection(('127.0.0.1', {})); \
         s.sendall(b'CONNECT a.test:443 HTTP/1.1\\r\\nProxy-Authorization: {}\\r\\n\\r\\n'); print(s.recv(99))",
        scene.port, scene.credentials
    );
    let other = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", &python(), "-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(said.contains("HTTP/1.1 403 "), "{said} {other:?}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_said_at_once() {
    let scene = enter().await;
    std::fs::remove_file(scene.place.socket()).unwrap();
    let answer = everything(scene.connect(&scene.credentials, ""));
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

//! A broker whose components may go out to servers of this machine, and the means to speak to its proxy byte by byte.

use std::{
    io::{self, Read as _, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use crate::{Authority, Broker, Home, NameServer, Origin, Peer, own_address};

/// Components of the pack `street`. `fickle` is for tests that change its grant, `busy` and `gone` for those that use up places.
const COMPONENTS: [&str; 8] = [
    "web", "other", "narrow", "small", "none", "fickle", "busy", "gone",
];

/// What the components of the street may have open at once, all together.
pub const PLACES: usize = 96;
/// How long a tunnel of the street may be silent.
pub const IDLE: Duration = Duration::from_secs(4);

/// The broker and all that it reaches.
#[derive(Debug)]
pub struct Street {
    /// The broker.
    pub broker: Broker,
    /// `site.test` and `twin.test`, on 443 and 80.
    pub origin: Origin,
    /// Signs for `site.test` and `twin.test`.
    pub authority: Authority,
    /// Knows these and some that lead where nobody may go.
    pub names: NameServer,
    /// Returns what it gets; granted as `tcp`.
    pub echo: Echo,
    /// Where all of them listen.
    pub address: Ipv4Addr,
}

/// A server that returns what it gets, and counts who comes.
#[derive(Debug)]
pub struct Echo {
    /// Its port on this process's own address.
    pub port: u16,
    came: Arc<AtomicUsize>,
}

impl Echo {
    /// Serves until the test binary ends.
    #[must_use]
    pub fn start(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&came);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                // A client that goes away is its own business.
                thread::spawn(move || echo(stream).ok());
            }
        });
        Self { port, came }
    }

    /// How many connections came.
    #[must_use]
    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 65536];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read])?;
    }
}

impl Street {
    /// Starts everything; the pack `street` is up.
    #[must_use]
    pub fn start() -> Self {
        let home = Home::new();
        let own = address();
        let authority = Authority::new();
        let files = home.data("site");
        let origin = Origin::start(own, &authority, &["site.test", "twin.test"], &files);
        let here = own.to_string();
        let names = NameServer::start(&[
            ("site.test", &[&here]),
            ("twin.test", &[&here]),
            ("refused.test", &[&here]),
            ("metadata.test", &["169.254.169.254"]),
            ("mixed.test", &[&here, "192.168.1.1"]),
        ]);
        home.configure(|config| {
            config["network"]["allowed_ranges"] = json!([format!("{own}/32")]);
            config["network"]["resolvers"] = json!([names.address()]);
            config["network"]["tunnels"] = json!(PLACES);
            config["network"]["idle_timeout_ms"] = json!(IDLE.as_millis() as u64);
        });
        let echo = Echo::start(own);
        pack(&home);
        let street = Self {
            broker: {
                for (name, permissions) in grants(&echo) {
                    home.grant(&component(name), &permissions);
                }
                let bundle = home.base().join("roots.pem");
                authority.write_bundle(&bundle);
                let bundle = bundle.to_str().expect("a path").to_owned();
                Broker::start_with(home, &[("SSL_CERT_FILE", &bundle)])
            },
            origin,
            authority,
            names,
            echo,
            address: own,
        };
        street.broker.up(&["street"]);
        street
    }

    /// A component of the street, spoken to as itself.
    #[must_use]
    pub fn peer(&self, name: &str) -> Peer {
        self.broker.as_component(&component(name))
    }

    /// What most components were granted.
    #[must_use]
    pub fn granted(&self) -> Value {
        usual(&self.echo)
    }

    /// Asks for a tunnel; what came back, head and body where it was refused.
    #[track_caller]
    pub fn connect(&self, name: &str, target: &str) -> (UnixStream, String) {
        let mut stream = self.peer(name).connect().expect("a connection");
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("write");
        let answer = read_answer(&mut stream);
        (stream, answer)
    }

    /// A tunnel that was opened.
    #[track_caller]
    pub fn tunnel(&self, name: &str, target: &str) -> UnixStream {
        let (stream, answer) = self.connect(name, target);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
        stream
    }

    /// Sends this and reads all there is to read.
    #[track_caller]
    pub fn raw(&self, name: &str, request: &[u8]) -> String {
        let mut stream = self.peer(name).connect().expect("a connection");
        say(&mut stream, request)
    }

    /// TLS over a stream, for a server that the authority signed for.
    #[track_caller]
    pub fn tls<S: io::Read + Write>(
        &self,
        stream: S,
        name: &str,
    ) -> StreamOwned<ClientConnection, S> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root()).expect("a root");
        StreamOwned::new(tls_client(roots, name), stream)
    }

    /// Records of the audit log about this target, outcomes included.
    #[must_use]
    pub fn records(&self, name: &str, target: &str) -> Vec<Value> {
        let component = component(name);
        let mut records = self.broker.audit();
        let about =
            |record: &&Value| record["target"] == target && record["component"] == *component;
        let ids: Vec<Value> = records
            .iter()
            .filter(about)
            .map(|record| record["id"].clone())
            .collect();
        records.retain(|record| ids.contains(&record["id"]));
        records
    }
}

/// Each street has an address of its own, beside the one that this process has for other servers.
fn address() -> Ipv4Addr {
    static STREETS: AtomicU32 = AtomicU32::new(0);
    /// As many as there are process ids.
    const APART: u32 = 1 << 22;
    let number = STREETS.fetch_add(1, Ordering::SeqCst) + 1;
    Ipv4Addr::from(u32::from(own_address()) + number * APART)
}

/// Sends this over a stream and reads all there is to read.
#[track_caller]
pub fn say<S: io::Read + Write>(stream: &mut S, request: &[u8]) -> String {
    stream.write_all(request).expect("write");
    let mut answer = Vec::new();
    // A connection that is reset has said all it had to say.
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads a head, and the body that its length announces.
#[track_caller]
pub fn read_answer<S: io::Read>(stream: &mut S) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("a body");
    answer.extend_from_slice(&body);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first bytes of a TLS client that asks for this name.
#[must_use]
pub fn client_hello(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut client = tls_client(RootCertStore::empty(), name);
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// The client side of TLS for a server of this name, without an earlier session.
#[must_use]
pub fn tls_client(roots: RootCertStore, name: &str) -> ClientConnection {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

fn component(name: &str) -> String {
    format!("street:tool:{name}")
}

fn pack(home: &Home) {
    home.write_pack("street", "def run(args):\n    return args\n");
    let mut manifest = Home::manifest("street");
    let one = manifest["components"][0].clone();
    let components = COMPONENTS.map(|name| {
        let mut component = one.clone();
        component["id"] = json!(self::component(name));
        component
    });
    manifest["components"] = json!(components);
    home.write_manifest("street", &manifest);
}

fn usual(echo: &Echo) -> Value {
    json!({"network": {
        "enabled": true, "allowed_ports": [443, 80], "timeout_ms": 5000,
        "allowed_domains": ["site.test", "metadata.test", "mixed.test", "unknown.test"],
        "tcp": [format!("site.test:{}", echo.port), "metadata.test:5432"],
    }})
}

fn grants(echo: &Echo) -> Vec<(&'static str, Value)> {
    let with = |key: &str, value: Value| {
        let mut grant = usual(echo);
        grant["network"][key] = value;
        grant
    };
    vec![
        ("web", usual(echo)),
        ("other", usual(echo)),
        ("fickle", usual(echo)),
        ("busy", usual(echo)),
        ("gone", usual(echo)),
        ("small", with("max_response_bytes", json!(1000))),
        ("narrow", {
            let mut grant = with("methods", json!(["GET"]));
            grant["network"]["paths"] = json!(["/hello", "/files/**"]);
            grant
        }),
    ]
}

//! A client of an HTTPS server, in a process of its own: direct, or through a proxy.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use rumi_tests::tls_client;
use rustix::thread::{
    LinkNameSpaceType, move_into_link_name_space, set_thread_gid, set_thread_uid,
};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::{RootCertStore, StreamOwned, pki_types::CertificateDer};

use crate::{failure::Failure, sample::Sample, web};

/// Requests that are not counted: names and pages are cold.
const WARM_UP: usize = 3;
/// A server of this machine that takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// One round of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Visit {
    /// What the server's certificate was signed with.
    pub root: Vec<u8>,
    /// Where to connect to.
    pub to: SocketAddrV4,
    /// Asked to connect on, where a proxy listens there.
    pub proxy: Option<Proxy>,
    /// Whose network and uid to take on.
    pub inside: Option<Inside>,
    /// How many requests, each with a connection of its own.
    pub requests: usize,
}

/// What a proxy is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proxy {
    /// Where it shall connect to.
    pub target: String,
    /// Value of `Proxy-Authorization`, where it wants one.
    pub authorization: Option<String>,
}

/// A component of a pack that is up.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Inside {
    /// The first process of its container.
    pub pid: u32,
    /// Its uid.
    pub uid: u32,
}

/// Visits as often as told.
pub fn run(visit: &Visit) -> Result<Sample, Failure> {
    if let Some(inside) = visit.inside {
        enter(inside)?;
    }
    let mut roots = RootCertStore::empty();
    let added = roots.add(CertificateDer::from(visit.root.clone()));
    added.map_err(|error| Failure::Unexpected(error.to_string()))?;
    let mut times = Vec::with_capacity(visit.requests);
    for number in 0..visit.requests + WARM_UP {
        let started = Instant::now();
        let answer = get(visit, &roots).map_err(Failure::file("the HTTPS server"))?;
        if number >= WARM_UP {
            times.push(started.elapsed());
        }
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(Failure::Unexpected(answer));
        }
    }
    Sample::of(times).ok_or_else(|| Failure::Unexpected("no request was made".to_owned()))
}

/// Nothing but this thread runs here, so what it becomes the whole process is.
fn enter(inside: Inside) -> Result<(), Failure> {
    let path = format!("/proc/{}/ns/net", inside.pid);
    let namespace = File::open(&path).map_err(Failure::file(path))?;
    let kernel = |action| move |source| Failure::Kernel { action, source };
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&namespace),
        Some(LinkNameSpaceType::Network),
    )
    .map_err(kernel("enter the network of a container"))?;
    set_thread_gid(rustix::process::Gid::from_raw(inside.uid))
        .map_err(kernel("take on a component's group"))?;
    set_thread_uid(rustix::process::Uid::from_raw(inside.uid))
        .map_err(kernel("take on a component's uid"))
}

/// One request with all that it takes: a connection, TLS without an earlier session, an answer.
fn get(visit: &Visit, roots: &RootCertStore) -> io::Result<String> {
    let mut stream = TcpStream::connect(visit.to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if let Some(proxy) = &visit.proxy {
        tunnel(&mut stream, proxy)?;
    }
    let client = tls_client(roots.clone(), web::NAME);
    let mut stream = StreamOwned::new(client, stream);
    let (path, host) = (web::PATH, web::NAME);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn tunnel(stream: &mut TcpStream, proxy: &Proxy) -> io::Result<()> {
    let target = &proxy.target;
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        head.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    // The server says nothing before the client does, so nothing follows the head.
    while !answer.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(answer.into_owned())),
    }
}

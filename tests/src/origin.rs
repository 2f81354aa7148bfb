//! A web server as it stands on the internet: HTTPS on 443, HTTP on 80, on an address of its own.

mod answers;
mod git;
mod websocket;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use crate::Authority;

/// Serves until the test binary ends.
///
/// `/hello` says hello, `/echo` returns what was sent, `/headers` the request's headers as JSON, `/redirect?to=URL` points to
/// that URL, `/large/N` sends N bytes of [`crate::content_sha256`], `/upload` returns length and SHA-256 of what was sent,
/// `/drip` sends without end, `/stall` begins and sends no more, `/silent` never answers, `/ws` is a WebSocket that echoes, `/git/` serves the repositories below the
/// directory `git`, and all else comes from the files below the directory.
#[derive(Debug)]
pub struct Origin {
    site: Arc<Site>,
    _runtime: Runtime,
}

/// One request, as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The `host` header.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The name that the client asked for in TLS; nothing where it came without TLS.
    pub sni: Option<String>,
}

#[derive(Debug)]
struct Site {
    files: PathBuf,
    seen: Mutex<Vec<Seen>>,
    stuck: AtomicUsize,
}

impl Origin {
    /// Starts one whose certificate is for these names.
    #[must_use]
    pub fn start(address: Ipv4Addr, authority: &Authority, names: &[&str], files: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let site = Arc::new(Site {
            files: files.to_owned(),
            seen: Mutex::default(),
            stuck: AtomicUsize::new(0),
        });
        for (port, acceptor) in [(443, Some(authority.acceptor(names))), (80, None)] {
            let place = SocketAddr::new(address.into(), port);
            let listener = runtime.block_on(TcpListener::bind(place));
            let listener = listener.unwrap_or_else(|error| panic!("{place}: {error}"));
            runtime.spawn(accept(listener, acceptor, Arc::clone(&site)));
        }
        Self {
            site,
            _runtime: runtime,
        }
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.site.seen.lock().expect("the list").clone()
    }

    /// How many connections are open that wait for the end of `/stall` or `/silent`.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.site.stuck.load(Ordering::SeqCst)
    }

    /// Requests for this path.
    #[must_use]
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|request| request.path == path);
        seen
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, site: Arc<Site>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, site) = (acceptor.clone(), Arc::clone(&site));
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, None, site).await,
                Some(acceptor) => {
                    // A client that trusts nobody here is its own business.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let sni = stream.get_ref().1.server_name().map(str::to_owned);
                    serve(stream, Some(sni.unwrap_or_default()), site).await;
                }
            }
        });
    }
}

async fn serve<S>(stream: S, sni: Option<String>, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stuck = AtomicBool::new(false);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let site = Arc::clone(&site);
        site.note(&request, sni.clone());
        let endless = matches!(request.uri().path(), "/stall" | "/silent");
        if endless && !stuck.swap(true, Ordering::SeqCst) {
            site.stuck.fetch_add(1, Ordering::SeqCst);
        }
        async move { answers::answer(request, &site.files).await }
    });
    // A client that goes away is its own business as well.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .ok();
    if stuck.load(Ordering::SeqCst) {
        site.stuck.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Site {
    fn note(&self, request: &hyper::Request<Incoming>, sni: Option<String>) {
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let host = headers.iter().find(|(name, _)| name == "host");
        self.seen.lock().expect("the list").push(Seen {
            method: request.method().to_string(),
            host: host.map(|(_, value)| value.clone()).unwrap_or_default(),
            path: request.uri().to_string(),
            headers,
            sni,
        });
    }
}

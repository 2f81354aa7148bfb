//! A server that reads one request and then does exactly what its script says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// One step after the request was read. When the script is over the connection is closed.
#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends this again and again, for as long as anybody reads.
    Forever(Vec<u8>),
    /// Cuts the connection without the end that TLS has for it.
    Cut,
}

pub(super) fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

pub(super) fn forever(text: impl AsRef<[u8]>) -> Step {
    Step::Forever(text.as_ref().to_vec())
}

/// What was seen of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) request: String,
    pub(super) sni: Option<String>,
    pub(super) alpn: Option<String>,
    /// The script was broken off because nobody read any more.
    pub(super) abandoned: bool,
}

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Origin {
    pub(super) async fn plain(script: Vec<Step>) -> Self {
        Self::start("127.0.0.1:0", None, script).await.unwrap()
    }

    pub(super) async fn tls(acceptor: TlsAcceptor, script: Vec<Step>) -> Self {
        Self::start("127.0.0.1:0", Some(acceptor), script)
            .await
            .unwrap()
    }

    pub(super) async fn start(
        bind: &str,
        acceptor: Option<TlsAcceptor>,
        script: Vec<Step>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(bind).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, script, log) = (acceptor.clone(), script.clone(), log.clone());
                tokio::spawn(async move {
                    let seen = converse(stream, acceptor, &script).await;
                    log.lock().unwrap().push(seen);
                });
            }
        });
        Ok(Self {
            address,
            seen,
            server,
        })
    }

    pub(super) fn url(&self, scheme: &str, host: &str, path: &str) -> String {
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }

    pub(super) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// Whether no connection has ended after a while that is ample on one machine.
    pub(super) async fn nobody_came(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.seen.lock().unwrap().is_empty()
    }

    /// All connections that have ended, once there are so many.
    pub(super) async fn seen(&self, count: usize) -> Vec<Seen> {
        for _ in 0..500 {
            let seen = self.seen.lock().unwrap().clone();
            if seen.len() >= count {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fewer than {count} connections have ended");
    }
}

async fn converse(stream: TcpStream, acceptor: Option<TlsAcceptor>, script: &[Step]) -> Seen {
    let mut seen = Seen::default();
    match acceptor {
        None => run(stream, script, &mut seen).await,
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else {
                seen.abandoned = true;
                return seen;
            };
            let session = stream.get_ref().1;
            seen.sni = session.server_name().map(str::to_owned);
            seen.alpn = session
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned());
            run(stream, script, &mut seen).await;
        }
    }
    seen
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: &[Step], seen: &mut Seen) {
    seen.request = read_request(&mut stream).await;
    for step in script {
        let sent = match step {
            Step::Send(bytes) => stream.write_all(bytes).await,
            Step::Wait(time) => wait(&mut stream, *time).await,
            Step::Forever(bytes) => loop {
                if let Err(error) = stream.write_all(bytes).await {
                    break Err(error);
                }
            },
            Step::Cut => return,
        };
        if sent.is_err() || stream.flush().await.is_err() {
            seen.abandoned = true;
            return;
        }
    }
    stream.shutdown().await.ok();
}

/// Waits, and fails when the far end goes away meanwhile.
async fn wait<S: AsyncRead + Unpin>(stream: &mut S, time: Duration) -> std::io::Result<()> {
    match tokio::time::timeout(time, stream.read_u8()).await {
        Err(_elapsed) => Ok(()),
        Ok(_gone_or_more) => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

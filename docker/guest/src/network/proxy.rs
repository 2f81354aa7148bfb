//! The loopback proxy of one component: whoever shows its secret is piped to its socket.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    gate::{Admitted, Gate, Turned, reset},
    head::{self, HeadError},
    secret::Secret,
    tunnel,
};

/// How long a request's head may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may take to read why it was refused.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSAL_REST: u64 = 64 * 1024;

/// The proxy while it is being served.
#[derive(Debug)]
pub(super) struct Proxy {
    url: String,
}

impl Proxy {
    /// Listens on a free port and serves it for as long as the runtime lives.
    pub(super) async fn start(gate: &Rc<Gate>) -> io::Result<Self> {
        let secret = Secret::new()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = secret.proxy_url(listener.local_addr()?.port());
        tokio::task::spawn_local(serve(Rc::clone(gate), listener, Rc::new(secret)));
        Ok(Self { url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

async fn serve(gate: Rc<Gate>, listener: TcpListener, secret: Rc<Secret>) {
    loop {
        match gate.accept(&listener).await {
            Ok(admitted) => {
                let (gate, secret) = (Rc::clone(&gate), Rc::clone(&secret));
                tokio::task::spawn_local(async move {
                    pass(&gate, &secret, admitted).await;
                });
            }
            // Without waiting for what it has to say: it would hold a place meanwhile.
            Err(Turned::Foreign(stream)) => say_at_once(
                stream,
                &reply(
                    "403 Forbidden",
                    "",
                    "this proxy belongs to another component",
                ),
            ),
            Err(Turned::Full(stream)) => say_at_once(
                stream,
                &reply(
                    "503 Service Unavailable",
                    "",
                    "this component has too many connections open",
                ),
            ),
        }
    }
}

async fn pass(gate: &Gate, secret: &Secret, admitted: Admitted) {
    let Admitted { mut stream, _slot } = admitted;
    let read = match head::read(&mut stream, HEAD_TIME, head::parse_request).await {
        Ok(read) => read,
        Err(HeadError::Ended | HeadError::Failed(_)) => return,
        Err(HeadError::Slow(_)) => return reset(stream),
        Err(error) => {
            let text = reply("400 Bad Request", "", &error.to_string());
            return refuse(stream, &text).await;
        }
    };
    let shown = read.head.credentials.as_deref();
    if !shown.is_some_and(|value| secret.is_shown_by(value)) {
        let wanted = "Proxy-Authenticate: Basic realm=\"rumi\"\r\n";
        let text = reply(
            "407 Proxy Authentication Required",
            wanted,
            "this proxy wants the credentials of HTTP_PROXY",
        );
        return refuse(stream, &text).await;
    }
    if !read.head.for_proxy {
        // The broker would take it for a request of this process, which may more than a tool's.
        let text = reply(
            "400 Bad Request",
            "",
            "this is a proxy: use CONNECT, or a URL with scheme and host",
        );
        return refuse(stream, &text).await;
    }
    let mut broker = match gate.broker().await {
        Ok(broker) => broker,
        Err(error) => {
            gate.say(&format_args!("cannot reach the broker: {error}"));
            let text = reply("502 Bad Gateway", "", "the broker cannot be reached");
            return refuse(stream, &text).await;
        }
    };
    if broker.write_all(&read.bytes).await.is_err() {
        return reset(stream);
    }
    drop(read);
    if tunnel::carry(&mut stream, &mut broker).await.is_err() {
        // One of the two is gone; so is the connection.
    }
}

fn reply(status: &str, header: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}

/// A fresh connection's buffer takes a short answer whole; the client need not be waited for.
fn say_at_once(stream: TcpStream, text: &str) {
    let said = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(text.as_bytes()));
    if said.is_err() {
        // It is closed all the same.
    }
}

/// Answers and waits a moment for the client to read it: closing with bytes unread would
/// take the answer back.
async fn refuse(mut stream: TcpStream, text: &str) {
    let answered = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(REFUSAL_REST);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if !matches!(timeout(REFUSAL_TIME, answered).await, Ok(Ok(_))) {
        reset(stream);
    }
}

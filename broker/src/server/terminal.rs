//! A command over HTTP/1.1: one upgrade, then frames both ways (docs/terminal-stream.md).

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tonic::Status;

use super::{connect, metered::Metered};
use crate::{
    capabilities::{Connection, Said, Session},
    command::{Input, Output, Signal, Size},
    refusal::{Refusal, connect_error},
};

/// Name of the protocol that follows the upgrade.
pub(super) const PROTOCOL: &str = "rumi-terminal";
/// Largest frame, in bytes: what runs, or input.
const LONGEST: usize = 1024 * 1024;
/// How long a caller may take to say what is to run.
const FIRST: Duration = Duration::from_secs(10);
/// How long the last word may wait for its reader.
const LAST: Duration = Duration::from_secs(10);

type Stream = TokioIo<Upgraded>;

/// Whether the request asks for this.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value == PROTOCOL)
}

/// Answers the upgrade; the command is named in the first frame.
pub(super) fn upgrade(connection: &Connection, request: Request<Metered>) -> Response<Full<Bytes>> {
    let Some(place) = connection.session() else {
        return connect::error(&Status::resource_exhausted(
            "this pack has as many terminals open as it may; close one",
        ));
    };
    let connection = connection.clone();
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => converse(&connection, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a peer went away before its upgrade"),
        }
        drop(place);
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("upgrade"),
    );
    headers.insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    response
}

async fn converse(connection: &Connection, stream: Stream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let first = tokio::time::timeout(FIRST, read(&mut reader)).await;
    let begun = match first {
        Ok(Ok(Frame {
            kind: b'S',
            content,
        })) => match serde_json::from_slice(&content) {
            Ok(start) => connection.start_command(start).await.map_err(Status::from),
            Err(error) => Err(Status::invalid_argument(format!(
                "what is to run is not valid: {error}"
            ))),
        },
        Ok(Err(Broken::Gone)) => return,
        Ok(Err(Broken::Nonsense(why))) => Err(Status::invalid_argument(why)),
        Ok(Ok(_)) | Err(_) => Err(connection.unstarted().await.into()),
    };
    let mut session = match begun {
        Ok(session) => session,
        Err(status) => return last_word(&mut writer, &status).await,
    };
    let input = session.input();
    let broken = tokio::select! {
        () = tell(&mut session, &mut writer) => None,
        broken = listen(&mut reader, input) => Some(broken),
    };
    // Dropped first: whoever goes away, or talks nonsense, ends his command.
    drop(session);
    if let Some(Broken::Nonsense(why)) = broken {
        last_word(&mut writer, &Status::invalid_argument(why)).await;
    }
}

/// Passes on what a session says, to its end.
async fn tell(session: &mut Session, writer: &mut WriteHalf<Stream>) {
    while let Some(said) = session.next().await {
        let written = match said {
            Ok(Said::Output(Output::Stdout(bytes))) => write(writer, b'o', &bytes).await,
            Ok(Said::Output(Output::Stderr(bytes))) => write(writer, b'e', &bytes).await,
            Ok(Said::Taken(bytes)) => write(writer, b't', &bytes.to_be_bytes()).await,
            Ok(Said::Exit(exit)) => {
                let exit = serde_json::to_vec(&exit).unwrap_or_default();
                write(writer, b'x', &exit).await
            }
            Err(refusal) => return last_word(writer, &status(refusal)).await,
        };
        if let Err(error) = written {
            return tracing::debug!(%error, "a peer does not wait for its command");
        }
    }
    if let Err(error) = writer.shutdown().await {
        tracing::debug!(%error, "a peer went away");
    }
}

fn status(refusal: Refusal) -> Status {
    refusal.into()
}

async fn last_word(writer: &mut WriteHalf<Stream>, status: &Status) {
    let (_, body) = connect_error(status);
    let written = tokio::time::timeout(LAST, async {
        write(writer, b'd', &body).await?;
        writer.shutdown().await
    });
    if !matches!(written.await, Ok(Ok(()))) {
        tracing::debug!("a peer does not wait for a refusal");
    }
}

async fn write(writer: &mut WriteHalf<Stream>, kind: u8, content: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    let mut frame = BytesMut::with_capacity(content.len() + 5);
    frame.put_u8(kind);
    frame.put_u32(length);
    frame.extend_from_slice(content);
    writer.write_all(&frame).await
}

struct Frame {
    kind: u8,
    content: Bytes,
}

/// Why no frame came.
enum Broken {
    /// The peer is.
    Gone,
    /// What came is no frame.
    Nonsense(String),
}

/// Passes on what the peer says, until he goes away or says what makes no sense.
async fn listen(reader: &mut ReadHalf<Stream>, input: mpsc::Sender<Input>) -> Broken {
    loop {
        let understood = match read(reader).await {
            Ok(frame) => understand(frame),
            Err(broken) => return broken,
        };
        match understood {
            // A command that has ended takes no more; its exit is on its way.
            Ok(piece) => drop(input.send(piece).await),
            Err(why) => return Broken::Nonsense(why),
        }
    }
}

async fn read(reader: &mut ReadHalf<Stream>) -> Result<Frame, Broken> {
    let kind = reader.read_u8().await.map_err(|_| Broken::Gone)?;
    let length = reader.read_u32().await.map_err(|_| Broken::Gone)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(Broken::Nonsense(format!(
            "a frame of {length} bytes is larger than {LONGEST}"
        )));
    }
    // Grown as the bytes come, so that a length alone reserves nothing.
    let mut content = Vec::with_capacity(length.min(64 * 1024));
    let mut limited = reader.take(u64::try_from(length).unwrap_or(u64::MAX));
    let read = limited.read_to_end(&mut content).await;
    if read.map_or(true, |read| read < length) {
        return Err(Broken::Gone);
    }
    Ok(Frame {
        kind,
        content: content.into(),
    })
}

fn understand(frame: Frame) -> Result<Input, String> {
    match (frame.kind, &*frame.content) {
        (b'I', _) => Ok(Input::Data(frame.content)),
        (b'E', []) => Ok(Input::End),
        (b'R', &[a, b, c, d]) => Ok(Input::Resize(Size {
            rows: u16::from_be_bytes([a, b]),
            columns: u16::from_be_bytes([c, d]),
        })),
        (b'K', name) => {
            let name = String::from_utf8_lossy(name);
            Signal::from_name(&name).map(Input::Signal).ok_or_else(|| {
                format!(
                    "`{}` is no signal that may be sent; those are HUP, INT, QUIT, KILL, USR1, USR2, TERM",
                    name.escape_debug()
                )
            })
        }
        (kind, _) => Err(format!(
            "a frame of the kind `{}` makes no sense here; see docs/terminal-stream.md",
            char::from(kind).escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Input, understand};

    #[test]
    fn frames_are_understood_or_refused() {
        let said = |kind, content: &'static [u8]| {
            understand(Frame {
                kind,
                content: content.into(),
            })
        };
        assert!(matches!(said(b'I', b"x"), Ok(Input::Data(_))));
        assert!(matches!(said(b'E', b""), Ok(Input::End)));
        assert!(
            matches!(said(b'R', &[0, 1, 0, 2]), Ok(Input::Resize(size)) if size.rows == 1 && size.columns == 2)
        );
        assert!(matches!(said(b'K', b"TERM"), Ok(Input::Signal(_))));
        for (kind, content) in [
            (b'E', &b"x"[..]),
            (b'R', b"123"),
            (b'K', b"SIGTERM"),
            (b'K', b"STOP"),
            (b'K', b"\xff"),
            (b'S', b"{}"),
            (0, b""),
        ] {
            assert!(said(kind, content).is_err(), "{kind} {content:?}");
        }
    }
}

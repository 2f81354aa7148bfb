//! A WebSocket (RFC 6455) that sends back every message, just enough of it for that.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming, header, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::{Body, full};

/// What the RFC has a server add to a client's key.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 8;

pub(super) fn answer(request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        return full(StatusCode::UPGRADE_REQUIRED, "a WebSocket is served here\n");
    };
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), MAGIC].concat());
    let accept = STANDARD.encode(accept);
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(request).await {
            // A client that goes away is its own business.
            echo(TokioIo::new(stream)).await.ok();
        }
    });
    let built = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header("sec-websocket-accept", accept)
        .body(http_body_util::Empty::new().boxed_unsync());
    built.expect("a reply")
}

async fn echo(mut stream: TokioIo<Upgraded>) -> io::Result<()> {
    loop {
        let first = stream.read_u8().await?;
        let length = match stream.read_u8().await? & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        stream.read_exact(&mut data).await?;
        for (byte, key) in data.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        stream.write_u8(first).await?;
        // A server's frames have no mask; the longest form of a length is always allowed to be read.
        match u8::try_from(data.len()) {
            Ok(short) if short < 126 => stream.write_u8(short).await?,
            _ => match u16::try_from(data.len()) {
                Ok(middle) => {
                    stream.write_u8(126).await?;
                    stream.write_u16(middle).await?;
                }
                Err(_) => {
                    stream.write_u8(127).await?;
                    stream.write_u64(length).await?;
                }
            },
        }
        stream.write_all(&data).await?;
        stream.flush().await?;
        if first & 0x0f == CLOSE {
            return stream.shutdown().await;
        }
    }
}

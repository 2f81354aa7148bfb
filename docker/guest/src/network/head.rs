//! The heads of requests and replies, read up to their end and no further than they may go.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

/// Longest head that is read.
const LONGEST: usize = 64 * 1024;
/// A buffer of this size is taken first; few heads are longer.
const USUAL: usize = 2 * 1024;
const MOST_HEADERS: usize = 128;

/// What was read until the head was whole, which may be more than the head.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) bytes: Vec<u8>,
    pub(super) length: usize,
    pub(super) head: T,
}

impl<T> Read<T> {
    /// What came behind the head.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.length..).unwrap_or_default()
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the head did not come within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the head is longer than {LONGEST} bytes")]
    Long,
    #[error("the head is not HTTP/1.1")]
    Malformed,
    #[error("the connection ended within the head")]
    Ended,
    #[error("the connection failed")]
    Failed(#[from] io::Error),
}

/// What a proxy must know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// `CONNECT`, or a target with a scheme: what only a proxy is sent.
    pub(super) for_proxy: bool,
    /// Value of `Proxy-Authorization`, if there is exactly one.
    pub(super) credentials: Option<Vec<u8>>,
}

/// Reads from `source` until `parse` has a head.
pub(super) async fn read<T>(
    source: &mut (impl AsyncRead + Unpin),
    time: Duration,
    parse: impl Fn(&[u8]) -> Result<Option<(usize, T)>, HeadError>,
) -> Result<Read<T>, HeadError> {
    let reading = async {
        let mut bytes = Vec::with_capacity(USUAL);
        // A head that comes byte by byte is looked through at each line's end only.
        let mut seen = 0;
        loop {
            if bytes.len() >= LONGEST {
                return Err(HeadError::Long);
            }
            let room = LONGEST - bytes.len();
            let mut limited = (&mut *source).take(u64::try_from(room).unwrap_or(u64::MAX));
            if limited.read_buf(&mut bytes).await? == 0 {
                return Err(HeadError::Ended);
            }
            if bytes.get(seen..).is_some_and(|new| new.contains(&b'\n'))
                && let Some((length, head)) = parse(&bytes)?
            {
                return Ok(Read {
                    bytes,
                    length,
                    head,
                });
            }
            seen = bytes.len();
        }
    };
    timeout(time, reading)
        .await
        .unwrap_or(Err(HeadError::Slow(time)))
}

pub(super) fn parse_request(bytes: &[u8]) -> Result<Option<(usize, RequestHead)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|_| HeadError::Malformed)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let target = request.path.unwrap_or_default();
    let for_proxy = request.method == Some("CONNECT")
        || target
            .split_once("://")
            .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let mut values = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("proxy-authorization"));
    let credentials = match (values.next(), values.next()) {
        (Some(header), None) => Some(header.value.to_vec()),
        _ => None,
    };
    let head = RequestHead {
        for_proxy,
        credentials,
    };
    Ok(Some((length, head)))
}

/// What the client of a tunnel must know of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReplyHead {
    pub(super) status: u16,
    /// Length of the body, where it is said.
    pub(super) length: Option<usize>,
}

pub(super) fn parse_reply(bytes: &[u8]) -> Result<Option<(usize, ReplyHead)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut reply = httparse::Response::new(&mut headers);
    let parsed = reply.parse(bytes).map_err(|_| HeadError::Malformed)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = reply.code.ok_or(HeadError::Malformed)?;
    let body = reply
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.trim().parse().ok());
    let head = ReplyHead {
        status,
        length: body,
    };
    Ok(Some((length, head)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const TIME: Duration = Duration::from_millis(200);

    fn request(text: &str) -> RequestHead {
        let (length, head) = parse_request(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        head
    }

    #[test]
    fn requests_for_a_proxy_are_told_from_others() {
        for (line, for_proxy) in [
            ("CONNECT a.example:443 HTTP/1.1", true),
            ("GET http://a.example/x HTTP/1.1", true),
            ("POST HTTPS://a.example/ HTTP/1.0", true),
            ("GET / HTTP/1.1", false),
            ("GET /http://a.example/ HTTP/1.1", false),
            ("POST /rumi.v1.Worker/Spare HTTP/1.1", false),
            ("POST /rumi.v1.Worker/Spare?x=://y HTTP/1.1", false),
            ("OPTIONS * HTTP/1.1", false),
            ("connect a.example:443 HTTP/1.1", false),
        ] {
            let head = request(&format!("{line}\r\nHost: a.example\r\n\r\n"));
            assert_eq!(head.for_proxy, for_proxy, "{line}");
            assert_eq!(head.credentials, None);
        }
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert!(matches!(parse_request(preface), Err(HeadError::Malformed)));
        assert!(matches!(
            parse_request(b"\x16\x03\x01\n"),
            Err(HeadError::Malformed)
        ));
    }

    #[test]
    fn credentials_count_when_they_stand_there_once() {
        let one = "GET http://a/ HTTP/1.1\r\npRoxy-authorization:  Basic eA== \r\n";
        let head = request(&format!("{one}\r\n"));
        assert_eq!(head.credentials.unwrap(), b"Basic eA==");
        let twice = format!("{one}Proxy-Authorization: Basic eQ==\r\n\r\n");
        assert_eq!(request(&twice).credentials, None);
    }

    #[tokio::test]
    async fn what_comes_behind_the_head_is_kept() {
        let mut source: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let read = read(&mut source, TIME, parse_reply).await.unwrap();
        let head = ReplyHead {
            status: 200,
            length: Some(5),
        };
        assert_eq!((&read.head, read.rest()), (&head, &b"hello"[..]));
    }

    #[tokio::test]
    async fn slow_long_and_cut_heads_are_refused() {
        let mut cut: &[u8] = b"HTTP/1.1 200";
        let error = read(&mut cut, TIME, parse_reply).await.unwrap_err();
        assert!(matches!(error, HeadError::Ended), "{error}");
        let endless = [
            &b"GET http://a/ HTTP/1.1\r\nX: "[..],
            &vec![b'a'; 2 * LONGEST],
        ]
        .concat();
        let error = read(&mut &endless[..], TIME, parse_request)
            .await
            .unwrap_err();
        assert!(matches!(error, HeadError::Long), "{error}");
        let (mut writer, mut reader) = tokio::io::duplex(64);
        writer.write_all(b"GET http://a/ HT").await.unwrap();
        let error = read(&mut reader, TIME, parse_request).await.unwrap_err();
        assert!(matches!(error, HeadError::Slow(_)), "{error}");
    }
}

//! A web server on a local port that notes what it was asked.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Serves until the test binary ends.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    /// Starts one on a free port of this address.
    ///
    /// `/hello` says hello, `/echo` returns method and body, `/redirect` points to `/hello`,
    /// `/large/N` sends N bytes, `/endless` never ends, `/silent` never answers.
    #[must_use]
    pub fn start(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&noting);
                // A client that goes away is its own business.
                thread::spawn(move || serve(stream, &seen).ok());
            }
        });
        Self { address, seen }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Heads of all requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("the list").clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    seen.lock().expect("the list").push(head.clone());
    let mut words = head.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = path.split('?').next().unwrap_or_default();
    let mut answer = |status: &str, more: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    };
    match path {
        "/hello" => answer("200 OK", "X-Test: a\r\nX-Test: b\r\n", b"hello"),
        "/echo" => answer(
            "201 Created",
            "",
            &[method.as_bytes(), b" ", &body].concat(),
        ),
        "/redirect" => answer("302 Found", "Location: /hello\r\n", b""),
        "/silent" => {
            thread::sleep(Duration::from_secs(120));
            Ok(())
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 65536])?;
            }
        }
        _ => match path
            .strip_prefix("/large/")
            .and_then(|size| size.parse().ok())
        {
            Some(size) => answer("200 OK", "", &vec![b'x'; size]),
            None => answer("404 Not Found", "", b"nothing here"),
        },
    }
}

//! A name server on a local port that answers what the test told it to.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

const HEADER: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;

/// Serves until the test binary ends.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Starts one that knows these names; for all others it says that they do not exist.
    #[must_use]
    pub fn start(names: &[(&str, &[&str])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        let known: HashMap<String, Vec<IpAddr>> = names
            .iter()
            .map(|(name, addresses)| {
                let parsed = addresses
                    .iter()
                    .map(|text| text.parse().expect("an address"));
                ((*name).to_owned(), parsed.collect())
            })
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Some(query) = buffer.get(..length) else {
                    continue;
                };
                if let Some((name, reply)) = answer(query, &known) {
                    noting.lock().expect("the list").push(name);
                    socket.send_to(&reply, from).ok();
                }
            }
        });
        Self { address, asked }
    }

    /// Where it listens, as the configuration wants it.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Names it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }
}

/// The reply to one query (RFC 1035, section 4).
fn answer(query: &[u8], known: &HashMap<String, Vec<IpAddr>>) -> Option<(String, Vec<u8>)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(HEADER..at + 4)?;
    let found: Vec<IpAddr> = known.get(&name).into_iter().flatten().copied().collect();
    let fitting: Vec<Vec<u8>> = found
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) if kind == A => Some(address.octets().to_vec()),
            IpAddr::V6(address) if kind == AAAA => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut reply = query.get(..2)?.to_vec();
    // A response with recursion, and "no such name" where there is none.
    let code = if found.is_empty() { 3 } else { 0 };
    reply.extend_from_slice(&[0x81, 0x80 | code, 0, 1]);
    reply.extend_from_slice(&u16::try_from(fitting.len()).ok()?.to_be_bytes());
    reply.extend_from_slice(&[0, 0, 0, 0]);
    reply.extend_from_slice(question);
    for address in fitting {
        // The name is the question's; class IN, one minute to live.
        reply.extend_from_slice(&[0xc0, 0x0c]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        reply.extend_from_slice(&u16::try_from(address.len()).ok()?.to_be_bytes());
        reply.extend_from_slice(&address);
    }
    Some((name, reply))
}

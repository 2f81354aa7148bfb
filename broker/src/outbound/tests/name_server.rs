//! A name server over UDP and TCP that answers as a closure says.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use crate::outbound::{NameServers, Resolver};

/// One answer.
pub(super) enum Answer {
    Records(Vec<Record>),
    Code(ResponseCode),
    /// Nothing, ever.
    Silence,
}

/// The question as text, and which one of its kind it is, from 0.
type Zone = dyn Fn(&str, RecordType, usize) -> Answer + Send + Sync;

pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    questions: Arc<Mutex<Vec<(String, RecordType)>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(super) fn at(name: &str, addresses: &[&str]) -> Vec<Record> {
    addresses
        .iter()
        .map(|address| {
            let data = match address.parse().unwrap() {
                IpAddr::V4(address) => RData::A(A(address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(address)),
            };
            Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data)
        })
        .collect()
}

pub(super) fn alias(name: &str, target: &str) -> Record {
    let target = Name::from_ascii(target).unwrap();
    Record::from_rdata(
        Name::from_ascii(name).unwrap(),
        60,
        RData::CNAME(CNAME(target)),
    )
}

impl NameServer {
    pub(super) async fn start(
        zone: impl Fn(&str, RecordType, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let zone: Arc<Zone> = Arc::new(zone);
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let (udp_zone, udp_log) = (zone.clone(), questions.clone());
        let over_udp = tokio::spawn(async move {
            let mut packet = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut packet).await.unwrap();
                let Some(mut reply) = answer(&packet[..length], &*udp_zone, &udp_log) else {
                    continue;
                };
                if reply.to_vec().unwrap().len() > 1232 {
                    reply.metadata.truncation = true;
                    reply.answers.clear();
                }
                udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let tcp_log = questions.clone();
        let over_tcp = tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut packet = vec![0; usize::from(length)];
                stream.read_exact(&mut packet).await.unwrap();
                let Some(reply) = answer(&packet, &*zone, &tcp_log) else {
                    continue;
                };
                let reply = reply.to_vec().unwrap();
                stream
                    .write_u16(u16::try_from(reply.len()).unwrap())
                    .await
                    .unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self {
            address,
            questions,
            tasks: [over_udp, over_tcp],
        }
    }

    pub(super) fn resolver(&self) -> Resolver {
        Resolver::new(NameServers::Listed(vec![self.address]))
    }

    /// Every name asked for, in order, without repetitions in a row.
    pub(super) fn names_asked(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .questions
            .lock()
            .unwrap()
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        names.dedup();
        names
    }
}

/// The same port for both, which takes a few attempts when another process has it for one of them.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no port is free for both UDP and TCP");
}

fn answer(packet: &[u8], zone: &Zone, log: &Mutex<Vec<(String, RecordType)>>) -> Option<Message> {
    let mut message = Message::from_vec(packet).unwrap();
    let query: Query = message.queries.first().unwrap().clone();
    let question = (query.name().to_string(), query.query_type());
    let earlier = {
        let mut log = log.lock().unwrap();
        let earlier = log.iter().filter(|other| **other == question).count();
        log.push(question.clone());
        earlier
    };
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    match zone(&question.0, question.1, earlier) {
        Answer::Silence => return None,
        Answer::Code(code) => message.metadata.response_code = code,
        Answer::Records(records) => message.insert_answers(records),
    }
    Some(message)
}

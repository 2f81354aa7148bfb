//! Answers a component's questions for names: the broker says whether it may have them.

use std::{rc::Rc, time::Duration};

use hyper_util::rt::TokioIo;
use rumi_proto::v1::{NetworkResolveRequest, capabilities_client::CapabilitiesClient};
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Code as Status,
    transport::{Channel, Endpoint},
};

use super::{
    gate::Gate,
    message::{self, Code, Query, Question},
    names::Names,
};

/// Clients ask again after two seconds; by then it should have been said that nobody knows.
const ANSWER: Duration = Duration::from_millis(1800);

#[derive(Debug)]
pub(super) struct Resolver {
    gate: Rc<Gate>,
    names: Names,
    broker: CapabilitiesClient<Channel>,
}

impl Resolver {
    /// The connection to the broker is made with the first question.
    pub(super) fn new(gate: Rc<Gate>) -> Self {
        let socket = gate.socket().to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is only the authority of the requests; the connector decides where they go.
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            names: Names::new(Rc::clone(&gate)),
            broker: CapabilitiesClient::new(channel),
            gate,
        }
    }

    /// The answer to a query; `None` where it gets none.
    pub(super) async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let question = match message::read(query) {
            Query::Question(question) => question,
            Query::Unfit(code) => return Some(message::without_records(query, code)),
            Query::Ignored => return None,
        };
        if !question.addresses {
            // There is nothing but addresses of IPv4; whether the name is granted is decided
            // once, with the question for those, which every client asks too.
            return Some(message::answer(query, &question, None));
        }
        Some(match self.address(&question).await {
            Ok(address) => message::answer(query, &question, Some(address)),
            Err(code) => message::refusal(query, &question, code),
        })
    }

    async fn address(&self, question: &Question) -> Result<std::net::Ipv4Addr, Code> {
        let host = question.host.as_str();
        if host.is_empty() {
            return Err(Code::NoSuchName);
        }
        let request = NetworkResolveRequest {
            host: host.to_owned(),
        };
        let mut broker = self.broker.clone();
        let reply = match timeout(ANSWER, broker.network_resolve(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) if is_refusal(status.code()) => {
                self.names.forget(host);
                return Err(Code::NoSuchName);
            }
            Ok(Err(status)) => {
                self.gate.say(&format_args!(
                    "cannot ask for `{host}`: {}",
                    status.message()
                ));
                return Err(Code::Failed);
            }
            Err(_) => return Err(Code::Failed),
        };
        let ports: Vec<u16> = reply
            .ports
            .into_iter()
            .filter_map(|port| u16::try_from(port).ok())
            .collect();
        self.names.address(host, &ports).map_err(|error| {
            self.gate.say(&crate::say::chain(&error));
            Code::Failed
        })
    }
}

/// Whether the broker said no, or that no host can be called this.
fn is_refusal(code: Status) -> bool {
    matches!(
        code,
        Status::PermissionDenied | Status::InvalidArgument | Status::NotFound
    )
}

//! The wire's requests, parsed once into those of the policy; replies the other way.

mod commands;
mod custom;
mod files;
mod proxy;
mod stream;
mod tasks;

pub use commands::{Said, Session};
pub use files::ended_early;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use rumi_policy::{
    AbsPath, Denial, EnvKey, EnvReadAsk, NetworkAsk, Reason, ResolveAsk, SpellingError,
};
use rumi_proto::v1::{self, capabilities_server::Capabilities};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    broker::Broker,
    caller::Caller,
    freight::Freight,
    handlers::{EnvHandler, FetchHandler, ResolveHandler},
    outbound::Payload,
    pipeline,
    refusal::Refusal,
};

pub(crate) use proxy::Room;

/// Time for one request to the network when it does not say.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection of a component: the broker, and who is at the other end.
#[derive(Debug, Clone)]
pub struct Connection {
    broker: Arc<Broker>,
    caller: Caller,
}

impl Connection {
    /// For an accepted connection.
    #[must_use]
    pub fn new(broker: Arc<Broker>, caller: Caller) -> Self {
        Self { broker, caller }
    }

    /// A place for one more terminal of this component, where there is one.
    #[must_use]
    pub fn session(&self) -> Option<crate::shares::Place> {
        self.caller.session()
    }

    /// Records that a request could not be understood.
    async fn malformed(
        &self,
        permission: &'static str,
        action: &'static str,
        denial: Denial,
    ) -> Refusal {
        pipeline::malformed(&self.broker, &self.caller, permission, action, denial).await
    }

    async fn path(
        &self,
        permission: &'static str,
        action: &'static str,
        text: &str,
    ) -> Result<AbsPath, Refusal> {
        match text.parse() {
            Ok(path) => Ok(path),
            Err(error) => Err(self.malformed(permission, action, spelling(&error)).await),
        }
    }
}

/// The room that a request's bytes have; only one that came over a socket has any.
fn freight<T>(request: &Request<T>) -> Option<Freight> {
    request.extensions().get::<Freight>().cloned()
}

fn spelling(error: &SpellingError) -> Denial {
    Denial::new(Reason::BadRequest, error.to_string())
}

#[tonic::async_trait]
impl Capabilities for Connection {
    type FileReadStreamStream = Pin<Box<dyn Stream<Item = Result<v1::FileChunk, Status>> + Send>>;

    async fn file_read(
        &self,
        request: Request<v1::FileReadRequest>,
    ) -> Result<Response<v1::FileReadResponse>, Status> {
        let freight = freight(&request);
        Ok(Response::new(
            self.read(request.into_inner(), freight).await?,
        ))
    }

    async fn file_read_stream(
        &self,
        request: Request<v1::FileReadRequest>,
    ) -> Result<Response<Self::FileReadStreamStream>, Status> {
        let download = self.download(request.into_inner()).await?;
        Ok(Response::new(Box::pin(download.into_chunks())))
    }

    async fn file_list(
        &self,
        request: Request<v1::FileListRequest>,
    ) -> Result<Response<v1::FileListResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn file_stat(
        &self,
        request: Request<v1::FileStatRequest>,
    ) -> Result<Response<v1::FileStatResponse>, Status> {
        Ok(Response::new(self.stat(request.into_inner()).await?))
    }

    async fn file_write(
        &self,
        request: Request<v1::FileWriteRequest>,
    ) -> Result<Response<v1::FileWriteResponse>, Status> {
        Ok(Response::new(self.write(request.into_inner()).await?))
    }

    async fn file_write_stream(
        &self,
        request: Request<Streaming<v1::FileWriteChunk>>,
    ) -> Result<Response<v1::FileWriteResponse>, Status> {
        Ok(Response::new(self.take_in(request.into_inner()).await?))
    }

    async fn file_mkdir(
        &self,
        request: Request<v1::FileMkdirRequest>,
    ) -> Result<Response<v1::FileMkdirResponse>, Status> {
        self.mkdir(request.into_inner()).await?;
        Ok(Response::new(v1::FileMkdirResponse {}))
    }

    async fn file_delete(
        &self,
        request: Request<v1::FileDeleteRequest>,
    ) -> Result<Response<v1::FileDeleteResponse>, Status> {
        self.delete(request.into_inner()).await?;
        Ok(Response::new(v1::FileDeleteResponse {}))
    }

    async fn file_rename(
        &self,
        request: Request<v1::FileRenameRequest>,
    ) -> Result<Response<v1::FileRenameResponse>, Status> {
        self.rename(request.into_inner()).await?;
        Ok(Response::new(v1::FileRenameResponse {}))
    }

    async fn env_read(
        &self,
        request: Request<v1::EnvReadRequest>,
    ) -> Result<Response<v1::EnvReadResponse>, Status> {
        let key = request.into_inner().key;
        let ask = if key.is_empty() {
            EnvReadAsk::All
        } else {
            match key.parse::<EnvKey>() {
                Ok(key) => EnvReadAsk::One(key),
                Err(error) => {
                    let denial = spelling(&error);
                    return Err(self.malformed("env_read", "read", denial).await.into());
                }
            }
        };
        let values = pipeline::run(&self.broker, &self.caller, ask, EnvHandler).await?;
        Ok(Response::new(v1::EnvReadResponse {
            values: values
                .into_iter()
                .map(|(key, value)| (key, value.text().to_owned()))
                .collect(),
        }))
    }

    async fn terminal_run(
        &self,
        request: Request<v1::TerminalRunRequest>,
    ) -> Result<Response<v1::TerminalRunResponse>, Status> {
        Ok(Response::new(self.run(request.into_inner()).await?))
    }

    type TerminalStreamStream = stream::Replies;

    async fn terminal_stream(
        &self,
        request: Request<tonic::Streaming<v1::TerminalInput>>,
    ) -> Result<Response<Self::TerminalStreamStream>, Status> {
        Ok(Response::new(self.stream(request.into_inner()).await?))
    }

    async fn network_fetch(
        &self,
        request: Request<v1::NetworkFetchRequest>,
    ) -> Result<Response<v1::NetworkFetchResponse>, Status> {
        let freight = freight(&request);
        let request = request.into_inner();
        let headers = request
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_str()));
        let payload = Payload::new(headers, request.body)
            .map_err(|error| Denial::new(Reason::BadRequest, error.to_string()));
        let parsed = payload
            .and_then(|payload| Ok((NetworkAsk::parse(&request.method, &request.url)?, payload)));
        let names = request.headers.iter().map(|header| header.name.as_str());
        let (ask, payload) = match parsed {
            Ok((ask, payload)) => (ask.with_headers(names), payload),
            Err(denial) => return Err(self.malformed("network", "fetch", denial).await.into()),
        };
        let wanted = Duration::from_millis(u64::from(request.timeout_ms));
        let timeout = if wanted.is_zero() {
            NETWORK_TIMEOUT
        } else {
            wanted
        };
        let handler = FetchHandler {
            payload,
            timeout,
            freight,
        };
        let reply = self.detached(ask, handler).await?;
        Ok(Response::new(tasks::network_reply(reply)))
    }
    async fn network_resolve(
        &self,
        request: Request<v1::NetworkResolveRequest>,
    ) -> Result<Response<v1::NetworkResolveResponse>, Status> {
        let ask = match ResolveAsk::parse(&request.into_inner().host) {
            Ok(ask) => ask,
            Err(denial) => return Err(self.malformed("network", "resolve", denial).await.into()),
        };
        let ports = pipeline::run(&self.broker, &self.caller, ask, ResolveHandler).await?;
        let ports = ports.into_iter().map(u32::from).collect();
        Ok(Response::new(v1::NetworkResolveResponse { ports }))
    }

    async fn custom_call(
        &self,
        request: Request<v1::CustomCallRequest>,
    ) -> Result<Response<v1::CustomCallResponse>, Status> {
        Ok(Response::new(self.custom(request.into_inner()).await?))
    }
}

//! The other side of the wire: a broker that answers from a script.

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
};

use rumi_proto::v1::{
    ApproveRequest, ApproveResponse, CallRequest, CallResponse, DisapproveRequest,
    DisapproveResponse, DoctorRequest, DoctorResponse, ExecRequest, ExecResponse,
    GrantResetRequest, GrantResetResponse, HandlersRequest, HandlersResponse, LogLine, LogsRequest,
    PacksRequest, Progress, PsRequest, PsResponse, QuotasRequest, QuotasResponse, ReviewRequest,
    ReviewResponse, SecretListRequest, SecretListResponse, SecretRemoveRequest,
    SecretRemoveResponse, SecretSetRequest, SecretSetResponse, SessionListRequest,
    SessionListResponse, SessionRequest, SessionResponse, StatsResponse, StatusRequest,
    StatusResponse, StopTerminalRequest, StopTerminalResponse, TerminalsRequest, TerminalsResponse,
    UsesRequest, UsesResponse,
    control_server::{Control, ControlServer},
};
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// What the broker is to answer.
#[derive(Default, Clone)]
pub(crate) struct Script {
    pub(crate) progress: Vec<Progress>,
    pub(crate) reviews: ReviewResponse,
    pub(crate) ps: PsResponse,
    pub(crate) stats: StatsResponse,
    pub(crate) terminals: TerminalsResponse,
    pub(crate) pending: rumi_proto::v1::PendingResponse,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) calls: HashMap<String, CallResponse>,
    pub(crate) doctor: DoctorResponse,
    pub(crate) quotas: QuotasResponse,
    pub(crate) uses: UsesResponse,
    pub(crate) secrets: SecretListResponse,
    pub(crate) handlers: HandlersResponse,
    pub(crate) refuse: Option<Status>,
    /// Ends a stream in the middle.
    pub(crate) break_stream: Option<Status>,
}

pub(crate) struct Broker {
    runtime: tokio::runtime::Runtime,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    /// Listens until dropped.
    pub(crate) fn start(socket: PathBuf, script: Script) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let scripted = Scripted {
            script,
            asked: Arc::clone(&asked),
        };
        let listener = runtime
            .block_on(async { tokio::net::UnixListener::bind(socket) })
            .unwrap();
        runtime.spawn(
            Server::builder()
                .add_service(ControlServer::new(scripted))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self { runtime, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn stop(self) {
        self.runtime.shutdown_background();
    }
}

struct Scripted {
    script: Script,
    asked: Arc<Mutex<Vec<String>>>,
}

type Lines<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Scripted {
    fn note(&self, what: String) -> Result<(), Status> {
        self.asked.lock().unwrap().push(what);
        self.script.refuse.clone().map_or(Ok(()), Err)
    }

    fn stream<T: Send + 'static>(&self, items: Vec<T>) -> Response<Lines<T>> {
        let mut items: Vec<Result<T, Status>> = items.into_iter().map(Ok).collect();
        items.extend(self.script.break_stream.clone().map(Err));
        Response::new(Box::pin(tokio_stream::iter(items)))
    }
}

#[tonic::async_trait]
impl Control for Scripted {
    type BuildStream = Lines<Progress>;
    type UpStream = Lines<Progress>;
    type DownStream = Lines<Progress>;
    type LogsStream = Lines<LogLine>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Err(Status::unimplemented("not asked by any verb"))
    }
    async fn build(
        &self,
        request: Request<PacksRequest>,
    ) -> Result<Response<Lines<Progress>>, Status> {
        self.note(format!("build {:?}", request.into_inner().packs))?;
        Ok(self.stream(self.script.progress.clone()))
    }
    async fn up(
        &self,
        request: Request<PacksRequest>,
    ) -> Result<Response<Lines<Progress>>, Status> {
        self.note(format!("up {:?}", request.into_inner().packs))?;
        Ok(self.stream(self.script.progress.clone()))
    }
    async fn review(
        &self,
        request: Request<ReviewRequest>,
    ) -> Result<Response<ReviewResponse>, Status> {
        self.note(format!("review {:?}", request.into_inner().packs))?;
        Ok(Response::new(self.script.reviews.clone()))
    }
    async fn approve(
        &self,
        request: Request<ApproveRequest>,
    ) -> Result<Response<ApproveResponse>, Status> {
        let request = request.into_inner();
        self.note(format!("approve {} {}", request.pack, request.digest))?;
        Ok(Response::new(ApproveResponse {
            record: "01TEST".to_owned(),
        }))
    }
    async fn disapprove(
        &self,
        request: Request<DisapproveRequest>,
    ) -> Result<Response<DisapproveResponse>, Status> {
        self.note(format!("disapprove {}", request.into_inner().pack))?;
        Ok(Response::new(DisapproveResponse {
            record: "01TEST".to_owned(),
            runs: true,
        }))
    }
    async fn down(
        &self,
        request: Request<PacksRequest>,
    ) -> Result<Response<Lines<Progress>>, Status> {
        self.note(format!("down {:?}", request.into_inner().packs))?;
        Ok(self.stream(self.script.progress.clone()))
    }
    async fn ps(&self, request: Request<PsRequest>) -> Result<Response<PsResponse>, Status> {
        self.note(format!("ps {:?}", request.into_inner().packs))?;
        Ok(Response::new(self.script.ps.clone()))
    }
    async fn stats(&self, request: Request<PsRequest>) -> Result<Response<StatsResponse>, Status> {
        self.note(format!("stats {:?}", request.into_inner().packs))?;
        Ok(Response::new(self.script.stats.clone()))
    }
    async fn terminals(
        &self,
        _: Request<TerminalsRequest>,
    ) -> Result<Response<TerminalsResponse>, Status> {
        self.note("terminals".to_owned())?;
        Ok(Response::new(self.script.terminals.clone()))
    }
    async fn stop_terminal(
        &self,
        request: Request<StopTerminalRequest>,
    ) -> Result<Response<StopTerminalResponse>, Status> {
        self.note(format!("stop {}", request.into_inner().record))?;
        Ok(Response::new(StopTerminalResponse {
            component_id: "a:tool:t".to_owned(),
        }))
    }
    async fn pending(
        &self,
        _: Request<rumi_proto::v1::PendingRequest>,
    ) -> Result<Response<rumi_proto::v1::PendingResponse>, Status> {
        self.note("pending".to_owned())?;
        Ok(Response::new(self.script.pending.clone()))
    }
    async fn answer_pending(
        &self,
        request: Request<rumi_proto::v1::AnswerPendingRequest>,
    ) -> Result<Response<rumi_proto::v1::AnswerPendingResponse>, Status> {
        let id = request.into_inner().id;
        self.note(format!("answer {id}"))?;
        let mut all = self.script.pending.requests.iter();
        let request = all.find(|one| one.id == id).cloned();
        Ok(Response::new(rumi_proto::v1::AnswerPendingResponse {
            request,
        }))
    }
    async fn logs(
        &self,
        request: Request<LogsRequest>,
    ) -> Result<Response<Lines<LogLine>>, Status> {
        let request = request.into_inner();
        self.note(format!(
            "logs {} {} {}",
            request.pack, request.lines, request.follow
        ))?;
        Ok(self.stream(self.script.logs.clone()))
    }
    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        let request = request.into_inner();
        self.note(format!(
            "call {} {} {}",
            request.component_id, request.args_json, request.timeout_ms
        ))?;
        self.script
            .calls
            .get(&request.component_id)
            .cloned()
            .map(Response::new)
            .ok_or_else(|| {
                Status::not_found(format!("there is no component `{}`", request.component_id))
            })
    }
    async fn handlers(
        &self,
        _: Request<HandlersRequest>,
    ) -> Result<Response<HandlersResponse>, Status> {
        self.note("handlers".to_owned())?;
        Ok(Response::new(self.script.handlers.clone()))
    }
    async fn doctor(&self, _: Request<DoctorRequest>) -> Result<Response<DoctorResponse>, Status> {
        self.note("doctor".to_owned())?;
        Ok(Response::new(self.script.doctor.clone()))
    }
    async fn quotas(&self, _: Request<QuotasRequest>) -> Result<Response<QuotasResponse>, Status> {
        self.note("quotas".to_owned())?;
        Ok(Response::new(self.script.quotas.clone()))
    }
    async fn uses(&self, request: Request<UsesRequest>) -> Result<Response<UsesResponse>, Status> {
        self.note(format!("uses {}", request.into_inner().component_id))?;
        Ok(Response::new(self.script.uses.clone()))
    }
    async fn grant_reset(
        &self,
        request: Request<GrantResetRequest>,
    ) -> Result<Response<GrantResetResponse>, Status> {
        let request = request.into_inner();
        let (component, permission) = (request.component_id, request.permission);
        self.note(format!("reset {component} {permission}"))?;
        Ok(Response::new(GrantResetResponse {
            before: 3,
            readable: permission == "env_read",
        }))
    }
    async fn exec(&self, _: Request<ExecRequest>) -> Result<Response<ExecResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
    async fn session_new(
        &self,
        _: Request<SessionRequest>,
    ) -> Result<Response<SessionResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
    async fn session_remove(
        &self,
        _: Request<SessionRequest>,
    ) -> Result<Response<SessionResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
    async fn session_list(
        &self,
        _: Request<SessionListRequest>,
    ) -> Result<Response<SessionListResponse>, Status> {
        Err(Status::unimplemented("tested against the real broker"))
    }
    async fn secret_set(
        &self,
        request: Request<SecretSetRequest>,
    ) -> Result<Response<SecretSetResponse>, Status> {
        let request = request.into_inner();
        let value = String::from_utf8_lossy(&request.value).into_owned();
        self.note(format!("secret set {} {value:?}", request.name))?;
        Ok(Response::new(SecretSetResponse {
            version: 7,
            replaced: request.name == "OLD",
        }))
    }
    async fn secret_remove(
        &self,
        request: Request<SecretRemoveRequest>,
    ) -> Result<Response<SecretRemoveResponse>, Status> {
        self.note(format!("secret rm {}", request.into_inner().name))?;
        let used_by = self.script.secrets.secrets.iter();
        Ok(Response::new(SecretRemoveResponse {
            used_by: used_by.flat_map(|one| one.used_by.clone()).collect(),
        }))
    }
    async fn secret_list(
        &self,
        _: Request<SecretListRequest>,
    ) -> Result<Response<SecretListResponse>, Status> {
        self.note("secret ls".to_owned())?;
        Ok(Response::new(self.script.secrets.clone()))
    }
}

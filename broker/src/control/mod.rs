//! The admin's socket. Every change is recorded with the peer as its actor.

mod approval;
mod call;
mod doctor;
mod exec;
mod handlers;
mod packs;
mod pending;
mod secrets;
mod socket;
mod status;
mod terminals;
mod uses;

use std::{pin::Pin, sync::Arc, time::SystemTime};

use futures_util::Stream;
use rumi_audit::{Admin, Peer, RecordId};
use rumi_policy::{ComponentId, PackId};
use rumi_proto::v1::{self, control_server::Control};
use tonic::{Request, Response, Status};

pub use socket::{ControlError, serve};

use crate::{exec::Executor, packs::Packs};

/// What the control socket serves.
#[derive(Debug, Clone)]
pub struct ControlService {
    packs: Arc<Packs>,
    exec: Arc<Executor>,
    started: SystemTime,
}

/// A stream of replies.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl ControlService {
    /// For all packs, and for code.
    #[must_use]
    pub fn new(packs: Arc<Packs>, exec: Arc<Executor>) -> Self {
        Self {
            packs,
            exec,
            started: SystemTime::now(),
        }
    }

    /// Writes down who is about to do what; without the record nothing is done.
    async fn admin(
        &self,
        actor: Peer,
        action: &str,
        target: &str,
        component: Option<&ComponentId>,
    ) -> Result<RecordId, Status> {
        let record = Admin {
            actor,
            action,
            target: target.as_bytes(),
            pack: component.map(ComponentId::pack_str),
            component: component.map(ComponentId::as_str),
            reason: None,
            detail: None,
        };
        self.packs
            .broker()
            .audit()
            .admin(record)
            .await
            .map_err(|error| {
                Status::unavailable(format!(
                    "the audit log cannot be written, so nothing is done: {error}"
                ))
            })
    }
}

/// Who sent a request, from the socket.
fn actor<T>(request: &Request<T>) -> Result<Peer, Status> {
    request
        .extensions()
        .get::<Peer>()
        .copied()
        .ok_or_else(|| Status::internal("the peer of this connection is not known"))
}

fn pack_id(text: &str) -> Result<PackId, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[tonic::async_trait]
impl Control for ControlService {
    type BuildStream = Replies<v1::Progress>;
    type UpStream = Replies<v1::Progress>;
    type DownStream = Replies<v1::Progress>;
    type LogsStream = Replies<v1::LogLine>;

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.state()))
    }

    async fn build(
        &self,
        request: Request<v1::PacksRequest>,
    ) -> Result<Response<Self::BuildStream>, Status> {
        self.each(request, packs::Step::Build).await
    }

    async fn up(
        &self,
        request: Request<v1::PacksRequest>,
    ) -> Result<Response<Self::UpStream>, Status> {
        self.each(request, packs::Step::Up).await
    }

    async fn down(
        &self,
        request: Request<v1::PacksRequest>,
    ) -> Result<Response<Self::DownStream>, Status> {
        self.each(request, packs::Step::Down).await
    }

    async fn review(
        &self,
        request: Request<v1::ReviewRequest>,
    ) -> Result<Response<v1::ReviewResponse>, Status> {
        let reviews = self.reviews(&request.into_inner().packs).await;
        reviews.map(Response::new)
    }

    async fn approve(
        &self,
        request: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::ApproveResponse>, Status> {
        let actor = actor(&request)?;
        self.approve_pack(actor, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn disapprove(
        &self,
        request: Request<v1::DisapproveRequest>,
    ) -> Result<Response<v1::DisapproveResponse>, Status> {
        let actor = actor(&request)?;
        self.disapprove_pack(actor, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn ps(
        &self,
        request: Request<v1::PsRequest>,
    ) -> Result<Response<v1::PsResponse>, Status> {
        self.list(&request.into_inner().packs).map(Response::new)
    }

    async fn stats(
        &self,
        request: Request<v1::PsRequest>,
    ) -> Result<Response<v1::StatsResponse>, Status> {
        self.usage(&request.into_inner().packs).map(Response::new)
    }

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.log_lines(request.into_inner()).map(Response::new)
    }

    async fn call(
        &self,
        request: Request<v1::CallRequest>,
    ) -> Result<Response<v1::CallResponse>, Status> {
        let actor = actor(&request)?;
        self.call_tool(actor, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn exec(
        &self,
        request: Request<v1::ExecRequest>,
    ) -> Result<Response<v1::ExecResponse>, Status> {
        let actor = actor(&request)?;
        self.exec_code(actor, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn session_new(
        &self,
        request: Request<v1::SessionRequest>,
    ) -> Result<Response<v1::SessionResponse>, Status> {
        let actor = actor(&request)?;
        self.open_session(actor, &request.into_inner().name)
            .await
            .map(Response::new)
    }

    async fn session_remove(
        &self,
        request: Request<v1::SessionRequest>,
    ) -> Result<Response<v1::SessionResponse>, Status> {
        let actor = actor(&request)?;
        self.close_session(actor, &request.into_inner().name)
            .await
            .map(Response::new)
    }

    async fn session_list(
        &self,
        _request: Request<v1::SessionListRequest>,
    ) -> Result<Response<v1::SessionListResponse>, Status> {
        Ok(Response::new(self.open_sessions()))
    }

    async fn secret_set(
        &self,
        request: Request<v1::SecretSetRequest>,
    ) -> Result<Response<v1::SecretSetResponse>, Status> {
        let actor = actor(&request)?;
        self.keep_secret(actor, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn secret_remove(
        &self,
        request: Request<v1::SecretRemoveRequest>,
    ) -> Result<Response<v1::SecretRemoveResponse>, Status> {
        let actor = actor(&request)?;
        self.forget_secret(actor, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn secret_list(
        &self,
        _request: Request<v1::SecretListRequest>,
    ) -> Result<Response<v1::SecretListResponse>, Status> {
        self.list_secrets().map(Response::new)
    }

    async fn doctor(
        &self,
        _request: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorResponse>, Status> {
        Ok(Response::new(self.examine().await))
    }

    async fn quotas(
        &self,
        _request: Request<v1::QuotasRequest>,
    ) -> Result<Response<v1::QuotasResponse>, Status> {
        Ok(Response::new(self.spent()))
    }

    async fn uses(
        &self,
        request: Request<v1::UsesRequest>,
    ) -> Result<Response<v1::UsesResponse>, Status> {
        self.counted(&request.into_inner()).map(Response::new)
    }

    async fn grant_reset(
        &self,
        request: Request<v1::GrantResetRequest>,
    ) -> Result<Response<v1::GrantResetResponse>, Status> {
        let actor = actor(&request)?;
        self.count_anew(actor, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn handlers(
        &self,
        _request: Request<v1::HandlersRequest>,
    ) -> Result<Response<v1::HandlersResponse>, Status> {
        let handlers = self.handler_list();
        Ok(Response::new(v1::HandlersResponse { handlers }))
    }

    async fn terminals(
        &self,
        _request: Request<v1::TerminalsRequest>,
    ) -> Result<Response<v1::TerminalsResponse>, Status> {
        Ok(Response::new(self.running_commands()))
    }

    async fn stop_terminal(
        &self,
        request: Request<v1::StopTerminalRequest>,
    ) -> Result<Response<v1::StopTerminalResponse>, Status> {
        let actor = actor(&request)?;
        self.stop_command(actor, &request.into_inner().record)
            .await
            .map(Response::new)
    }

    async fn pending(
        &self,
        _request: Request<v1::PendingRequest>,
    ) -> Result<Response<v1::PendingResponse>, Status> {
        Ok(Response::new(self.waiting_requests()))
    }

    async fn answer_pending(
        &self,
        request: Request<v1::AnswerPendingRequest>,
    ) -> Result<Response<v1::AnswerPendingResponse>, Status> {
        let actor = actor(&request)?;
        self.answer_request(actor, request.into_inner())
            .await
            .map(Response::new)
    }
}

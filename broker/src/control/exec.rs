//! `packctl exec` and `packctl session`: code that somebody, or something, just wrote.

use rumi_audit::Peer;
use rumi_proto::v1;
use tonic::Status;

use super::{ControlService, call};
use crate::exec::{CredentialError, ExecError, Order, SessionError, SessionName};

impl ControlService {
    pub(super) async fn exec_code(
        &self,
        actor: Peer,
        request: v1::ExecRequest,
    ) -> Result<v1::ExecResponse, Status> {
        let settings = &self.exec.broker().config().exec;
        let order = Order::parse(request, settings)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let report = self.exec.run(actor, order).await.map_err(status)?;
        Ok(report.reply(call::wire))
    }

    pub(super) async fn open_session(
        &self,
        actor: Peer,
        name: &str,
    ) -> Result<v1::SessionResponse, Status> {
        let name = session_name(name)?;
        self.admin(actor, "session_new", &name.to_string(), None)
            .await?;
        let opened = self.exec.open_session(&name).await;
        let container_id = opened.map_err(|error| session_status(&error))?;
        Ok(v1::SessionResponse { container_id })
    }

    pub(super) async fn close_session(
        &self,
        actor: Peer,
        name: &str,
    ) -> Result<v1::SessionResponse, Status> {
        let name = session_name(name)?;
        self.admin(actor, "session_remove", &name.to_string(), None)
            .await?;
        let closed = self.exec.close_session(&name).await;
        closed.map_err(|error| session_status(&error))?;
        Ok(v1::SessionResponse::default())
    }

    pub(super) fn open_sessions(&self) -> v1::SessionListResponse {
        let sessions = self.exec.sessions().into_iter();
        v1::SessionListResponse {
            sessions: sessions
                .map(|session| v1::SessionStatus {
                    name: session.name.to_string(),
                    container_id: session.container,
                    calls: session.calls,
                    idle_ms: super::millis(session.idle),
                    running: session.runs,
                })
                .collect(),
        }
    }
}

fn session_name(text: &str) -> Result<SessionName, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))
}

fn session_status(error: &SessionError) -> Status {
    let message = error.to_string();
    match error {
        SessionError::Unknown(_) => Status::not_found(message),
        SessionError::Taken(_) | SessionError::Busy(_) | SessionError::Full => {
            Status::failed_precondition(message)
        }
        SessionError::Slot(_) => Status::unavailable(message),
    }
}

fn status(error: ExecError) -> Status {
    let message = error.to_string();
    match error {
        ExecError::Credential(CredentialError::Refused(refusal)) => refusal.into(),
        ExecError::Session(error) => session_status(&error),
        ExecError::Rights(_) | ExecError::Credential(CredentialError::Missing(_)) => {
            Status::invalid_argument(message)
        }
        ExecError::NotRoot => Status::permission_denied(message),
        ExecError::Lacking(_) | ExecError::Check(_) | ExecError::Credential(_) => {
            Status::failed_precondition(message)
        }
        ExecError::Slot(_) | ExecError::Audit(_) | ExecError::Stopping => {
            Status::unavailable(message)
        }
        ExecError::Failed => Status::internal(message),
    }
}

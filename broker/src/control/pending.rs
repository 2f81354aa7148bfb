//! Requests that wait for an answer: shown, and answered one by one.

use std::time::{SystemTime, UNIX_EPOCH};

use rumi_audit::{Admin, Peer};
use rumi_proto::v1;
use serde_json::json;
use tonic::Status;

use super::{ControlService, millis};
use crate::pending::{Answer, ClaimError, Ended, Shown};

impl ControlService {
    pub(super) fn waiting_requests(&self) -> v1::PendingResponse {
        let shown = self.packs.broker().pending().shown();
        v1::PendingResponse {
            requests: shown.into_iter().map(wire).collect(),
        }
    }

    /// Takes the request first, so that nobody else answers it; records the answer, and then gives
    /// it. What cannot be recorded is not given, and the request waits on.
    pub(super) async fn answer_request(
        &self,
        actor: Peer,
        request: v1::AnswerPendingRequest,
    ) -> Result<v1::AnswerPendingResponse, Status> {
        let (id, broker) = (&request.id, self.packs.broker());
        let claim = broker
            .pending()
            .claim(id)
            .map_err(|error| unanswerable(id, error))?;
        let shown = claim.shown().clone();
        let always = request.allow && request.always;
        if always && !shown.question.may_be_kept {
            return Err(Status::failed_precondition(format!(
                "`{id}` cannot be allowed always: its line is too long, or does not tell all of the request; remedy: packctl pending allow {id}"
            )));
        }
        let question = &shown.question;
        // The line itself may hold what no record holds: arguments, queries.
        let line = broker.audit().fingerprint(question.line.as_bytes());
        let detail = json!({
            "permission": question.permission.as_str(), "request": line, "always": always,
        });
        let record = Admin {
            actor,
            action: if request.allow {
                "pending_allow"
            } else {
                "pending_deny"
            },
            target: id.as_bytes(),
            pack: Some(question.component.pack_str()),
            component: Some(question.component.as_str()),
            reason: None,
            detail: Some(&detail),
        };
        broker.audit().admin(record).await.map_err(|error| {
            Status::unavailable(format!(
                "the audit log cannot be written, so nothing is answered: {error}"
            ))
        })?;
        let answer = Answer {
            allow: request.allow,
            always,
            by: actor,
            at: SystemTime::now(),
        };
        if !claim.give(answer) {
            return Err(Status::failed_precondition(format!(
                "whoever asked `{id}` went away before the answer; nothing was done"
            )));
        }
        Ok(v1::AnswerPendingResponse {
            request: Some(wire(shown)),
        })
    }
}

fn unanswerable(id: &str, error: ClaimError) -> Status {
    let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
    let (how, at) = match error {
        ClaimError::Unknown => {
            return Status::not_found(format!(
                "no request waits under the id `{shown}`; remedy: packctl pending"
            ));
        }
        ClaimError::Taken => {
            return Status::failed_precondition(format!(
                "`{shown}` is being answered by somebody else"
            ));
        }
        ClaimError::Ended(how, at) => (how, at),
    };
    let ago = at.elapsed().unwrap_or_default().as_secs();
    let what = match how {
        Ended::Answered(answer) => {
            let verb = if answer.allow { "allowed" } else { "denied" };
            format!("was {verb} already, by uid {}", answer.by.uid)
        }
        Ended::TimedOut => "was not answered in time".to_owned(),
        Ended::Withdrawn => "was withdrawn by whoever asked".to_owned(),
        Ended::Revoked => "was refused, because the policy no longer allows it".to_owned(),
    };
    Status::failed_precondition(format!("`{shown}` {what}, {ago} s ago"))
}

fn wire(shown: Shown) -> v1::WaitingRequest {
    let since = shown.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let question = shown.question;
    v1::WaitingRequest {
        id: shown.id,
        component_id: question.component.to_string(),
        permission: question.permission.to_string(),
        request: question.line,
        may_be_kept: question.may_be_kept,
        invocation: question.invocation.unwrap_or_default(),
        since_unix_ms: i64::try_from(millis(since)).unwrap_or(i64::MAX),
        patience_ms: millis(shown.patience),
    }
}

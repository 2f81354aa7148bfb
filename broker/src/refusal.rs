//! How a request ends when it is not answered: one type, two spellings on the wire.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use prost::Message as _;
use rumi_policy::Reason;
use rumi_proto::v1;
use serde_json::json;
use tonic::{Code, Status, metadata::MetadataMap};

/// A request that was refused by policy, or allowed and then failed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Policy said no, and the log says so.
    #[error("{sentence}")]
    Denied {
        /// The reason code.
        reason: Reason,
        /// One sentence for the pack's author.
        sentence: String,
        /// Identifier of the audit record; empty when there could be none.
        record: String,
    },
    /// Policy said yes; the thing itself went wrong.
    #[error("{message}")]
    Failed {
        /// The class of failure.
        code: Failure,
        /// What went wrong, naming only what the caller itself named.
        message: String,
    },
}

/// Classes of failure that a pack's author can act upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What was named is not there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// It is not in the state that the request needs, e.g. a directory that is not empty.
    Precondition,
    /// It took longer than it may.
    Timeout,
    /// A limit on size was hit.
    TooLarge,
    /// The remote end, or the engine, did not do its part.
    Unavailable,
    /// The host's disk or the broker itself failed.
    Internal,
}

impl Failure {
    /// The name in outcome records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Precondition => "failed_precondition",
            Self::Timeout => "deadline_exceeded",
            Self::TooLarge => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
    fn code(self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Precondition => Code::FailedPrecondition,
            Self::Timeout => Code::DeadlineExceeded,
            Self::TooLarge => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
}

impl Refusal {
    /// A failure with its message.
    pub fn failed(code: Failure, message: impl Into<String>) -> Self {
        Self::Failed {
            code,
            message: message.into(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Denied { reason, .. } => match reason {
                Reason::BadRequest => Code::InvalidArgument,
                Reason::AuditUnavailable => Code::Unavailable,
                Reason::RateLimited | Reason::Quota => Code::ResourceExhausted,
                _ => Code::PermissionDenied,
            },
            Self::Failed { code, .. } => code.code(),
        }
    }

    fn denial(&self) -> Option<v1::Denial> {
        match self {
            Self::Denied {
                reason,
                sentence,
                record,
            } => Some(v1::Denial {
                reason: reason.as_str().to_owned(),
                sentence: sentence.clone(),
                record: record.clone(),
            }),
            Self::Failed { .. } => None,
        }
    }
}

/// `google.rpc.Status`, the form in which gRPC carries error details.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let message = refusal.to_string();
        let Some(denial) = refusal.denial() else {
            return Self::new(code, message);
        };
        let mut metadata = MetadataMap::new();
        for (key, value) in [
            ("rumi-reason", &denial.reason),
            ("rumi-record", &denial.record),
        ] {
            if let Ok(value) = value.parse() {
                metadata.insert(key, value);
            }
        }
        let details = RpcStatus {
            code: code as i32,
            message: message.clone(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/rumi.v1.Denial".to_owned(),
                value: denial.encode_to_vec(),
            }],
        };
        Self::with_details_and_metadata(code, message, details.encode_to_vec().into(), metadata)
    }
}

/// The error of the Connect protocol, from the status a gRPC client would see.
#[must_use]
pub fn connect_error(status: &Status) -> (StatusCode, Bytes) {
    let (name, http) = connect_code(status.code());
    let mut body = json!({"code": name, "message": status.message()});
    if let Ok(details) = RpcStatus::decode(status.details())
        && let Some(any) = details.details.first()
        && let Ok(denial) = v1::Denial::decode(any.value.as_slice())
        && let Some(object) = body.as_object_mut()
    {
        object.insert(
            "details".to_owned(),
            json!([{
                "type": "rumi.v1.Denial",
                "value": STANDARD_NO_PAD.encode(&any.value),
                "debug": {
                    "reason": denial.reason,
                    "sentence": denial.sentence,
                    "record": denial.record,
                },
            }]),
        );
    }
    (http, Bytes::from(body.to_string()))
}

/// Code names and HTTP statuses of the Connect protocol specification.
fn connect_code(code: Code) -> (&'static str, StatusCode) {
    match code {
        Code::Ok | Code::Unknown => ("unknown", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Cancelled => (
            "canceled",
            StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        ),
        Code::InvalidArgument => ("invalid_argument", StatusCode::BAD_REQUEST),
        Code::DeadlineExceeded => ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT),
        Code::NotFound => ("not_found", StatusCode::NOT_FOUND),
        Code::AlreadyExists => ("already_exists", StatusCode::CONFLICT),
        Code::PermissionDenied => ("permission_denied", StatusCode::FORBIDDEN),
        Code::ResourceExhausted => ("resource_exhausted", StatusCode::TOO_MANY_REQUESTS),
        Code::FailedPrecondition => ("failed_precondition", StatusCode::BAD_REQUEST),
        Code::Aborted => ("aborted", StatusCode::CONFLICT),
        Code::OutOfRange => ("out_of_range", StatusCode::BAD_REQUEST),
        Code::Unimplemented => ("unimplemented", StatusCode::NOT_IMPLEMENTED),
        Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::DataLoss => ("data_loss", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
    }
}

//! The Connect protocol's unary JSON form, over the same service as gRPC.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use rumi_proto::v1::capabilities_server::Capabilities;
use serde::{Serialize, de::DeserializeOwned};
use tonic::Status;

use super::metered::Metered;
use crate::{capabilities::Connection, freight::Freight, refusal::connect_error};

/// Largest request body, in bytes; the same as for a gRPC message.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;

/// Answers `POST /rumi.v1.Capabilities/METHOD`.
pub(super) async fn answer(
    connection: &Connection,
    method: &str,
    request: Request<Metered>,
) -> Response<Full<Bytes>> {
    let freight = request.extensions().get::<Freight>().cloned();
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return error(&Status::resource_exhausted(format!(
                "the request is larger than {MAX_BODY} bytes or ended early; use PUT /files for large uploads"
            )));
        }
    };
    match dispatch(connection, method, &body, freight).await {
        Ok(json) => reply(StatusCode::OK, json),
        Err(status) => error(&status),
    }
}

async fn dispatch(
    connection: &Connection,
    method: &str,
    body: &[u8],
    freight: Option<Freight>,
) -> Result<Bytes, Status> {
    /// Decodes, calls and encodes for one method.
    macro_rules! unary {
        ($method:ident) => {
            encode(
                &connection
                    .$method(decode(body, freight)?)
                    .await?
                    .into_inner(),
            )
        };
    }
    match method {
        "FileRead" => unary!(file_read),
        "FileList" => unary!(file_list),
        "FileStat" => unary!(file_stat),
        "FileWrite" => unary!(file_write),
        "FileMkdir" => unary!(file_mkdir),
        "FileDelete" => unary!(file_delete),
        "FileRename" => unary!(file_rename),
        "EnvRead" => unary!(env_read),
        "TerminalRun" => unary!(terminal_run),
        "NetworkFetch" => unary!(network_fetch),
        "NetworkResolve" => unary!(network_resolve),
        "CustomCall" => unary!(custom_call),
        other => Err(Status::unimplemented(format!(
            "`{}` has no JSON form; streams are GET and PUT /files",
            other.escape_default()
        ))),
    }
}

fn decode<T: DeserializeOwned>(
    body: &[u8],
    freight: Option<Freight>,
) -> Result<tonic::Request<T>, Status> {
    let decoded = serde_json::from_slice(body)
        .map_err(|error| Status::invalid_argument(format!("the request is not valid: {error}")))?;
    let mut request = tonic::Request::new(decoded);
    if let Some(freight) = freight {
        request.extensions_mut().insert(freight);
    }
    Ok(request)
}

fn encode<T: Serialize>(message: &T) -> Result<Bytes, Status> {
    serde_json::to_vec(message)
        .map(Bytes::from)
        .map_err(|error| Status::internal(format!("the reply cannot be written as JSON: {error}")))
}

/// A JSON body with its status.
pub(super) fn reply(status: StatusCode, json: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// The Connect form of an error.
pub(super) fn error(status: &Status) -> Response<Full<Bytes>> {
    let (code, body) = connect_error(status);
    reply(code, body)
}

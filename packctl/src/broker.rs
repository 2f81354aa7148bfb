//! The way to the broker: gRPC over the control socket.

use std::{error::Error as _, io, time::Duration};

use hyper_util::rt::TokioIo;
use rumi_proto::v1::control_client::ControlClient;
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// A result of a tool may be as large as a frame of the workers' protocol (16
/// MiB), with its output beside it.
const LARGEST_MESSAGE: usize = 64 << 20;

/// A question that needs no container is answered at once, or something hangs.
pub(crate) const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type Client = ControlClient<Channel>;

/// Runs a conversation with the broker to its end.
///
/// # Errors
/// When the broker cannot be reached, or the conversation fails.
pub(crate) fn converse<T>(
    context: &mut Context,
    conversation: impl AsyncFnOnce(Client, &mut Context) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::files(
            "start the event loop for",
            context.control_socket(),
        ))?;
    runtime.block_on(async {
        let client = connect(context).await?;
        conversation(client, context).await
    })
}

async fn connect(context: &Context) -> Result<Client, Failure> {
    let socket = context.control_socket();
    let to = socket.clone();
    // The address is never resolved; it becomes the authority servers check.
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(move |_| {
            let to = to.clone();
            async move { UnixStream::connect(to).await.map(TokioIo::new) }
        }))
        .await
        .map_err(|source| Failure::Unreachable {
            hint: unreachable_hint(context, &source),
            socket,
            source: innermost(source),
        })?;
    Ok(ControlClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
}

/// The error of the system says more than the layers around it.
fn innermost(source: tonic::transport::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match find_io(&source) {
        Some(error) => Box::new(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        }),
        None => Box::new(source),
    }
}

fn find_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn unreachable_hint(context: &Context, source: &tonic::transport::Error) -> String {
    match find_io(source).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            "run packctl as root, or as a member of the group `rumi`".to_owned()
        }
        _ => format!("start it as root: {}", context.start_command()),
    }
}

/// What the broker's refusal means to the caller of packctl.
pub(crate) fn refused(status: &Status) -> Failure {
    if status.source().is_some() {
        // Only the transport adds a source: the broker went away in the middle.
        return Failure::Broker {
            exit: Exit::Unreachable,
            message: "the broker went away before it answered".to_owned(),
            hint: Some(
                "see whether it still runs with `packctl doctor`, then try again".to_owned(),
            ),
        };
    }
    let exit = match status.code() {
        Code::NotFound => Exit::NotFound,
        Code::PermissionDenied => Exit::Denied,
        Code::InvalidArgument => Exit::Usage,
        _ => Exit::Failed,
    };
    let parts = ["\nhint: ", "; remedy: "];
    let (message, hint) = match parts
        .iter()
        .find_map(|part| status.message().split_once(part))
    {
        Some((message, hint)) => (message, Some(hint.to_owned())),
        None => (status.message(), default_hint(status.code())),
    };
    let message = if message.is_empty() {
        format!("the broker answered {:?}", status.code())
    } else {
        message.to_owned()
    };
    Failure::Broker {
        exit,
        message,
        hint,
    }
}

fn default_hint(code: Code) -> Option<String> {
    match code {
        Code::Unimplemented => {
            Some("packctl and rumi-broker are of different versions; install the same".to_owned())
        }
        Code::DeadlineExceeded => Some("`packctl doctor` may say what hangs".to_owned()),
        Code::NotFound => Some("`packctl ps` lists packs and components".to_owned()),
        _ => None,
    }
}

/// A request that must be answered soon.
pub(crate) fn question<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(QUESTION_TIMEOUT);
    request
}

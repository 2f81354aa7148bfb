//! Binds the control socket for root and the group `rumi`.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rumi_audit::Peer;
use rumi_proto::v1::control_server::ControlServer;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::ControlService;

/// The group whose members may administer.
const GROUP: &str = "rumi";
/// Largest message, in bytes: arguments of a call may be large, and a run has output and files.
const MAX_MESSAGE: usize = 24 * 1024 * 1024;

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It could not be made.
    #[error("cannot make the control socket `{path}`")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
}

/// Serves until told to stop.
///
/// # Errors
/// When the socket cannot be bound.
pub fn serve(
    path: &Path,
    service: ControlService,
    stop: CancellationToken,
) -> Result<(), ControlError> {
    let listener = bind(path).map_err(|source| ControlError::Bind {
        path: path.to_owned(),
        source,
    })?;
    tokio::spawn(accept(listener, service, stop));
    Ok(())
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Closed to all others from its first moment on: made where nobody looks, then renamed.
    let hidden = path.with_extension("new");
    match fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
    if let Some(gid) = group(GROUP) {
        std::os::unix::fs::chown(&hidden, None, Some(gid))?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o660))?;
    }
    fs::rename(&hidden, path)?;
    Ok(listener)
}

/// The id of a group in /etc/group (group(5)).
fn group(name: &str) -> Option<u32> {
    fs::read_to_string("/etc/group")
        .ok()?
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
}

async fn accept(listener: UnixListener, service: ControlService, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the control socket");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(credentials) = stream.peer_cred() else {
            continue;
        };
        let peer = Peer {
            uid: credentials.uid(),
            pid: credentials
                .pid()
                .and_then(|pid| u32::try_from(pid).ok())
                .unwrap_or(0),
        };
        let server = ControlServer::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let ended = stop.clone();
        tokio::spawn(async move {
            let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(peer);
                let mut server = server.clone();
                async move { server.call(request).await }
            });
            let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                }
                () = ended.cancelled() => {}
            }
        });
    }
}

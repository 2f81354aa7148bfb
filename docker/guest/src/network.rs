//! The network of one component, in a container that has none: a proxy for programs that know
//! what that is, and names with addresses of their own for those that do not. Both end in the
//! component's socket, where the broker decides.
//!
//! Everything here runs under the component's own user and could be replaced by it. It keeps
//! components from each other and gives errors their reasons; it is no wall towards the outside.

pub(crate) mod exchange;
mod gate;
mod head;
mod link;
pub(crate) mod message;
mod names;
mod proxy;
mod resolver;
mod secret;
pub(crate) mod sockets;
mod tunnel;

use std::path::Path;

use tokio::sync::mpsc;

use crate::worker::notes::Notes;

use self::{gate::Gate, proxy::Proxy, resolver::Resolver};

/// Hosts that a program reaches without the proxy.
const DIRECT: &str = "localhost,127.0.0.1,::1";

/// Starts both, and gives the variables by which programs find the proxy. `lines` are for the
/// container's log, to which PID 1 has the way.
pub(crate) async fn start(
    socket: &Path,
    notes: &Notes,
    lines: mpsc::Receiver<String>,
) -> Vec<(&'static str, String)> {
    let gate = Gate::new(socket.to_owned(), notes.clone());
    let resolver = Resolver::new(std::rc::Rc::clone(&gate));
    tokio::task::spawn_local(link::serve(resolver, lines));
    match Proxy::start(&gate).await {
        Ok(proxy) => variables(proxy.url()),
        Err(error) => {
            gate.say(&format_args!("cannot start the proxy: {error}"));
            Vec::new()
        }
    }
}

fn variables(url: &str) -> Vec<(&'static str, String)> {
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
    let direct = ["NO_PROXY", "no_proxy"];
    proxies
        .map(|name| (name, url.to_owned()))
        .into_iter()
        .chain(direct.map(|name| (name, DIRECT.to_owned())))
        .collect()
}

//! Who may come in: sockets of the component's own user, and so many at a time.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::net::RecvFlags;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::sockets;
use crate::worker::notes::Notes;

/// Connections of one component at a time, through the proxy and to names together. The
/// broker takes more than that, so that requests of other kinds find room beside them.
const CONNECTIONS: usize = 128;
/// Lines for the log within one span of time; programs that try again and again would fill it.
const LINES: u32 = 20;
const LINES_SPAN: Duration = Duration::from_secs(10);
/// How long a connection may wait for its first request. The broker ends it after twice that, and what
/// is sent at that moment is lost.
const READY: Duration = Duration::from_secs(5);

/// What every listener of a component needs.
#[derive(Debug)]
pub(super) struct Gate {
    socket: PathBuf,
    uid: u32,
    slots: Arc<Semaphore>,
    /// Made ahead of need, so that nobody waits for the broker to let it in.
    ready: Rc<RefCell<Option<(Instant, UnixStream)>>>,
    log: RefCell<Log>,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) stream: TcpStream,
    pub(super) _slot: OwnedSemaphorePermit,
}

/// A connection that was not.
#[derive(Debug)]
pub(super) enum Turned {
    /// The socket is another user's, or nobody's that the kernel knows.
    Foreign(TcpStream),
    /// Too many are open.
    Full(TcpStream),
}

impl Gate {
    pub(super) fn new(socket: PathBuf, notes: Notes) -> Rc<Self> {
        Rc::new(Self {
            socket,
            uid: rustix::process::geteuid().as_raw(),
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
            ready: Rc::default(),
            log: RefCell::new(Log {
                notes,
                since: Instant::now(),
                said: 0,
                kept_back: Cell::new(0),
            }),
        })
    }

    /// A new connection to the broker, on the component's own socket.
    pub(super) async fn broker(&self) -> std::io::Result<UnixStream> {
        let ready = self.ready.take();
        let ready = ready.filter(|(since, stream)| since.elapsed() < READY && is_open(stream));
        let (kept, socket) = (Rc::clone(&self.ready), self.socket.clone());
        tokio::task::spawn_local(async move {
            if let Ok(next) = UnixStream::connect(socket).await {
                kept.replace(Some((Instant::now(), next)));
            }
        });
        match ready {
            Some((_, ready)) => Ok(ready),
            None => UnixStream::connect(&self.socket).await,
        }
    }

    pub(super) fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The next connection, judged.
    pub(super) async fn accept(&self, listener: &TcpListener) -> Result<Admitted, Turned> {
        let (stream, client) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                // Out of descriptors, most likely: wait for some to be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        if !self.is_own(&stream, client) {
            return Err(Turned::Foreign(stream));
        }
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => {
                // Small requests and their answers must not wait for each other's company.
                if stream.set_nodelay(true).is_err() {
                    // It is gone already; whoever reads from it will see that.
                }
                Ok(Admitted {
                    stream,
                    _slot: slot,
                })
            }
            Err(_) => Err(Turned::Full(stream)),
        }
    }

    fn is_own(&self, stream: &TcpStream, client: SocketAddr) -> bool {
        let (SocketAddr::V4(client), Ok(SocketAddr::V4(server))) = (client, stream.local_addr())
        else {
            return false;
        };
        sockets::owner_of_connection(client, server) == Some(self.uid)
    }

    /// One line for the component's log.
    pub(super) fn say(&self, text: &dyn Display) {
        self.log.borrow_mut().say(text);
    }
}

/// Asks the kernel: what the runtime knows of a connection is as old as its last look, and a broker
/// that is gone may have gone since.
fn is_open(stream: &UnixStream) -> bool {
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = rustix::net::recv(stream, &mut [0_u8; 1][..], peek);
    peeked.is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK)
}

/// Ends a connection so that the other side notices at once.
pub(super) fn reset(stream: TcpStream) {
    if stream.set_zero_linger().is_err() {
        // Then it is closed the ordinary way.
    }
    drop(stream);
}

#[derive(Debug)]
struct Log {
    notes: Notes,
    since: Instant,
    said: u32,
    kept_back: Cell<u64>,
}

impl Log {
    fn say(&mut self, text: &dyn Display) {
        if self.since.elapsed() >= LINES_SPAN {
            self.since = Instant::now();
            self.said = 0;
            let kept_back = self.kept_back.take();
            if kept_back > 0 {
                self.notes.output(format!(
                    "network: {kept_back} more lines like these were kept back"
                ));
            }
        }
        if self.said >= LINES {
            self.kept_back.set(self.kept_back.get() + 1);
            return;
        }
        self.said += 1;
        self.notes.output(format!("network: {text}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_the_broker_ended_a_moment_ago_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        let broker = UnixListener::bind(&socket).unwrap();
        let (notes, _) = crate::worker::notes::queue();
        let test = async {
            let gate = Gate::new(socket, notes);
            drop(gate.broker().await.unwrap());
            drop(broker.accept().unwrap());
            while gate.ready.borrow().is_none() {
                tokio::task::yield_now().await;
            }
            // Ended without any turn of the runtime in which it could hear of it.
            drop(broker.accept().unwrap());
            let fresh = gate.broker().await.unwrap();
            broker.set_nonblocking(true).unwrap();
            drop(broker.accept().expect("a connection of its own"));
            fresh.readable().await.unwrap();
            assert_eq!(fresh.try_read(&mut [0]).unwrap(), 0);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_connection_that_waited_for_long_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        let broker = UnixListener::bind(&socket).unwrap();
        let (notes, _) = crate::worker::notes::queue();
        let test = async {
            let gate = Gate::new(socket.clone(), notes);
            let old = UnixStream::connect(&socket).await.unwrap();
            let (mut theirs, _) = broker.accept().unwrap();
            let long_ago = Instant::now().checked_sub(READY).unwrap();
            gate.ready.replace(Some((long_ago, old)));
            let fresh = gate.broker().await.unwrap();
            fresh.try_write(b"x").unwrap();
            let read = std::io::Read::read(&mut theirs, &mut [0]);
            assert_eq!(
                read.unwrap(),
                0,
                "it was closed, and nothing was sent over it"
            );
        };
        LocalSet::new().run_until(test).await;
    }
}

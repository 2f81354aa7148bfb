//! The names of one component: each has a loopback address, and listeners on its ports.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{Ipv4Addr, TcpListener as Bound},
    rc::Rc,
};

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    gate::{Admitted, Gate, Turned, reset},
    tunnel,
};

/// Listeners of all names together; each is a descriptor. The name that was not asked for the
/// longest gives way.
const LISTENERS: usize = 256;
/// Names together; one without ports has no listeners to count.
const NAMES: usize = 128;
/// Ports of one name.
const PORTS: usize = 32;
/// Addresses that are tried for one name.
const ATTEMPTS: usize = 3;
/// 127.64.0.0/10.
const FIRST: u32 = 0x7f40_0000;
const HOST_BITS: u32 = 0x003f_ffff;

#[derive(Debug, thiserror::Error)]
pub(super) enum NameError {
    #[error("`{host}` has {count} ports; at most {PORTS} can be listened on")]
    Ports { host: String, count: usize },
    #[error("cannot listen for `{host}` on port {port}; does something in this container hold it?")]
    Listen {
        host: String,
        port: u16,
        #[source]
        source: io::Error,
    },
}

/// Every name that was asked for lately.
#[derive(Debug)]
pub(super) struct Names {
    gate: Rc<Gate>,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Name>,
    /// Counts questions, to tell which name was asked for last.
    clock: u64,
}

#[derive(Debug)]
struct Name {
    address: Ipv4Addr,
    asked: u64,
    ports: HashMap<u16, Listening>,
}

/// Ends with its name; connections that it took go on.
#[derive(Debug)]
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Names {
    pub(super) fn new(gate: Rc<Gate>) -> Self {
        Self {
            gate,
            known: RefCell::default(),
        }
    }

    /// The address of a name, on which exactly these ports are listened on from now.
    pub(super) fn address(&self, host: &str, ports: &[u16]) -> Result<Ipv4Addr, NameError> {
        if ports.len() > PORTS {
            return Err(NameError::Ports {
                host: host.to_owned(),
                count: ports.len(),
            });
        }
        let mut known = self.known.borrow_mut();
        known.clock += 1;
        let asked = known.clock;
        if let Some(name) = known.names.get_mut(host) {
            name.asked = asked;
            name.ports.retain(|port, _| ports.contains(port));
            if self.listen(host, name, ports).is_ok() {
                return Ok(name.address);
            }
            // Somebody else has a port at this address by now; another will do.
            known.names.remove(host);
        }
        known.make_room(ports.len());
        let name = self.settle(host, asked, ports)?;
        let address = name.address;
        known.names.insert(host.to_owned(), name);
        Ok(address)
    }

    /// Nothing is listened on for this name any more.
    pub(super) fn forget(&self, host: &str) {
        self.known.borrow_mut().names.remove(host);
    }

    /// An address where all the ports are free. It cannot be foretold, so that no other
    /// component of the container can be there first.
    fn settle(&self, host: &str, asked: u64, ports: &[u16]) -> Result<Name, NameError> {
        let mut attempt = 1;
        loop {
            let mut name = Name {
                address: random_address(),
                asked,
                ports: HashMap::new(),
            };
            match self.listen(host, &mut name, ports) {
                Ok(()) => return Ok(name),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    fn listen(&self, host: &str, name: &mut Name, ports: &[u16]) -> Result<(), NameError> {
        for &port in ports {
            if name.ports.contains_key(&port) {
                continue;
            }
            let listener = bind(name.address, port).map_err(|source| NameError::Listen {
                host: host.to_owned(),
                port,
                source,
            })?;
            let serving = serve(Rc::clone(&self.gate), listener, host.to_owned(), port);
            let task = tokio::task::spawn_local(serving);
            name.ports.insert(port, Listening(task));
        }
        Ok(())
    }
}

impl Known {
    fn make_room(&mut self, wanted: usize) {
        while self.names.len() >= NAMES
            || self
                .names
                .values()
                .map(|name| name.ports.len())
                .sum::<usize>()
                + wanted
                > LISTENERS
        {
            let oldest = self.names.iter().min_by_key(|(_, name)| name.asked);
            let Some(host) = oldest.map(|(host, _)| host.clone()) else {
                return;
            };
            self.names.remove(&host);
        }
    }
}

fn bind(address: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    let listener = Bound::bind((address, port))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn random_address() -> Ipv4Addr {
    let mut bytes = [0; 4];
    // Without random bytes the first address is as good as any; its ports are free or not.
    if getrandom(&mut bytes, GetRandomFlags::empty()).is_err() {
        bytes = [0; 4];
    }
    Ipv4Addr::from(FIRST | (u32::from_ne_bytes(bytes) & HOST_BITS))
}

async fn serve(gate: Rc<Gate>, listener: TcpListener, host: String, port: u16) {
    let host: Rc<str> = host.into();
    loop {
        match gate.accept(&listener).await {
            Ok(admitted) => {
                let (gate, host) = (Rc::clone(&gate), Rc::clone(&host));
                tokio::task::spawn_local(async move { pass(&gate, admitted, &host, port).await });
            }
            Err(Turned::Foreign(stream)) => {
                gate.say(&format_args!(
                    "refused a connection to {host}:{port} from another component"
                ));
                reset(stream);
            }
            Err(Turned::Full(stream)) => {
                gate.say(&format_args!(
                    "refused a connection to {host}:{port}: too many are open"
                ));
                reset(stream);
            }
        }
    }
}

async fn pass(gate: &Gate, admitted: Admitted, host: &str, port: u16) {
    let Admitted { stream, _slot } = admitted;
    match tunnel::open(gate, host, port).await {
        Ok(tunnel) => {
            if tunnel.carry(stream).await.is_err() {
                // One of the two is gone; so is the connection.
            }
        }
        Err(error) => {
            let why = crate::say::chain(&error);
            gate.say(&format_args!("no connection to {host}:{port}: {why}"));
            reset(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpStream, path::PathBuf};
    use tokio::task::LocalSet;

    fn names() -> Names {
        let (notes, _) = crate::worker::notes::queue();
        Names::new(Gate::new(PathBuf::from("/nonexistent"), notes))
    }

    async fn local(test: impl Future<Output = ()>) {
        LocalSet::new().run_until(test).await;
    }

    fn connects(address: Ipv4Addr, port: u16) -> bool {
        TcpStream::connect((address, port)).is_ok()
    }

    #[tokio::test]
    async fn a_name_keeps_its_address_and_changes_its_ports() {
        local(async {
            let names = names();
            let one = names.address("a.example", &[40_443, 40_080]).unwrap();
            assert!(one.octets()[0] == 127 && (64..128).contains(&one.octets()[1]));
            assert!(connects(one, 40_443) && connects(one, 40_080));
            assert_eq!(names.address("a.example", &[40_443]).unwrap(), one);
            tokio::task::yield_now().await;
            assert!(connects(one, 40_443) && !connects(one, 40_080));
            let other = names.address("b.example", &[40_443]).unwrap();
            assert_ne!(one, other);
            names.forget("a.example");
            tokio::task::yield_now().await;
            assert!(!connects(one, 40_443) && connects(other, 40_443));
        })
        .await;
    }

    #[tokio::test]
    async fn names_and_listeners_are_bounded_and_the_oldest_gives_way() {
        local(async {
            let names = names();
            let ports: Vec<u16> = (41_000..41_010).collect();
            for number in 0..40 {
                names.address(&format!("{number}.example"), &ports).unwrap();
                names.address("kept.example", &ports).unwrap();
            }
            {
                let known = names.known.borrow();
                let listeners: usize = known.names.values().map(|name| name.ports.len()).sum();
                assert!(listeners <= LISTENERS, "{listeners}");
                assert!(known.names.contains_key("kept.example"));
                assert!(!known.names.contains_key("0.example"));
            }
            for number in 0..NAMES + 20 {
                names.address(&format!("n{number}.example"), &[]).unwrap();
            }
            assert!(names.known.borrow().names.len() <= NAMES);
            let many: Vec<u16> = (0..=u16::try_from(PORTS).unwrap()).collect();
            assert!(names.address("many.example", &many).is_err());
        })
        .await;
    }

    #[tokio::test]
    async fn a_port_that_is_taken_everywhere_is_said() {
        local(async {
            let names = names();
            let taken = Bound::bind("0.0.0.0:0").unwrap();
            let port = taken.local_addr().unwrap().port();
            let error = names.address("a.example", &[port]).unwrap_err().to_string();
            assert!(error.contains(&format!("port {port}")), "{error}");
        })
        .await;
    }
}

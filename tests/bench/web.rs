//! What the bench has of the internet: one HTTPS server of this machine, and a name for it.

use std::{net::Ipv4Addr, path::PathBuf};

use rumi_tests::{Authority, NameServer, Origin, own_address};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::failure::Failure;

/// The server's name.
pub const NAME: &str = "site.test";
/// What it is asked for.
pub const PATH: &str = "/hello";

const BUNDLE: &str = "roots.pem";

/// Stands until the bench ends.
#[derive(Debug)]
pub struct Web {
    address: Ipv4Addr,
    authority: Authority,
    names: NameServer,
    directory: TempDir,
    _origin: Origin,
}

impl Web {
    /// Starts it; it brings a runtime of its own and must not be started, or dropped, within one.
    pub fn start() -> Result<Self, Failure> {
        let directory = tempfile::tempdir().map_err(Failure::file("the temporary directory"))?;
        let (address, authority) = (own_address(), Authority::new());
        authority.write_bundle(&directory.path().join(BUNDLE));
        Ok(Self {
            address,
            names: NameServer::start(&[(NAME, &[&address.to_string()])]),
            _origin: Origin::start(address, &authority, &[NAME], directory.path()),
            authority,
            directory,
        })
    }

    /// Where the server listens, on port 443.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The certificate that its own was signed with.
    pub fn root(&self) -> Vec<u8> {
        self.authority.root().to_vec()
    }

    /// What the broker must trust.
    pub fn bundle(&self) -> PathBuf {
        self.directory.path().join(BUNDLE)
    }

    /// Lets a broker find the server, in `network` of docker/config.json.
    pub fn configure(&self, network: &mut Value) {
        for (key, value) in [
            ("allowed_ranges", json!([format!("{}/32", self.address)])),
            ("resolvers", json!([self.names.address()])),
        ] {
            if let Some(settings) = network.as_object_mut() {
                settings.insert(key.to_owned(), value);
            }
        }
    }
}

//! Whom a component's programs are told to trust.

mod authority;
mod pem;

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rumi_policy::{ComponentId, Host, PolicySet};
use tokio_rustls::{TlsAcceptor, rustls::pki_types::CertificateDer};

use self::authority::Authority;
pub use self::authority::AuthorityError;
use crate::layout::Layout;

/// Everybody may read a certificate.
const MODE: u32 = 0o644;

/// Writes each component's bundle of certificate authorities, which its container sees as
/// /run/rumi/ca/<component>.pem: what the broker itself trusts, and the component's own authority
/// where its grant has the broker end TLS.
#[derive(Debug)]
pub struct Bundles {
    layout: Layout,
    /// What the broker itself trusts, as PEM.
    roots: String,
    /// Of every component whose bundle was written.
    authorities: Mutex<HashMap<ComponentId, Option<Arc<Authority>>>>,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file system refused.
    #[error("cannot write the certificate authorities `{path}`")]
    Write {
        /// The bundle.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The component's own authority is not to be had.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Bundles {
    /// For these roots.
    #[must_use]
    pub fn new(layout: Layout, roots: &[CertificateDer<'static>]) -> Self {
        let roots = roots.iter().map(|root| pem::certificate(root)).collect();
        Self {
            layout,
            roots,
            authorities: Mutex::default(),
        }
    }

    /// Brings a component's bundle up to date with its grant. A program sees the old one or the
    /// new one, never a part.
    ///
    /// # Errors
    /// When the file cannot be written; the old one is still there then.
    pub fn write(&self, component: &ComponentId, policy: &PolicySet) -> Result<(), BundleError> {
        let mut authorities = self.authorities();
        let hosts = intercepted(policy, component);
        let authority = match authorities.get(component) {
            Some(Some(authority)) if authority.hosts() == hosts => Some(Arc::clone(authority)),
            _ => self.authority(component, hosts)?,
        };
        let mut bundle = self.roots.clone();
        if let Some(authority) = &authority {
            bundle.push_str(&pem::certificate(authority.certificate()));
        }
        let path = self.layout.component_ca(component);
        replace(&path, bundle.as_bytes()).map_err(|source| BundleError::Write { path, source })?;
        authorities.insert(component.clone(), authority);
        Ok(())
    }

    /// Forgets a component that will not come back, and the key that was made for it.
    pub fn forget(&self, component: &ComponentId) {
        if self.authorities().remove(component).is_none() {
            return;
        }
        match fs::remove_file(self.layout.authority_key(component)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%component, %error, "the key of a component that is gone is left");
            }
            _ => {}
        }
    }

    /// Does so for every component whose bundle was written before.
    pub fn follow(&self, policy: &PolicySet) {
        let known: Vec<(ComponentId, Vec<Host>)> = self
            .authorities()
            .iter()
            .map(|(component, authority)| {
                let hosts = authority.as_ref().map(|known| known.hosts().to_vec());
                (component.clone(), hosts.unwrap_or_default())
            })
            .collect();
        for (component, hosts) in known {
            if intercepted(policy, &component) == hosts {
                continue;
            }
            if let Err(error) = self.write(&component, policy) {
                tracing::error!(%component, %error, "a component's bundle is not up to date");
            }
        }
    }

    /// The server side of TLS for a host that the component's grant has the broker intercept.
    ///
    /// # Errors
    /// When there is no certificate for it.
    pub fn acceptor(
        &self,
        component: &ComponentId,
        host: &Host,
    ) -> Result<TlsAcceptor, AuthorityError> {
        let authority = self.authorities().get(component).cloned().flatten();
        match authority {
            Some(authority) => authority.acceptor(host),
            None => Err(AuthorityError::NotIntercepted(host.clone())),
        }
    }

    /// Without hosts there is none. Its key stays: a grant may be gone for the moment that it takes to write it anew.
    fn authority(
        &self,
        component: &ComponentId,
        hosts: Vec<Host>,
    ) -> Result<Option<Arc<Authority>>, AuthorityError> {
        if hosts.is_empty() {
            return Ok(None);
        }
        let path = self.layout.authority_key(component);
        Authority::open(&path, component, hosts).map(|authority| Some(Arc::new(authority)))
    }

    fn authorities(&self) -> MutexGuard<'_, HashMap<ComponentId, Option<Arc<Authority>>>> {
        self.authorities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts in an order of their own, so that a grant that is only spelled anew changes nothing.
fn intercepted(policy: &PolicySet, component: &ComponentId) -> Vec<Host> {
    let grant = policy.grant(component).and_then(|grant| grant.network());
    let mut hosts = grant
        .filter(|network| network.enabled)
        .and_then(|network| network.intercept.clone())
        .unwrap_or_default();
    hosts.sort();
    hosts
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(same) if same == bytes => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".")
        .suffix(".new")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    let file = temporary.as_file();
    file.set_permissions(Permissions::from_mode(MODE))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

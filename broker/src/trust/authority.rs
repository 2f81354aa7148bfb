//! A component's own certificate authority: for the hosts whose TLS the broker ends, and for no others.
//!
//! The component's bundle alone trusts it, its key never leaves the broker, and its certificate is constrained to those
//! hosts. The key outlives the broker, so that programs that run go on trusting what they read at their start.

use std::{
    collections::HashMap,
    fs, io,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rumi_policy::{ComponentId, Host};
use time::OffsetDateTime;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use zeroize::Zeroizing;

/// How far clocks may disagree; containers have the host's.
const SKEW: Duration = Duration::from_secs(3600);
/// How long a host's certificate is valid, and after which time another is made.
const LEAF: Duration = Duration::from_secs(24 * 3600);
const RENEWED: Duration = Duration::from_secs(12 * 3600);
/// How long the authority's own is. It is made anew with each start of the broker or the pack.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Longest common name (RFC 5280); names of hosts may be longer.
const COMMON_NAME: usize = 64;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its key cannot be kept.
    #[error("cannot keep the key `{path}` of a component's certificate authority: {source}")]
    Key {
        /// The key.
        path: std::path::PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The library refused.
    #[error("cannot use a certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// It was just taken out of the grant.
    #[error("`{0}` is not intercepted any more")]
    NotIntercepted(Host),
}

/// One component's, for one list of hosts.
pub(super) struct Authority {
    hosts: Vec<Host>,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// All hosts' certificates are of this key, which is in memory only.
    leaf_key: KeyPair,
    /// At most one a host.
    leaves: Mutex<HashMap<Host, (Instant, TlsAcceptor)>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// With the key at `path`, which is made where there is none.
    pub(super) fn open(
        path: &Path,
        component: &ComponentId,
        hosts: Vec<Host>,
    ) -> Result<Self, AuthorityError> {
        let key = key(path)?;
        let params = authority_params(component, &hosts);
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self {
            hosts,
            issuer: Issuer::new(params, key),
            certificate,
            leaf_key: KeyPair::generate()?,
            leaves: Mutex::default(),
        })
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What the component is told to trust.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The server side of TLS for one of the hosts.
    pub(super) fn acceptor(&self, host: &Host) -> Result<TlsAcceptor, AuthorityError> {
        if !self.hosts.contains(host) {
            return Err(AuthorityError::NotIntercepted(host.clone()));
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, acceptor)) = leaves.get(host)
            && made.elapsed() < RENEWED
        {
            return Ok(acceptor.clone());
        }
        let acceptor = self.leaf(host)?;
        leaves.insert(host.clone(), (Instant::now(), acceptor.clone()));
        Ok(acceptor)
    }

    fn leaf(&self, host: &Host) -> Result<TlsAcceptor, AuthorityError> {
        let host = host.as_str();
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        if host.len() <= COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        (params.not_before, params.not_after) = validity(LEAF);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::from(key))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn authority_params(component: &ComponentId, hosts: &[Host]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name: String = format!("rumi {component}")
        .chars()
        .take(COMMON_NAME)
        .collect();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = validity(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let permitted = hosts.iter();
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted
            .map(|host| GeneralSubtree::DnsName(host.to_string()))
            .collect(),
        // What is permitted of names says nothing of addresses.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params
}

fn validity(length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - SKEW, now + length)
}

/// Reads the key, or makes one; what is there and is no key is replaced.
fn key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let failed = |source| AuthorityError::Key {
        path: path.to_owned(),
        source,
    };
    match fs::read(path).map(Zeroizing::new) {
        Ok(der) => match KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_slice())) {
            Ok(key) => return Ok(key),
            Err(error) => tracing::warn!(path = %path.display(), %error, "made anew: not a key"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = KeyPair::generate()?;
    let der = Zeroizing::new(key.serialize_der());
    let directory = path
        .parent()
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    // tempfile makes it for this user alone.
    let mut temporary = tempfile::Builder::new()
        .prefix(".key-")
        .tempfile_in(directory)
        .map_err(failed)?;
    temporary.write_all(&der).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary
        .persist(path)
        .map_err(|error| failed(error.error))?;
    Ok(key)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

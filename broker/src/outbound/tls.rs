//! TLS towards the host that was judged: its name in the SNI, its name in the certificate.

use std::{io, sync::Arc};

use rumi_policy::Host;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore,
        client::Resumption,
        crypto::ring,
        pki_types::{CertificateDer, InvalidDnsNameError, ServerName},
    },
};

/// Connects with one fixed set of root certificates.
#[derive(Clone)]
pub(crate) struct Tls {
    /// `None` where there is no root at all, so that the broker starts and only `https` fails.
    connector: Option<TlsConnector>,
    roots: Arc<[CertificateDer<'static>]>,
    problems: Arc<[String]>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("usable", &self.connector.is_some())
            .field("problems", &self.problems)
            .finish()
    }
}

/// Why there is no trusted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// No certificate could ever be checked.
    #[error(
        "the broker has no root certificates; install the package `ca-certificates` or set SSL_CERT_FILE for it, and restart it"
    )]
    NoRoots,
    /// The host cannot stand in a certificate.
    #[error("`{host}` cannot be the name of a TLS server")]
    Name {
        /// The host.
        host: Host,
        /// From the TLS library.
        source: InvalidDnsNameError,
    },
    /// The handshake failed, or the certificate is not one for this host.
    #[error(
        "no trusted TLS connection to `{host}`: {}; for a certificate authority of your own set SSL_CERT_FILE for the broker",
        reason(source)
    )]
    Handshake {
        /// The host.
        host: Host,
        /// From the TLS library.
        source: io::Error,
    },
}

impl Tls {
    /// The system's roots, or those of SSL_CERT_FILE and SSL_CERT_DIR where they are set. Reads files: call
    /// it once, at the start.
    pub(crate) fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut tls = Self::with_roots(found.certs);
        tls.problems = found
            .errors
            .iter()
            .map(ToString::to_string)
            .chain(tls.problems.iter().cloned())
            .collect();
        tls
    }

    /// These roots and no others.
    pub(crate) fn with_roots(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut store = RootCertStore::empty();
        let given: Vec<_> = roots.into_iter().collect();
        let total = given.len();
        let roots: Arc<[_]> = given
            .into_iter()
            .filter(|root| store.add(root.clone()).is_ok())
            .collect();
        let ignored = total.saturating_sub(roots.len());
        let mut problems = Vec::new();
        if ignored > 0 {
            problems.push(format!(
                "{ignored} root certificates cannot be read and are left out"
            ));
        }
        if roots.is_empty() {
            problems.push(TlsError::NoRoots.to_string());
            return Self {
                connector: None,
                roots,
                problems: problems.into(),
            };
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let connector = match builder {
            Ok(builder) => {
                let mut config = builder.with_root_certificates(store).with_no_client_auth();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                // A resumed session would tell the server that two components are one client.
                config.resumption = Resumption::disabled();
                Some(TlsConnector::from(Arc::new(config)))
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        Self {
            connector,
            roots,
            problems: problems.into(),
        }
    }

    /// The certificates that are believed, as they were found.
    pub(crate) fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// What was wrong with the root certificates, for the log.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// A connection to `host`, whose certificate names `host`. An address has no SNI and must stand in the
    /// certificate as an address.
    pub(super) async fn connect<S>(&self, host: &Host, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = self.connector.as_ref().ok_or(TlsError::NoRoots)?;
        let name = match host.address() {
            Some(address) => ServerName::IpAddress(address.into()),
            None => {
                ServerName::try_from(host.as_str().to_owned()).map_err(|source| TlsError::Name {
                    host: host.clone(),
                    source,
                })?
            }
        };
        connector
            .connect(name, stream)
            .await
            .map_err(|source| TlsError::Handshake {
                host: host.clone(),
                source,
            })
    }
}

/// The reason in words of our own: the library's repeat what the far end wrote into its certificate, which may
/// be long and is nobody's to trust.
fn reason(error: &io::Error) -> &'static str {
    let error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match error {
        None => "the connection broke during the handshake",
        Some(Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host"
            }
            CertificateError::UnknownIssuer => {
                "its certificate is from an authority that is not trusted"
            }
            CertificateError::Revoked => "its certificate was revoked",
            _ => "its certificate is not valid",
        },
        Some(Error::InvalidMessage(_)) => "what it sent is not TLS",
        Some(Error::AlertReceived(_)) => "it refused the handshake",
        Some(_) => "the handshake failed",
    }
}

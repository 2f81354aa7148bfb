//! What a component's authority is good for, and what it is not.

use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;

fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn open(directory: &tempfile::TempDir, names: &[&str]) -> Authority {
    let component = "pack:tool:name".parse().unwrap();
    Authority::open(&directory.path().join("a.key"), &component, hosts(names)).unwrap()
}

/// Whether a client that trusts only `authority` accepts this server as `name`.
async fn accepted(authority: &Authority, acceptor: TlsAcceptor, name: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.certificate().to_vec()))
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, _server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    client.is_ok()
}

#[tokio::test]
async fn it_speaks_for_its_hosts_and_survives_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let before = open(&directory, &["api.test"]);
    let after = open(&directory, &["api.test", "other.test"]);
    let host = "api.test".parse().unwrap();
    for authority in [&before, &after] {
        // Either trusts what the other signed: they are of one key.
        let acceptor = after.acceptor(&host).unwrap();
        assert!(accepted(authority, acceptor, "api.test").await);
    }
    let acceptor = after.acceptor(&host).unwrap();
    assert!(!accepted(&after, acceptor, "other.test").await);
    let stranger = "stranger.test".parse().unwrap();
    assert!(matches!(
        after.acceptor(&stranger),
        Err(AuthorityError::NotIntercepted(_))
    ));
    // One certificate a host, however often it is asked for.
    after.acceptor(&host).unwrap();
    assert_eq!(after.leaves.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn even_its_key_cannot_speak_for_other_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(&directory, &["api.test"]);
    for name in [
        "evil.test",
        "api.test.evil.test",
        "xapi.test",
        "192.0.2.7",
        "2001:db8::7",
    ] {
        let forged = authority.leaf(&name.parse().unwrap()).unwrap();
        assert!(!accepted(&authority, forged, name).await, "{name}");
    }
}

#[test]
fn what_is_no_key_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.key");
    std::fs::write(&path, "nonsense").unwrap();
    open(&directory, &["api.test"]);
    assert!(KeyPair::try_from(std::fs::read(&path).unwrap()).is_ok());
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

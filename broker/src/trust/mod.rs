//! Whom a component's programs are told to trust.

mod pem;

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rumi_policy::ComponentId;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::layout::Layout;

/// Everybody may read a certificate.
const MODE: u32 = 0o644;

/// Writes each component's bundle of certificate authorities, which its container sees as
/// /run/rumi/ca/<component>.pem.
#[derive(Debug)]
pub struct Bundles {
    layout: Layout,
    /// What the broker itself trusts, as PEM.
    roots: String,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the certificate authorities `{path}`")]
pub struct BundleError {
    /// The bundle.
    path: PathBuf,
    /// From the file system.
    source: io::Error,
}

impl Bundles {
    /// For these roots.
    #[must_use]
    pub fn new(layout: Layout, roots: &[CertificateDer<'static>]) -> Self {
        let roots = roots.iter().map(|root| pem::certificate(root)).collect();
        Self { layout, roots }
    }

    /// Brings a component's bundle up to date. A program sees the old one or the new one,
    /// never a part.
    ///
    /// # Errors
    /// When the file cannot be written; the old one is still there then.
    pub fn write(&self, component: &ComponentId) -> Result<(), BundleError> {
        let path = self.layout.component_ca(component);
        replace(&path, self.roots.as_bytes()).map_err(|source| BundleError { path, source })
    }
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

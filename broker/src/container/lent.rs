//! The host's CA bundle, lent to the builder stages of a build that may use the network.
//!
//! It goes into an image of its own that builder stages begin from, so that the last stage,
//! which becomes the pack's image, never had it.

use std::{fs, path::PathBuf};

use super::{
    context::Entry,
    engine::{Engine, ImageId},
    image::BuildError,
    recipe::{Recipe, run_build},
};
use crate::config::BuildSettings;

/// Where distributions keep the bundle.
const PLACES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Where the bundle lies in a lent image.
const INSIDE: &str = "/usr/local/share/rumi-lent-ca.pem";
/// Names by which programs are told of a bundle.
const VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
];

/// The host's bundle as the settings name it; `None` where the host has none.
pub(super) fn bundle(settings: &BuildSettings) -> Result<Option<Vec<u8>>, BuildError> {
    let path = match &settings.ca_bundle {
        Some(path) => path.clone(),
        None => match PLACES.iter().map(PathBuf::from).find(|path| path.is_file()) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    fs::read(&path)
        .map(Some)
        .map_err(|source| BuildError::Bundle { path, source })
}

/// An image that is `from` and the bundle.
pub(super) async fn lend(
    engine: &Engine,
    from: &ImageId,
    bundle: &[u8],
    stage: &str,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<ImageId, BuildError> {
    let variables: Vec<String> = VARIABLES
        .iter()
        .map(|name| format!("{name}={INSIDE}"))
        .collect();
    let dockerfile = format!(
        "FROM {from}\nLABEL {}=\"{stage}-lent\"\nCOPY bundle.pem {INSIDE}\nENV {}\n",
        super::labels::STAGE,
        variables.join(" ")
    );
    let file = Entry::File {
        executable: false,
        content: bundle.to_vec(),
    };
    let recipe = Recipe {
        dockerfile,
        files: vec![("bundle.pem".to_owned(), file)],
        ..Recipe::default()
    };
    run_build(engine, recipe, progress).await
}

//! Headers that the broker adds to a request. The pack never sees what is in them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use rumi_policy::{EnvKey, InjectedHeader, Template};
use zeroize::Zeroizing;

use super::{
    secret::Secret,
    store::{Store, StoreError},
};
use crate::outbound::Reply;

/// What stands in a reply where the server repeated a secret.
const REDACTED: HeaderValue = HeaderValue::from_static("[redacted]");

/// Why a request cannot be given its headers. For the admin: the pack is told that something is missing,
/// and not what.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The admin removed it, or never set it.
    #[error(
        "the grant injects the secret `{0}`, which has no value; remedy: packctl secret set {0}"
    )]
    Missing(EnvKey),
    /// A line end, most likely.
    #[error(
        "the header `{0}` that the grant injects would hold a character no header may; remedy: set its secret anew, without line ends"
    )]
    Unfit(InjectedHeader),
    /// No secret can be had.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// The secrets that a request carries.
#[derive(Debug, Default)]
pub struct Carried {
    names: Vec<String>,
    secrets: Vec<Secret>,
}

impl Carried {
    /// Names of the headers that were added.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes the secrets out of a reply's headers, should the server repeat them. Its body is not looked
    /// into: it may be coded in any way.
    pub fn redact(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            if self.secrets.iter().any(|secret| repeats(value, secret)) {
                *value = REDACTED;
            }
        }
    }
}

impl Carried {
    /// The same for a reply that is whole: there its body is looked into as well, byte by byte.
    pub fn redact_reply(&self, reply: &mut Reply) {
        for secret in &self.secrets {
            for (_, value) in &mut reply.headers {
                if value.contains(secret.text()) {
                    *value = "[redacted]".to_owned();
                }
            }
            let wanted = secret.text().as_bytes();
            if find(&reply.body, wanted).is_some() {
                reply.body = masked(&reply.body, wanted);
            }
        }
    }
}

fn repeats(value: &HeaderValue, secret: &Secret) -> bool {
    find(value.as_bytes(), secret.text().as_bytes()).is_some()
}

/// Secrets are never empty, and are short.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len().max(1))
        .position(|window| window == wanted)
}

/// Of the same length, so that what the headers say of the body stays true.
fn masked(body: &[u8], wanted: &[u8]) -> Bytes {
    let mut masked = BytesMut::with_capacity(body.len());
    let mut rest = body;
    while let Some((clear, after)) = find(rest, wanted).and_then(|at| rest.split_at_checked(at)) {
        masked.extend_from_slice(clear);
        masked.resize(masked.len() + wanted.len(), b'*');
        rest = after.get(wanted.len()..).unwrap_or_default();
    }
    masked.extend_from_slice(rest);
    masked.freeze()
}

/// Puts the granted headers in the place of what the pack sent under their names.
///
/// # Errors
/// When one of them cannot be made; nothing must be sent then.
pub fn inject(
    headers: &mut HeaderMap,
    granted: &[(InjectedHeader, Template)],
    store: &Store,
) -> Result<Carried, InjectError> {
    let mut carried = Carried::default();
    for (header, template) in granted {
        let mut values = Vec::new();
        for name in template.secrets() {
            let secret = store
                .get(name)?
                .ok_or_else(|| InjectError::Missing(name.clone()))?;
            values.push((name.clone(), secret));
        }
        let rendered = template
            .render(&|name| {
                let value = values.iter().find(|(known, _)| known == name);
                value.map(|(_, secret)| Zeroizing::new(secret.text().to_owned()))
            })
            .map_err(InjectError::Missing)?;
        let unfit = || InjectError::Unfit(header.clone());
        let visible = |byte: u8| matches!(byte, b' '..=b'~');
        if !rendered.bytes().all(visible) {
            return Err(unfit());
        }
        let name = HeaderName::from_bytes(header.as_str().as_bytes()).map_err(|_| unfit())?;
        let mut value = HeaderValue::from_str(&rendered).map_err(|_| unfit())?;
        // Keeps it out of anybody's debugging output.
        value.set_sensitive(true);
        headers.insert(name, value);
        carried.names.push(header.to_string());
        carried
            .secrets
            .extend(values.into_iter().map(|(_, secret)| secret));
    }
    Ok(carried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(value: &str) -> Vec<(InjectedHeader, Template)> {
        vec![("Authorization".parse().unwrap(), value.parse().unwrap())]
    }

    fn store(directory: &tempfile::TempDir, value: &str) -> Store {
        let store = Store::open(directory.path().join("sealed"), directory.path(), None);
        let value = Secret::new(Zeroizing::new(value.to_owned()));
        store.set([("TOKEN".parse().unwrap(), value)]).unwrap();
        store
    }

    #[test]
    fn what_the_pack_sent_is_replaced_and_what_the_server_repeats_is_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, "canary-1");
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("mine"));
        headers.append("authorization", HeaderValue::from_static("mine too"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        let granted = granted("Bearer ${secret:TOKEN}");
        let carried = inject(&mut headers, &granted, &store).unwrap();
        let sent: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(sent, ["Bearer canary-1"]);
        assert_eq!(headers["accept"], "*/*");
        assert_eq!(carried.names(), ["authorization"]);
        assert!(!format!("{headers:?}{carried:?}").contains("canary"));
        let mut reply = HeaderMap::new();
        reply.append("x-echo", HeaderValue::from_static("<Bearer canary-1>"));
        reply.append("x-other", HeaderValue::from_static("canary-2"));
        carried.redact(&mut reply);
        assert_eq!(reply["x-echo"], "[redacted]");
        assert_eq!(reply["x-other"], "canary-2");
        let mut reply = Reply {
            status: 200,
            headers: vec![("x-echo".to_owned(), "canary-1".to_owned())],
            body: Bytes::from_static(b"acanary-1bcanary-1canary-"),
        };
        carried.redact_reply(&mut reply);
        assert_eq!(reply.headers[0].1, "[redacted]");
        assert_eq!(reply.body.as_ref(), b"a********b********canary-");
    }

    #[test]
    fn what_cannot_be_made_is_named_to_the_admin_without_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, "canary\r\nX-Evil: yes");
        let mut headers = HeaderMap::new();
        let error = inject(&mut headers, &granted("${secret:GONE}"), &store).unwrap_err();
        assert!(
            error.to_string().contains("packctl secret set GONE"),
            "{error}"
        );
        let error = inject(&mut headers, &granted("${secret:TOKEN}"), &store).unwrap_err();
        assert!(error.to_string().contains("`authorization`"), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(headers.is_empty());
    }
}

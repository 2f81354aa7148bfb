//! The environment of a command: what the grant lists, with secrets put in, and nothing else.

use std::sync::Arc;

use rumi_policy::{EnvKey, Template};
use zeroize::Zeroizing;

use crate::secrets::{Secret, StoreError};

/// Variables in the form in which the guest takes them: four bytes of length, big-endian, then
/// `KEY=VALUE`, each closed by a NUL byte. They are handed over on a command's standard input, because the
/// settings of a container can be looked at.
#[derive(Clone)]
pub struct Environment(Arc<Zeroizing<Vec<u8>>>);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// A secret is not there.
    #[error("the secret `{0}` has no value here")]
    Missing(EnvKey),
    /// A variable cannot hold this.
    #[error("the value of `{0}` contains a NUL byte, which no environment can hold")]
    Nul(EnvKey),
    /// More than a command can be given.
    #[error("the environment is longer than {LONGEST} bytes")]
    TooLong,
}

/// Where the values of secrets come from.
type Lookup<'a> = dyn Fn(&EnvKey) -> Result<Option<Secret>, Arc<StoreError>> + 'a;

/// What the kernel takes at most, arguments included, is a few MiB.
const LONGEST: usize = 1 << 20;

impl std::fmt::Debug for Environment {
    /// Its size alone: the values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({} bytes)", self.0.len())
    }
}

impl Environment {
    /// The grant's variables, with the values that secrets have now. Nothing comes from the broker's own
    /// environment.
    ///
    /// # Errors
    /// When a secret is missing, or a value cannot be one of a variable.
    pub fn render(
        variables: &[(EnvKey, Template)],
        secret: &Lookup<'_>,
    ) -> Result<Self, EnvironmentError> {
        let mut rendered = Vec::with_capacity(variables.len());
        for (key, template) in variables {
            // Asked first: what renders has no way to say that the store is broken.
            for name in template.secrets() {
                secret(name)?;
            }
            let value = template
                .render(&|name| {
                    let found = secret(name).ok().flatten()?;
                    Some(Zeroizing::new(found.text().to_owned()))
                })
                .map_err(EnvironmentError::Missing)?;
            if value.contains('\0') {
                return Err(EnvironmentError::Nul(key.clone()));
            }
            rendered.push((key, value));
        }
        Self::encode(&rendered)
    }

    fn encode(variables: &[(&EnvKey, Zeroizing<String>)]) -> Result<Self, EnvironmentError> {
        let sizes = variables
            .iter()
            .map(|(key, value)| key.as_str().len() + value.len() + 2);
        let length: usize = sizes.sum();
        let head = u32::try_from(length)
            .ok()
            .filter(|_| length <= LONGEST)
            .ok_or(EnvironmentError::TooLong)?;
        // Made whole at once: a vector that grows leaves copies behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 4));
        bytes.extend_from_slice(&head.to_be_bytes());
        for (key, value) in variables {
            bytes.extend_from_slice(key.as_str().as_bytes());
            bytes.push(b'=');
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        Ok(Self(Arc::new(bytes)))
    }

    /// What is written before the command's own input.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

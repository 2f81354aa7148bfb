//! One value, which is wiped from memory when nobody holds it any more.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// Largest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;

/// A secret value. It shows itself to nobody by accident.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// Why a value cannot be kept. It says nothing about what is in the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitValue {
    /// Nothing.
    #[error("the value is empty; remedy: give one, or remove the secret: packctl secret rm NAME")]
    Empty,
    /// Too much.
    #[error(
        "the value is longer than {MAX_VALUE} bytes; remedy: keep it in a file and grant file_read"
    )]
    TooLong,
    /// Bytes.
    #[error(
        "the value is not UTF-8; remedy: encode it, e.g. base64 -w0 FILE | packctl secret set NAME"
    )]
    NotText,
    /// NUL ends a string for most who read it.
    #[error(
        "the value holds a NUL; remedy: encode it, e.g. base64 -w0 FILE | packctl secret set NAME"
    )]
    Nul,
}

impl Secret {
    /// For a value that was checked, or comes from where it cannot be.
    #[must_use]
    pub fn new(value: Zeroizing<String>) -> Self {
        Self(Arc::new(value))
    }

    /// Checks bytes that somebody sent; they are wiped where they are refused.
    ///
    /// # Errors
    /// When they are no value.
    pub fn check(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, UnfitValue> {
        if bytes.is_empty() {
            return Err(UnfitValue::Empty);
        }
        if bytes.len() > MAX_VALUE {
            return Err(UnfitValue::TooLong);
        }
        if bytes.contains(&0) {
            return Err(UnfitValue::Nul);
        }
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Self::new(Zeroizing::new(text))),
            Err(error) => {
                *bytes = error.into_bytes();
                Err(UnfitValue::NotText)
            }
        }
    }

    /// The value itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Result<Secret, UnfitValue> {
        Secret::check(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn a_value_is_text_of_some_length() {
        assert_eq!(check(b"x").unwrap().text(), "x");
        assert_eq!(check("größe\n".as_bytes()).unwrap().text(), "größe\n");
        assert!(check(&vec![b'x'; MAX_VALUE]).is_ok());
        for (bytes, expected) in [
            (&b""[..], UnfitValue::Empty),
            (b"a\0b", UnfitValue::Nul),
            (b"caf\xe9", UnfitValue::NotText),
            (&vec![b'x'; MAX_VALUE + 1], UnfitValue::TooLong),
        ] {
            let error = check(bytes).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("caf"));
        }
    }

    #[test]
    fn a_value_does_not_show_itself() {
        let shown = format!("{:?}", check(b"hidden").unwrap());
        assert_eq!(shown, "Secret(..)");
    }
}

//! What a client must show to use the loopback proxy. It lives in this process and in the
//! environment of what it starts, and in no file.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq as _;

const USER: &str = "rumi";

/// Sixteen random bytes, as programs write them into a URL and into a header.
pub(super) struct Secret {
    text: String,
    credentials: String,
}

impl Secret {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let mut bytes = [0_u8; 16];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let credentials = STANDARD.encode(format!("{USER}:{text}"));
        Ok(Self { text, credentials })
    }

    /// The proxy's address as it stands in `HTTP_PROXY`.
    pub(super) fn proxy_url(&self, port: u16) -> String {
        format!("http://{USER}:{}@127.0.0.1:{port}", self.text)
    }

    /// Whether the value of a `Proxy-Authorization` header holds it.
    pub(super) fn is_shown_by(&self, value: &[u8]) -> bool {
        let Some((scheme, rest)) = value.split_at_checked(6) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"basic ")
            && bool::from(rest.trim_ascii().ct_eq(self.credentials.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_will_do() {
        let secret = Secret::new().unwrap();
        let right = format!("Basic {}", secret.credentials);
        assert!(secret.is_shown_by(right.as_bytes()));
        assert!(secret.is_shown_by(right.replace("Basic", "bAsIc ").as_bytes()));
        let other = Secret::new().unwrap();
        assert!(!other.is_shown_by(right.as_bytes()));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            &right[..right.len() - 1],
            &format!("{right}="),
            &right.replace("Basic", "Bearer"),
            &secret.text,
        ] {
            assert!(!secret.is_shown_by(wrong.as_bytes()), "{wrong}");
        }
        let url = secret.proxy_url(8080);
        assert!(url.starts_with("http://rumi:") && url.ends_with("@127.0.0.1:8080"));
        assert_eq!(secret.text.len(), 32);
    }
}

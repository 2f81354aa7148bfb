//! Certificates as text (RFC 7468).

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Characters of a line.
const LINE: usize = 64;

pub(super) fn certificate(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE + 64);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_others() {
        for length in [1, 47, 48, 49, 96, 1_000] {
            let der: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            let text = certificate(&der);
            assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der);
        }
    }
}

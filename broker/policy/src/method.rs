//! HTTP request methods.

use std::sync::Arc;

use crate::spelling::{SpellingError, text_type};

/// An HTTP method, in upper case. `CONNECT` and `TRACE` are not methods a component may use:
/// the one opens a tunnel, the other echoes credentials.
#[derive(Clone)]
pub struct HttpMethod {
    text: Arc<str>,
}
text_type!(HttpMethod);

impl HttpMethod {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| Err(SpellingError::new("an http method", text, why));
        if text.is_empty() || text.len() > 24 {
            return refuse("it must have 1 to 24 letters");
        }
        if !text.bytes().all(|b| b.is_ascii_uppercase()) {
            return refuse("only upper-case letters are allowed");
        }
        if matches!(text, "CONNECT" | "TRACE") {
            return refuse("this method is never made on behalf of a component");
        }
        Ok(Self { text: text.into() })
    }
}

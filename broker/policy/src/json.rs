//! JSON read strictly: duplicate keys are errors, key order is kept, and every complaint names
//! its line or its field.

mod fields;
mod node;

pub(crate) use fields::Fields;
pub(crate) use node::Node;

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) line: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

impl JsonError {
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self {
            line: None,
            field: None,
            message: message.into(),
        }
    }

    /// Line and message, for what is no file.
    pub(crate) fn sentence(&self) -> String {
        match (self.line, &self.field) {
            (Some(line), _) => format!("line {line}: {}", self.message),
            (None, Some(field)) => format!("`{field}`: {}", self.message),
            (None, None) => self.message.clone(),
        }
    }

    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            line: None,
            field: Some(field.into()),
            message: message.into(),
        }
    }
}

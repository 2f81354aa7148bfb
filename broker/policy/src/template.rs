//! Text of a grant in which secrets are named, and never held.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ids::EnvKey;
use crate::spelling::{SpellingError, text_type};

const OPENING: &str = "${";
const LONGEST: usize = 4096;

/// Text with secrets in it by name, as in `Bearer ${secret:API_TOKEN}`.
///
/// `${` begins a secret and nothing else, so that a misspelled name is an error in the grant instead of a
/// literal in a header. A `$` without a brace stands for itself.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    pieces: Arc<[Piece]>,
}
text_type!(Template);

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Secret(EnvKey),
}

impl Template {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a text with secrets", text, why);
        if text.len() > LONGEST {
            return Err(refuse("it is longer than 4096 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(refuse(
                "it holds a control character; put such a value into a secret",
            ));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once(OPENING) {
            push_literal(&mut pieces, literal);
            let (inner, after) = after
                .split_once('}')
                .ok_or_else(|| refuse("a `${` in it is not closed by `}`"))?;
            let name = inner.strip_prefix("secret:").ok_or_else(|| {
                refuse("`${` begins a secret and nothing else; write `${secret:NAME}`")
            })?;
            let name = name
                .parse()
                .map_err(|error: SpellingError| refuse(&format!("the name in it: {error}")))?;
            pieces.push(Piece::Secret(name));
            rest = after;
        }
        push_literal(&mut pieces, rest);
        Ok(Self {
            text: text.into(),
            pieces: pieces.into(),
        })
    }

    /// The names of the secrets in it, in order; one that stands in it twice comes twice.
    pub fn secrets(&self) -> impl Iterator<Item = &EnvKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Secret(name) => Some(name),
        })
    }

    /// The text with each secret's value in its place.
    ///
    /// # Errors
    /// The name of the first secret that has no value.
    pub fn render(
        &self,
        value: &dyn Fn(&EnvKey) -> Option<Zeroizing<String>>,
    ) -> Result<Zeroizing<String>, EnvKey> {
        let values: Vec<_> = self
            .secrets()
            .map(|name| value(name).ok_or_else(|| name.clone()))
            .collect::<Result<_, _>>()?;
        // A string that grows leaves copies behind in freed memory, so it is made whole at once.
        let secret: usize = values.iter().map(|value| value.len()).sum();
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + secret));
        let mut values = values.iter();
        for piece in self.pieces.iter() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Secret(_) => text.push_str(values.next().map_or("", |value| value)),
            }
        }
        Ok(text)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.into()));
    }
}

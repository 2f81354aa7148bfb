//! An object being taken apart key by key, so that what is left over can be refused.

use std::str::FromStr;

use super::{JsonError, Node};
use crate::spelling::excerpt;

/// Longest list in any file. It keeps the search for doubles short, whoever wrote the file.
const MOST_ENTRIES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Fields {
    at: String,
    entries: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// `at` is the dotted name of the object itself, empty for the document.
    pub(crate) fn open(at: impl Into<String>, node: Node) -> Result<Self, JsonError> {
        let at = at.into();
        match node {
            Node::Object(entries) => Ok(Self {
                at,
                entries,
                known: Vec::new(),
            }),
            other => {
                let message = format!("this must be an object, not {}", other.kind());
                Err(JsonError {
                    line: None,
                    field: (!at.is_empty()).then_some(at),
                    message,
                })
            }
        }
    }

    pub(crate) fn name(&self, key: &str) -> String {
        if self.at.is_empty() {
            excerpt(key)
        } else {
            format!("{}.{}", self.at, excerpt(key))
        }
    }

    /// The dotted name of the object itself.
    pub(crate) fn place(&self) -> String {
        self.at.clone()
    }

    pub(crate) fn error(&self, key: &str, message: impl Into<String>) -> JsonError {
        JsonError::field(self.name(key), message)
    }

    /// Takes a key out; a `null` is the same as no key nowhere, so it stays a value.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(index).1)
    }

    pub(crate) fn require(&mut self, key: &'static str) -> Result<Node, JsonError> {
        self.take(key)
            .ok_or_else(|| self.error(key, "this field is missing"))
    }

    /// Takes out all entries that are left, for objects whose keys are names.
    pub(crate) fn drain(&mut self) -> Vec<(String, Node)> {
        std::mem::take(&mut self.entries)
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self) -> Result<(), JsonError> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => {
                let known: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
                let message = format!(
                    "there is no such field; known here are {}",
                    known.join(", ")
                );
                Err(self.error(key, message))
            }
        }
    }

    pub(crate) fn text(&self, key: &str, node: Node) -> Result<String, JsonError> {
        match node {
            Node::Text(text) => Ok(text),
            other => Err(self.error(key, format!("this must be a string, not {}", other.kind()))),
        }
    }

    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<String, JsonError> {
        let node = self.require(key)?;
        self.text(key, node)
    }

    pub(crate) fn bool(&self, key: &str, node: Node) -> Result<bool, JsonError> {
        match node {
            Node::Bool(value) => Ok(value),
            other => Err(self.error(
                key,
                format!("this must be true or false, not {}", other.kind()),
            )),
        }
    }

    /// A whole number from 1 up to `most`.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        most: u64,
    ) -> Result<Option<u64>, JsonError> {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        let value = match &node {
            Node::Number(number) => number.as_u64(),
            _ => None,
        };
        match value {
            Some(value) if (1..=most).contains(&value) => Ok(Some(value)),
            _ => Err(self.error(key, format!("this must be a whole number from 1 to {most}"))),
        }
    }

    /// Like [`Self::number`] for the sizes and times that fit into 32 bits.
    pub(crate) fn small_number(
        &mut self,
        key: &'static str,
        most: u32,
    ) -> Result<Option<u32>, JsonError> {
        let number = self.number(key, u64::from(most))?;
        Ok(number.map(|value| u32::try_from(value).unwrap_or(most)))
    }

    pub(crate) fn parsed<T>(&mut self, key: &'static str) -> Result<T, JsonError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.required_text(key)?;
        text.parse()
            .map_err(|error: T::Err| self.error(key, error.to_string()))
    }

    /// Like [`Self::parsed`], where the key may be absent.
    pub(crate) fn parsed_if_present<T>(&mut self, key: &'static str) -> Result<Option<T>, JsonError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        let text = self.text(key, node)?;
        text.parse()
            .map(Some)
            .map_err(|error: T::Err| self.error(key, error.to_string()))
    }

    /// A list of strings, each parsed; `None` when the key is absent. An entry that stands
    /// there twice is an error, because one of the two was meant to be something else.
    pub(crate) fn list<T>(&mut self, key: &'static str) -> Result<Option<Vec<T>>, JsonError>
    where
        T: FromStr + PartialEq,
        T::Err: std::fmt::Display,
    {
        let convert = |node: Node| match node {
            Node::Text(text) => text.parse::<T>().map_err(|error| error.to_string()),
            other => Err(format!("this must be a string, not {}", other.kind())),
        };
        self.list_with(key, convert)
    }

    pub(crate) fn list_with<T: PartialEq>(
        &mut self,
        key: &'static str,
        convert: impl Fn(Node) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, JsonError> {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        let Node::List(items) = node else {
            return Err(self.error(key, format!("this must be a list, not {}", node.kind())));
        };
        if items.len() > MOST_ENTRIES {
            return Err(self.error(key, format!("more than {MOST_ENTRIES} entries")));
        }
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let name = || format!("{}[{index}]", self.name(key));
            let value = convert(item).map_err(|message| JsonError::field(name(), message))?;
            if list.contains(&value) {
                return Err(JsonError::field(
                    name(),
                    "this entry stands in the list twice",
                ));
            }
            list.push(value);
        }
        Ok(Some(list))
    }
}

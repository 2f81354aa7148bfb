//! Refusals, and the commands that would lift them.

use crate::ids::ComponentId;
use crate::permission::PermissionName;
use crate::reason::Reason;

/// A refusal, with something for each of its readers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Denial {
    pub reason: Reason,
    /// For the component's author; names nothing but what the component itself sent.
    pub sentence: String,
    /// For the admin and the audit log only: the rule or the address that decided.
    pub detail: Option<String>,
    /// The command that would allow it, where one command would.
    pub remedy: Option<Remedy>,
}

impl Denial {
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self {
            reason,
            sentence: sentence.into(),
            detail: None,
            remedy: None,
        }
    }

    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, sentence)
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: Option<Remedy>) -> Self {
        self.remedy = remedy;
        self
    }
}

/// The narrowest `packctl` command that would allow what was refused. Its `Display` can be
/// pasted into a shell, whatever the pack had put into the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    words: Vec<String>,
}

impl Remedy {
    pub(crate) fn grant_add(
        component: &ComponentId,
        permission: impl std::fmt::Display,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut words = vec![
            "packctl".to_owned(),
            "grant".to_owned(),
            "add".to_owned(),
            component.to_string(),
            permission.to_string(),
        ];
        words.extend(values);
        Self { words }
    }

    /// The grant as it is, for one use more.
    pub(crate) fn one_more_use(
        component: &ComponentId,
        permission: &PermissionName,
        max_uses: u64,
    ) -> Self {
        let words = ["--max-uses".to_owned(), max_uses.to_string()];
        Self::grant_add(component, permission, words)
    }

    pub fn argv(&self) -> &[String] {
        &self.words
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&quote(word))?;
        }
        Ok(())
    }
}

/// One shell word on one line. Control characters use `$'…'`, so that a newline or an escape
/// sequence in a path cannot change what an admin's terminal shows.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if !word.chars().any(needs_escape) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\\' => quoted.push_str(r"\\"),
            '\'' => quoted.push_str(r"\'"),
            c if needs_escape(c) => {
                let mut bytes = [0_u8; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    quoted.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Characters that change what a terminal shows, the bidirectional controls among them.
/// `char::escape_debug` knows them all and escapes quotes and backslashes besides.
fn needs_escape(c: char) -> bool {
    !matches!(c, '\'' | '"' | '\\') && c.escape_debug().count() > 1
}

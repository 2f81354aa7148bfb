//! A request in full, as one line of text: what the admin is asked about, and what `always` of a
//! grant holds.
//!
//! Two requests that differ have lines that differ. A line is words with one space between them;
//! what a component chose stands as a word of its own in a place that the words before it fix, and
//! is quoted where it could be taken for more than one. Nothing but printable ASCII is in it:
//! letters that look like others, or that turn a terminal's line around, are seen as what they are.

use std::fmt::Write as _;

/// Longest line that a grant's `always` may hold, in bytes.
pub(crate) const LONGEST_KEPT: usize = 16 << 10;
/// Longest line that is made at all: nobody reads more than this before he answers.
const LONGEST_SHOWN: usize = 64 << 10;

/// One request, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactRequest {
    line: String,
    whole: bool,
    tells_all: bool,
}

impl ExactRequest {
    /// The line; nothing where it is too long for anybody to read.
    pub fn line(&self) -> Option<&str> {
        self.whole.then_some(self.line.as_str())
    }

    /// Whether the same line is the same request, and short enough to be kept in a grant.
    pub fn may_be_kept(&self) -> bool {
        self.whole && self.tells_all && self.line.len() <= LONGEST_KEPT
    }

    /// Whether it is one of these lines.
    pub(crate) fn is_among(&self, kept: &[String]) -> bool {
        self.may_be_kept() && kept.contains(&self.line)
    }
}

/// Writes the line, word by word.
#[derive(Debug)]
pub struct Words {
    line: String,
    whole: bool,
    tells_all: bool,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self {
            line: String::new(),
            whole: true,
            tells_all: true,
        }
    }

    /// A word that no component chose.
    pub(crate) fn say(&mut self, word: &str) -> &mut Self {
        self.put(|line| line.push_str(word))
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.put(|line| line.push_str(&number.to_string()))
    }

    /// A word that a component chose, whatever is in it.
    pub(crate) fn quote(&mut self, word: &str) -> &mut Self {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\'' | b'"' | b'\\' | b'`');
        if !word.is_empty() && word.bytes().all(plain) {
            return self.say(word);
        }
        // Never more than a little past the end, however long the word is.
        let readable = word.len() <= LONGEST_SHOWN;
        self.whole &= readable;
        self.put(|line| {
            line.push('\'');
            for c in word.chars().filter(|_| readable) {
                escape(line, c);
            }
            line.push('\'');
        })
    }

    /// The line does not tell all, so that the same line may be another request.
    pub(crate) fn leaves_out(&mut self) {
        self.tells_all = false;
    }

    pub(crate) fn finish(self) -> ExactRequest {
        ExactRequest {
            line: self.line,
            whole: self.whole,
            tells_all: self.tells_all,
        }
    }

    fn put(&mut self, word: impl FnOnce(&mut String)) -> &mut Self {
        if !self.whole {
            return self;
        }
        if !self.line.is_empty() {
            self.line.push(' ');
        }
        word(&mut self.line);
        self.whole = self.line.len() <= LONGEST_SHOWN;
        self
    }
}

fn escape(line: &mut String, c: char) {
    match c {
        '\'' | '\\' => {
            line.push('\\');
            line.push(c);
        }
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        ' '..='~' => line.push(c),
        other => {
            // Writing into a string cannot fail.
            if write!(line, "\\u{{{:x}}}", u32::from(other)).is_err() {
                line.push('?');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(word: &str) -> String {
        let mut words = Words::new();
        words.quote(word);
        words.finish().line().unwrap().to_owned()
    }

    #[test]
    fn a_word_is_one_word_and_printable_ascii() {
        for (word, line) in [
            ("/srv/a.txt", "/srv/a.txt"),
            ("https://a.test/x?y=1&z=%20", "https://a.test/x?y=1&z=%20"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it\'s'"),
            (r"a\b", r"'a\\b'"),
            (r"a\nb", r"'a\\nb'"),
            ("a\nb", r"'a\nb'"),
            ("\u{1b}[2J", r"'\u{1b}[2J'"),
            ("p\u{430}y", r"'p\u{430}y'"),
            ("abc\u{202e}fdp", r"'abc\u{202e}fdp'"),
            ("\"a\"", "'\"a\"'"),
            ("' 'x", r"'\' \'x'"),
        ] {
            assert_eq!(quoted(word), line, "{word:?}");
        }
    }

    #[test]
    fn every_character_reads_as_itself_alone() {
        let mut seen = std::collections::HashSet::new();
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let line = quoted(&c.to_string());
            assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            assert!(seen.insert(line), "{c:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_kept_by_nobody_and_then_shown_to_nobody() {
        let of = |length: usize, letter: &str| {
            let mut words = Words::new();
            words.say("run").quote(&letter.repeat(length));
            words.finish()
        };
        let short = of(LONGEST_KEPT - 4, "a");
        assert!(short.may_be_kept() && short.line().is_some());
        assert!(short.is_among(&[short.line().unwrap().to_owned()]));
        let long = of(LONGEST_KEPT - 3, "a");
        assert!(!long.may_be_kept());
        assert!(!long.is_among(&[long.line().unwrap().to_owned()]));
        assert!(of(LONGEST_SHOWN - 4, "a").line().is_some());
        for endless in [
            of(LONGEST_SHOWN - 3, "a"),
            of(LONGEST_SHOWN, "\u{1b}"),
            of(1 << 22, "\n"),
        ] {
            assert!(endless.line().is_none() && !endless.may_be_kept());
        }
    }
}

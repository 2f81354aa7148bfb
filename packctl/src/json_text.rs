//! JSON laid out again as text. Numbers, key order and duplicate keys stay as
//! they were written, which a parse into a map would lose.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

use crate::escape;

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One line.
    Compact,
    /// Two spaces a level.
    Pretty,
}

/// Lays `text` out; characters that could steer a terminal become `\u` escapes.
///
/// # Errors
/// When the text is not one JSON value.
pub(crate) fn relayout(text: &str, layout: Layout) -> Result<String, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut writer = Writer {
        out: String::with_capacity(text.len() * 2),
        layout,
        depth: 0,
    };
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => writer.string(&mut characters),
            '{' | '[' => {
                writer.out.push(character);
                while characters.peek().is_some_and(char::is_ascii_whitespace) {
                    characters.next();
                }
                // An empty object or array stays on its line.
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    writer.out.push(close);
                } else {
                    writer.depth += 1;
                    writer.new_line();
                }
            }
            '}' | ']' => {
                writer.depth = writer.depth.saturating_sub(1);
                writer.new_line();
                writer.out.push(character);
            }
            ',' => {
                writer.out.push(',');
                writer.new_line();
            }
            ':' => writer
                .out
                .push_str(if layout == Layout::Pretty { ": " } else { ":" }),
            ' ' | '\n' | '\r' | '\t' => {}
            other => writer.out.push(other),
        }
    }
    Ok(writer.out)
}

struct Writer {
    out: String,
    layout: Layout,
    depth: usize,
}

impl Writer {
    fn new_line(&mut self) {
        if self.layout == Layout::Pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("  ");
            }
        }
    }

    fn string(&mut self, characters: &mut impl Iterator<Item = char>) {
        self.out.push('"');
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => {
                    self.out.push('\\');
                    if let Some(escaped) = characters.next() {
                        self.out.push(escaped);
                    }
                }
                steering if escape::is_steering(steering) => {
                    let mut units = [0; 2];
                    for unit in steering.encode_utf16(&mut units) {
                        // Writing into a String cannot fail.
                        if write!(self.out, "\\u{unit:04x}").is_err() {
                            self.out.push('?');
                        }
                    }
                }
                plain => self.out.push(plain),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_keep_numbers_order_and_duplicates() {
        let text = r#" {"b": 123456789012345678901234567890, "a":[ ] , "b":{ "x" : 1.50e3 } , "s": "a\"]{" } "#;
        assert_eq!(
            relayout(text, Layout::Compact).unwrap(),
            r#"{"b":123456789012345678901234567890,"a":[],"b":{"x":1.50e3},"s":"a\"]{"}"#
        );
        assert_eq!(
            relayout(text, Layout::Pretty).unwrap(),
            "{\n  \"b\": 123456789012345678901234567890,\n  \"a\": [],\n  \"b\": {\n    \"x\": 1.50e3\n  },\n  \"s\": \"a\\\"]{\"\n}"
        );
    }

    #[test]
    fn steering_characters_are_escaped_and_mean_the_same() {
        let value = serde_json::json!({"k\u{9b}": "\u{7f}\u{202e}\u{e0041}\u{1b}"});
        let text = relayout(&value.to_string(), Layout::Compact).unwrap();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{} {}", "nope", "[1,]"] {
            assert!(relayout(text, Layout::Pretty).is_err(), "{text:?}");
        }
    }
}

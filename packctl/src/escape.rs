//! Text that packs had a hand in is data: nothing of it may steer a terminal.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a character could move the cursor, start an escape sequence, break
/// a line or reorder what is read.
pub(crate) fn is_steering(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text as one line that is safe on a terminal.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    replace(text, is_steering)
}

/// Like [`line`], but tabs stay: program output is made of them.
pub(crate) fn output_line(text: &str) -> Cow<'_, str> {
    replace(text, |character| {
        character != '\t' && is_steering(character)
    })
}

fn replace(text: &str, unsafe_one: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&unsafe_one) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            plain if !unsafe_one(plain) => out.push(plain),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => {
                // Writing into a String cannot fail.
                if write!(out, "\\u{{{:x}}}", u32::from(other)).is_err() {
                    out.push('?');
                }
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steering_characters_become_visible() {
        for (given, shown) in [
            ("plain", "plain"),
            ("größe 東京", "größe 東京"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\x07\x08\x7f\0", "\\u{7}\\u{8}\\u{7f}\\u{0}"),
            ("abc\u{202e}fdp.exe", "abc\\u{202e}fdp.exe"),
            ("x\u{2028}y\u{feff}", "x\\u{2028}y\\u{feff}"),
            ("back\\slash", "back\\slash"),
        ] {
            assert_eq!(line(given), shown, "{given:?}");
        }
    }

    #[test]
    fn output_keeps_tabs_and_nothing_else() {
        assert_eq!(output_line("a\tb\x1bc\n"), "a\tb\\u{1b}c\\n");
    }

    #[test]
    fn no_control_character_survives() {
        let every: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        assert!(!line(&every).chars().any(char::is_control));
    }
}

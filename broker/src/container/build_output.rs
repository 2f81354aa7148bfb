//! What a build prints, made safe to show and short enough to keep.

use std::collections::VecDeque;

/// Lines kept for the error of a failing build.
const KEPT_LINES: usize = 20;
/// Characters kept of one line: a build can print a line without end.
const KEPT_CHARACTERS: usize = 500;

/// The end of a build's output.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Adds a piece of output and hands each line in it on.
    pub(super) fn add(&mut self, text: &str, progress: &mut (dyn FnMut(&str) + Send)) {
        for line in text.lines() {
            let line = plain(line);
            if line.is_empty() {
                continue;
            }
            progress(&line);
            if self.lines.len() >= KEPT_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// The last lines as one text.
    pub(super) fn text(&self) -> String {
        self.lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Removes terminal sequences and control characters: the text comes from a pack.
pub(super) fn plain(line: &str) -> String {
    let mut characters = line.chars().peekable();
    let mut clean = String::new();
    let mut kept = 0;
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // CSI: parameters, then one final letter.
                Some('[') => {
                    while characters
                        .next()
                        .is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c))
                    {}
                }
                // OSC: ends with BEL or ESC \.
                Some(']') => {
                    while characters
                        .next()
                        .is_some_and(|c| c != '\u{7}' && c != '\u{1b}')
                    {}
                }
                _ => {}
            },
            '\t' => clean.push(' '),
            c if c.is_control() => {}
            c => clean.push(c),
        }
        kept += 1;
        if kept > KEPT_CHARACTERS {
            clean.push('…');
            break;
        }
    }
    clean.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_removed() {
        for (raw, clean) in [
            ("\u{1b}[91mred\u{1b}[0m text", "red text"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("a\tb\r", "a b"),
            ("\u{9b}31mx\u{0}", "31mx"),
            ("\u{1b}", ""),
        ] {
            assert_eq!(plain(raw), clean);
        }
        assert!(plain(&"x".repeat(100_000)).chars().count() < 600);
    }

    #[test]
    fn the_last_twenty_lines_are_kept_and_all_are_shown() {
        let mut tail = Tail::default();
        let mut shown = 0;
        for number in 0..50 {
            tail.add(&format!("line {number}\n\n"), &mut |_| shown += 1);
        }
        assert_eq!(shown, 50);
        assert_eq!(tail.text().lines().count(), 20);
        assert!(tail.text().starts_with("line 30\n") && tail.text().ends_with("line 49"));
    }
}

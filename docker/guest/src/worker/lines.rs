//! Cuts a stream of bytes into lines.

/// A longer line is cut into pieces of this size.
const LONGEST: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes what was read and gives each line that is whole to `take`.
    pub(crate) fn feed(&mut self, data: &[u8], mut take: impl FnMut(String)) {
        for &byte in data {
            if byte != b'\n' {
                self.rest.push(byte);
            }
            if byte == b'\n' || self.rest.len() >= LONGEST {
                take(String::from_utf8_lossy(&self.rest).into_owned());
                self.rest.clear();
            }
        }
    }

    /// What came after the last line's end.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.rest.is_empty()).then(|| String::from_utf8_lossy(&self.rest).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_line_ends_and_at_the_longest() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        lines.feed(b"one\ntw", |line| seen.push(line));
        lines.feed(b"o\n\n\xff\n", |line| seen.push(line));
        lines.feed(&[b'x'; LONGEST + 1], |line| seen.push(line));
        assert_eq!(seen[..4], ["one", "two", "", "\u{fffd}"]);
        assert_eq!(seen[4].len(), LONGEST);
        assert_eq!(lines.finish().as_deref(), Some("x"));
    }
}

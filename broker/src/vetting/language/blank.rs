//! Takes out of lines what is said in them and not done: strings and comments. A sketch that serves all three languages;
//! it need not be exact, for one line that is misread is outvoted by the others.

/// Goes through code line by line, and remembers what it is inside of.
#[derive(Debug, Default)]
pub struct Blank {
    inside: Option<Inside>,
}

#[derive(Debug)]
enum Inside {
    /// Until these characters come.
    Until(&'static str),
    /// A document of the shell's, until a line that is only this.
    Here(String),
}

impl Blank {
    /// The line without what stands in quotes. Nothing where all of it belongs to something that began before.
    pub fn line(&mut self, line: &str) -> Option<String> {
        let mut rest = match self.inside.take() {
            None => line,
            Some(Inside::Here(end)) => {
                if line.trim() != end {
                    self.inside = Some(Inside::Here(end));
                }
                return None;
            }
            Some(Inside::Until(end)) => match line.find(end) {
                Some(at) => line.get(at + end.len()..).unwrap_or_default(),
                None => {
                    self.inside = Some(Inside::Until(end));
                    return None;
                }
            },
        };
        let mut kept = String::with_capacity(rest.len());
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            rest = match c {
                '"' | '\'' | '`' => self.quoted(rest, c, &mut kept),
                '#' if kept.is_empty() || kept.ends_with(' ') => break,
                '/' if after.starts_with('*') => self.until(after, "*/", &mut kept, "/*"),
                '\\' => after.get(first(after)..).unwrap_or_default(),
                _ => {
                    kept.push(c);
                    after
                }
            };
        }
        if self.inside.is_none() {
            self.inside = heredoc(line, &kept);
        }
        Some(kept)
    }

    /// What follows a string, of which the quotes alone are kept.
    fn quoted<'a>(&mut self, rest: &'a str, quote: char, kept: &mut String) -> &'a str {
        for triple in ["\"\"\"", "'''"] {
            if let Some(after) = rest.strip_prefix(triple) {
                return self.until(after, triple, kept, triple);
            }
        }
        let after = rest.get(1..).unwrap_or_default();
        let mut escaped = false;
        for (at, c) in after.char_indices() {
            if c == quote && !escaped {
                kept.extend([quote, quote]);
                return after.get(at + 1..).unwrap_or_default();
            }
            escaped = c == '\\' && !escaped;
        }
        // A quote that nothing closes: an apostrophe, or the start of a template of JavaScript's.
        if quote == '`' {
            self.inside = Some(Inside::Until("`"));
            kept.push(quote);
            return "";
        }
        kept.push(quote);
        after
    }

    fn until<'a>(
        &mut self,
        after: &'a str,
        end: &'static str,
        kept: &mut String,
        shown: &str,
    ) -> &'a str {
        kept.push_str(shown);
        match after.find(end) {
            Some(at) => after.get(at + end.len()..).unwrap_or_default(),
            None => {
                self.inside = Some(Inside::Until(end));
                ""
            }
        }
    }
}

/// How long the first character is.
fn first(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Whether the line opens a document of the shell's: `<<EOF`, `<<-'EOF'`.
fn heredoc(line: &str, kept: &str) -> Option<Inside> {
    let (before, _) = kept.split_once("<<")?;
    if before.ends_with('<') || kept.contains("<<<") {
        return None;
    }
    let (_, after) = line.split_once("<<")?;
    let word = after.strip_prefix('-').unwrap_or(after).trim_start();
    let word = word.trim_start_matches(['\'', '"', '\\']);
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let word = word.get(..end.unwrap_or(word.len())).unwrap_or_default();
    // `flags << shift` is arithmetic, and `cat << EOF` is not.
    let spaced = after.starts_with(' ') && before.ends_with(' ');
    let named = word.starts_with(|c: char| match spaced {
        true => c.is_ascii_uppercase(),
        false => c.is_ascii_alphabetic() || c == '_',
    });
    named.then(|| Inside::Here(word.to_owned()))
}

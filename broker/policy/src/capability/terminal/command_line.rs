//! A command given as one string.

/// Splits as shlex does, after refusing everything a shell would not have passed on as text.
/// Running `ls; rm x` with `;` as an argument would be worse than not running it.
pub(super) fn split(command: &str) -> Result<Vec<String>, String> {
    if command.contains('\0') {
        return Err("the command contains a NUL byte".to_owned());
    }
    if let Some(operator) = find_operator(command) {
        return Err(format!(
            "the command contains {operator}, which only a shell understands; quote it, \
             or ask for several commands one after the other"
        ));
    }
    shlex::split(command)
        .ok_or_else(|| "a quote or a backslash of the command is left open".to_owned())
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

/// The first operator that stands outside quotes, as text for a person. Substitutions count
/// inside double quotes as well, because a shell performs them there.
fn find_operator(command: &str) -> Option<&'static str> {
    let mut quote = Quote::None;
    let mut word_start = true;
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        let starts_word = std::mem::replace(&mut word_start, false);
        match (quote, c) {
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::Single, _) => {}
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (_, '\\') => {
                chars.next();
            }
            (_, '`') => return Some("a backtick"),
            (_, '$') if chars.peek() == Some(&'(') => return Some("`$(`"),
            (Quote::Double, _) => {}
            (Quote::None, '|') => return Some("`|`"),
            (Quote::None, '>') => return Some("`>`"),
            (Quote::None, '<') => return Some("`<`"),
            (Quote::None, '&') => return Some("`&`"),
            (Quote::None, ';') => return Some("`;`"),
            (Quote::None, '(' | ')') => return Some("a parenthesis"),
            (Quote::None, '\n' | '\r') => return Some("a line break"),
            // The splitter would drop the rest of the line as a comment.
            (Quote::None, '#') if starts_word => return Some("`#` at the beginning of a word"),
            (Quote::None, ' ' | '\t') => word_start = true,
            (Quote::None, _) => {}
        }
    }
    None
}

//! What tools are called with: checked here, so that a mistake costs no call.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::failure::Failure;

/// Where arguments come from, as a message names it.
fn read(file: &str) -> Result<(String, String), Failure> {
    if file == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(Failure::files("read", "standard input"))?;
        return Ok((text, "standard input".to_owned()));
    }
    let path = Path::new(file);
    let text = fs::read_to_string(path).map_err(Failure::files("read", path))?;
    Ok((text, format!("`{file}`")))
}

/// The text of one call's arguments, known to be a JSON object.
pub(super) fn one(given: &str) -> Result<String, Failure> {
    let (text, name) = match given.strip_prefix('@') {
        Some(file) => read(file)?,
        None if given == "-" => read(given)?,
        None => (given.to_owned(), format!("`{given}`")),
    };
    object(&text, &name)?;
    Ok(text)
}

/// One line of a file of arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, empty lines included, as an editor does.
    pub(super) number: usize,
    pub(super) text: String,
}

/// The lines of a file, each known to be a JSON object.
pub(super) fn lines(file: &str) -> Result<Vec<Line>, Failure> {
    let (text, name) = read(file)?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        if line.trim().is_empty() {
            continue;
        }
        object(line, &format!("line {number} of {name}"))?;
        let text = line.to_owned();
        lines.push(Line { number, text });
    }
    Ok(lines)
}

fn object(text: &str, name: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Usage {
        message: format!("the arguments in {name} are no JSON object: {why}"),
        hint: r#"write an object, as in --args '{"key": "value"}'"#.to_owned(),
    };
    if !text.trim_start().starts_with('{') {
        return Err(wrong("they do not begin with `{`".to_owned()));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn arguments_must_be_an_object() {
        assert_eq!(one(r#" {"a": 1} "#).unwrap(), r#" {"a": 1} "#);
        for text in ["", "[]", "1", "{", "{} {}", "null", "'{}'"] {
            let failure = one(text).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{text}");
        }
        assert_eq!(one("@/nonexistent").unwrap_err().exit(), Exit::Failed);
    }

    #[test]
    fn a_file_of_arguments_is_judged_line_by_line() {
        let written = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        };
        let file = written("{\"a\": 1}\r\n\n  \n{}\n");
        let read = lines(file.path().to_str().unwrap()).unwrap();
        let line = |number, text: &str| Line {
            number,
            text: text.to_owned(),
        };
        assert_eq!(read, [line(1, "{\"a\": 1}"), line(4, "{}")]);
        for (text, at) in [
            ("{}\n[]\n", "line 2 of"),
            ("{}\n\n{\"a\":\n1}", "line 3 of"),
            ("{} {}", "line 1 of"),
        ] {
            let file = written(text);
            let failure = lines(file.path().to_str().unwrap()).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{text}");
            assert!(failure.to_string().contains(at), "{failure}");
        }
    }
}

//! `requirements.txt`, read strictly: pip would take options from it that reach files of the
//! host, other registries and source code, and it would fill in environment variables.

/// A pack chooses how large its file is, and each of its lines is held in memory more than once. A
/// thousand packages with all their hashes take less.
const MAX_BYTES: usize = 1 << 20;

/// A list of requirements in one spelling, fit to be handed to pip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    text: String,
}

/// A line that is not plainly a name with versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {reason}; remedy: write NAME, NAME==VERSION or NAME>=A,<B, with markers and --hash=sha256:… where wanted"
)]
pub struct RequirementError {
    line: usize,
    reason: String,
}

impl Requirements {
    /// Reads the file.
    ///
    /// # Errors
    /// When a line is more or less than a requirement.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequirementError> {
        let whole = |reason: &str| RequirementError {
            line: 1,
            reason: reason.to_owned(),
        };
        if bytes.len() > MAX_BYTES {
            return Err(whole("the file is larger than 1 MiB"));
        }
        let text = str::from_utf8(bytes).map_err(|_| whole("the file is not UTF-8"))?;
        let mut lines = Vec::new();
        for (number, logical) in logical_lines(text) {
            let refuse = |reason: String| RequirementError {
                line: number,
                reason,
            };
            match requirement(&logical).map_err(refuse)? {
                Some(line) => lines.push(line),
                None => continue,
            }
        }
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        Ok(Self { text })
    }

    /// One requirement a line; empty where nothing is required.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The packages that are named, without extras and versions.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| {
            let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
            line.get(..end.unwrap_or(line.len())).unwrap_or(line)
        })
    }
}

/// Joins continued lines and drops comments; each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (index, line) in text.lines().enumerate() {
        let (line, goes_on) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match joined.last_mut() {
            Some((_, last)) if continued => last.push_str(line),
            _ => joined.push((index.saturating_add(1), line.to_owned())),
        }
        continued = goes_on;
    }
    for (_, line) in &mut joined {
        let comment = if line.starts_with('#') {
            Some(0)
        } else {
            line.find(" #").or_else(|| line.find("\t#"))
        };
        if let Some(at) = comment {
            line.truncate(at);
        }
    }
    joined
}

fn requirement(line: &str) -> Result<Option<String>, String> {
    let line = line.trim();
    if line.is_empty() || matches!(line, "--only-binary :all:" | "--only-binary=:all:") {
        return Ok(None);
    }
    if line == "--require-hashes" {
        return Ok(Some(line.to_owned()));
    }
    if line.starts_with('-') {
        return Err(format!("the option `{line}` is not allowed"));
    }
    let mut words = line.split(" --hash=");
    let specification = words.next().unwrap_or_default().trim();
    let mut clean = specification_line(specification)?;
    for hash in words {
        let hash = hash.trim();
        let digits = hash.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("`--hash={hash}` is not a SHA-256"));
        }
        clean.push_str(" --hash=");
        clean.push_str(hash);
    }
    Ok(Some(clean))
}

fn specification_line(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains('@') || text.contains('$') {
        return Err(format!(
            "`{text}` names a place or a variable, not a package"
        ));
    }
    let (package, marker) = match text.split_once(';') {
        Some((package, marker)) => (package.trim(), Some(marker.trim())),
        None => (text, None),
    };
    let name_end = package
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        .unwrap_or(package.len());
    let (name, rest) = package.split_at(name_end);
    if !is_name(name) {
        return Err(format!("`{text}` does not begin with a package's name"));
    }
    let rest = rest.trim();
    let (extras, versions) = match rest.strip_prefix('[') {
        Some(inner) => inner
            .split_once(']')
            .ok_or_else(|| format!("`{text}` has a `[` without its `]`"))?,
        None => ("", rest),
    };
    let extras_fit = extras.is_empty() || extras.split(',').all(|extra| is_name(extra.trim()));
    let versions = versions.trim();
    let versions_fit = versions.is_empty()
        || versions
            .split(',')
            .all(|version| is_version(version.trim()));
    let marker_fits = marker.is_none_or(|marker| {
        marker
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " _.-+*'\"<>=!~(),".contains(c))
    });
    if !(extras_fit && versions_fit && marker_fits) {
        return Err(format!("`{text}` is not a requirement"));
    }
    let mut clean = name.to_owned();
    if !extras.is_empty() {
        clean.push_str(&format!("[{extras}]"));
    }
    clean.push_str(versions);
    if let Some(marker) = marker {
        clean.push_str(" ; ");
        clean.push_str(marker);
    }
    Ok(clean)
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.chars().all(fits)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_version(text: &str) -> bool {
    let operators = ["===", "==", ">=", "<=", "!=", "~=", "<", ">"];
    operators
        .iter()
        .find_map(|operator| text.strip_prefix(operator))
        .is_some_and(|version| {
            let version = version.trim();
            !version.is_empty()
                && version
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".*+!_-".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_files_are_read_into_one_spelling() {
        let hash = "a".repeat(64);
        let file = format!(
            "# tools\nrequests >= 2.31, <3  # http\nuvicorn[standard]==0.30.1 ; python_version >= \"3.8\"\n\n\
             idna==3.7 \\\n    --hash=sha256:{hash}\n--only-binary=:all:\nsix\n"
        );
        assert_eq!(
            Requirements::parse(file.as_bytes()).unwrap().text(),
            format!(
                "requests>= 2.31, <3\nuvicorn[standard]==0.30.1 ; python_version >= \"3.8\"\n\
                 idna==3.7 --hash=sha256:{hash}\nsix\n"
            )
        );
        assert_eq!(Requirements::parse(b"# nothing\n").unwrap().text(), "");
    }

    #[test]
    fn a_file_of_millions_of_lines_is_refused_unread() {
        assert!(Requirements::parse(&b"a\n".repeat(MAX_BYTES / 2)).is_ok());
        let error = Requirements::parse(&vec![b'\n'; MAX_BYTES + 1]).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }

    #[test]
    fn what_reaches_beyond_names_is_refused_with_its_line() {
        for line in [
            "-r /etc/shadow",
            "-e git+https://example.com/x",
            "--index-url https://example.com",
            "--find-links /",
            "--no-binary :all:",
            "--trusted-host example.com",
            "x @ file:///etc/passwd",
            "https://example.com/x.whl",
            "git+ssh://example.com/x",
            "./local",
            "/abs/x.whl",
            "x==${HOME}",
            "x --config-settings=a=b",
            "x --global-option=y",
            "x==1.0 --hash=md5:abc",
            "x==",
            "x[a",
            "=1.0",
            "x 1.0",
            "\u{1b}[31mx",
            "-",
        ] {
            let error = Requirements::parse(format!("six\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.line, 2, "{line}");
            assert!(error.to_string().contains("remedy"));
        }
        // A continuation must not hide an option from this reader.
        assert!(Requirements::parse(b"six \\\n--index-url https://example.com\n").is_err());
        assert!(Requirements::parse(b"\xff\n").is_err());
    }
}

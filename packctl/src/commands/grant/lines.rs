//! On which line of a grant file each entry stands.

/// The line, counted from 1, of an entry of one of a permission's lists; of the permission itself
/// where no list is named. Nothing where the text is no grant or has no such entry.
pub(super) fn line_of(text: &str, permission: &str, entry: Option<(&str, &str)>) -> Option<usize> {
    let mut walk = Walk {
        rest: text.chars().peekable(),
        line: 1,
        path: Vec::new(),
        found: None,
        wanted: (permission, entry),
    };
    walk.value(0);
    walk.found
}

/// Deeper than any grant is.
const DEEPEST: usize = 64;

struct Walk<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    path: Vec<String>,
    found: Option<usize>,
    wanted: (&'a str, Option<(&'a str, &'a str)>),
}

impl Walk<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn skip_space(&mut self) {
        while self
            .rest
            .peek()
            .is_some_and(|next| next.is_whitespace() || matches!(next, ',' | ':'))
        {
            self.next();
        }
    }

    fn is_list(&self, list: &str) -> bool {
        let (permission, _) = self.wanted;
        matches!(&self.path[..], [top, name, of] if top == "permissions" && name == permission && of == list)
    }

    fn value(&mut self, depth: usize) {
        self.skip_space();
        if depth > DEEPEST {
            return;
        }
        let line = self.line;
        match self.rest.peek() {
            Some('{') => self.object(depth),
            Some('[') => {
                self.next();
                loop {
                    self.skip_space();
                    match self.rest.peek() {
                        Some(']') => {
                            self.next();
                            return;
                        }
                        None => return,
                        Some(_) => self.value(depth + 1),
                    }
                }
            }
            Some('"') => {
                let text = self.string();
                if let (_, Some((list, value))) = self.wanted
                    && text.as_deref() == Some(value)
                    && self.is_list(list)
                {
                    self.found.get_or_insert(line);
                }
            }
            Some(_) => {
                while self
                    .rest
                    .peek()
                    .is_some_and(|next| !next.is_whitespace() && !matches!(next, ',' | ']' | '}'))
                {
                    self.next();
                }
            }
            None => {}
        }
    }

    fn object(&mut self, depth: usize) {
        self.next();
        loop {
            self.skip_space();
            let line = self.line;
            match self.rest.peek() {
                Some('"') => {
                    let key = self.string().unwrap_or_default();
                    self.path.push(key);
                    let (permission, entry) = self.wanted;
                    let itself = matches!(&self.path[..], [top, name] if top == "permissions" && name == permission);
                    if itself && entry.is_none() {
                        self.found.get_or_insert(line);
                    }
                    self.value(depth + 1);
                    self.path.pop();
                }
                Some('}') => {
                    self.next();
                    return;
                }
                _ => return,
            }
        }
    }

    /// A string as it is meant, its escapes undone.
    fn string(&mut self) -> Option<String> {
        let mut raw = String::from(self.next()?);
        loop {
            let character = self.next()?;
            raw.push(character);
            match character {
                '\\' => raw.push(self.next()?),
                '"' => return serde_json::from_str(&raw).ok(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_where_they_stand() {
        let text = r#"{
  "component_id": "a:tool:b", "permissions": {
    "file_read": {"enabled": true,
      "directories": [
        "/srv",
        "/a\"b"
      ], "files": [], "max_bytes": 5 },
    "network": {"enabled": true, "inject": {"/srv": {"a": "/srv"}}, "allowed_domains": ["/srv"]
    }
  }
}"#;
        let at = |permission, list, value| line_of(text, permission, Some((list, value)));
        assert_eq!(at("file_read", "directories", "/srv"), Some(5));
        assert_eq!(at("file_read", "directories", "/a\"b"), Some(6));
        assert_eq!(at("network", "allowed_domains", "/srv"), Some(8));
        assert_eq!(at("file_read", "files", "/srv"), None);
        assert_eq!(line_of(text, "file_read", None), Some(3));
        assert_eq!(line_of(text, "network", None), Some(8));
        assert_eq!(line_of(text, "env_read", None), None);
        for broken in ["", "{", "[", "{\"a", "{\"a\": [\"b\", ", "}", "nonsense"] {
            assert_eq!(line_of(broken, "a", None), None, "{broken}");
        }
    }
}

//! What the checker in a container is asked.

use serde::Serialize;

use super::language::Language;
use crate::config::{Exemptions, ValidationSettings};

/// How the checker of a language is started in an image: for each [`Check`] that it reads on its standard input it prints a
/// line that [`super::Findings::parse`] reads, until the input ends. It may be started long before it is asked.
#[must_use]
pub fn checker(language: Language) -> &'static [&'static str] {
    match language {
        // Isolated from the environment and from packages of others, and a third faster.
        Language::Python | Language::Bash => &[
            "/usr/bin/python3",
            "-I",
            "-S",
            "/usr/lib/rumi/vetting/check.py",
        ],
        Language::Javascript => &["/usr/bin/node", "/usr/lib/rumi/vetting/check.js"],
    }
}

/// One question to a checker.
#[derive(Debug, Serialize)]
pub struct Check<'a> {
    language: Language,
    code: &'a str,
    settings: Asked<'a>,
}

#[derive(Debug, Serialize)]
struct Asked<'a> {
    rules: Vec<&'static str>,
    forbidden: &'a [String],
    permitted: &'a [String],
    /// None for any.
    imports: Option<Vec<&'a str>>,
    /// Modules that somebody named, and so means to use whatever the rules say of them.
    named: Vec<&'a str>,
}

impl<'a> Check<'a> {
    /// Asks what the settings, and the exemptions of this one run, object to in the code.
    #[must_use]
    pub fn new(
        language: Language,
        code: &'a str,
        settings: &'a ValidationSettings,
        exempt: &'a Exemptions,
    ) -> Self {
        let rules = settings.rules.iter().copied();
        let rules = rules.filter(|rule| !(exempt.files && rule.is_about_files()));
        let mut named = settings.imports(language).unwrap_or_default();
        named.extend(exempt.imports.iter().map(String::as_str));
        let any = settings.imports(language).is_none();
        let imports = (!any).then(|| named.clone());
        Self {
            language,
            code,
            settings: Asked {
                rules: rules.map(super::Rule::as_str).collect(),
                forbidden: settings.forbidden(language),
                permitted: settings.permitted(language),
                imports,
                named,
            },
        }
    }

    /// One line of JSON, and its end.
    ///
    /// # Errors
    /// Never: text and lists have a spelling in JSON.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(language: Language, settings: &str, exempt: &Exemptions) -> serde_json::Value {
        let settings: ValidationSettings = serde_json::from_str(settings).unwrap();
        let line = Check::new(language, "x\n\"", &settings, exempt)
            .line()
            .unwrap();
        assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_check_says_what_the_settings_and_the_run_say() {
        let settings = r#"{"rules": ["processes", "file_writes", "file_removals"],
            "python": {"imports": ["math"], "forbidden": ["os.kill"], "permitted": ["os.fork"]}}"#;
        let none = Exemptions::default();
        let expected = serde_json::json!({
            "language": "python", "code": "x\n\"",
            "settings": {"rules": ["processes", "file_writes", "file_removals"], "forbidden": ["os.kill"],
                "permitted": ["os.fork"], "imports": ["math"], "named": ["math"]},
        });
        assert_eq!(asked(Language::Python, settings, &none), expected);
        let exempt = Exemptions {
            imports: vec!["pandas".to_owned()],
            files: true,
        };
        let asked_of = asked(Language::Python, settings, &exempt);
        assert_eq!(
            asked_of["settings"]["rules"],
            serde_json::json!(["processes"])
        );
        assert_eq!(
            asked_of["settings"]["imports"],
            serde_json::json!(["math", "pandas"])
        );
        // Where any import is allowed, one that is named is still known to be meant.
        let settings = r#"{"javascript": {"imports": null}}"#;
        let asked_of = asked(Language::Javascript, settings, &exempt);
        assert_eq!(asked_of["settings"]["imports"], serde_json::Value::Null);
        assert_eq!(asked_of["settings"]["named"], serde_json::json!(["pandas"]));
    }
}

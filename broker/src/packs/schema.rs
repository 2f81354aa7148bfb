//! Checks arguments against a component's schema before anything runs.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::expansion;

/// Problems of one set of arguments that are told.
const TOLD: usize = 5;
/// Bytes that a compiled pattern may take; a pack wrote it.
const PATTERN_BYTES: usize = 1024 * 1024;

/// A schema, compiled once.
#[derive(Debug)]
pub struct Schema(Validator);

/// Why arguments are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentsError {
    /// They are no JSON.
    #[error("the arguments are not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// They are JSON of another kind.
    #[error("the arguments must be a JSON object, such as {{}}")]
    NotAnObject,
    /// The schema refuses them.
    #[error("the arguments do not fit the schema: {0}")]
    Refused(String),
}

impl Schema {
    /// Compiles a schema that a pack wrote: patterns in linear time, nothing fetched, and no more of
    /// it than is looked through at once.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        expansion::check(schema)?;
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES))
            .build(schema)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Names the places that do not fit, with what stands there.
    ///
    /// # Errors
    /// When the arguments do not fit.
    pub fn check(&self, arguments: &Value) -> Result<(), ArgumentsError> {
        self.judge(arguments, |error| error.to_string())
    }

    /// The same, with no value of the arguments in the message.
    ///
    /// # Errors
    /// When the arguments do not fit.
    pub fn check_masked(&self, arguments: &Value) -> Result<(), ArgumentsError> {
        self.judge(arguments, |error| error.masked().to_string())
    }

    fn judge(
        &self,
        arguments: &Value,
        say: impl Fn(&ValidationError<'_>) -> String,
    ) -> Result<(), ArgumentsError> {
        let problems: Vec<String> = self
            .0
            .iter_errors(arguments)
            .take(TOLD)
            .map(|error| {
                let place = error.instance_path().to_string();
                if place.is_empty() {
                    say(&error)
                } else {
                    format!("`{place}`: {}", say(&error))
                }
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ArgumentsError::Refused(problems.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Schema;

    #[test]
    fn a_schema_names_the_field_it_refuses() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "properties": {"source": {"type": "string"}},
            "required": ["source"],
            "additionalProperties": false,
        }))
        .unwrap();
        schema.check(&json!({"source": "/a"})).unwrap();
        let refused = schema.check(&json!({"source": 1})).unwrap_err().to_string();
        assert!(refused.contains("/source"), "{refused}");
        assert!(schema.check(&json!({})).is_err());
        assert!(schema.check(&json!({"source": "/a", "x": 1})).is_err());
    }

    #[test]
    fn a_pattern_cannot_take_exponential_time() {
        let schema = Schema::compile(&json!({"pattern": "^(a+)+$"})).unwrap();
        let started = std::time::Instant::now();
        assert!(
            schema
                .check(&json!(format!("{}!", "a".repeat(50_000))))
                .is_err()
        );
        assert!(started.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_schema_cannot_fetch_or_read() {
        for reference in ["http://127.0.0.1:1/x", "file:///etc/passwd"] {
            assert!(
                Schema::compile(&json!({"$ref": reference})).is_err(),
                "{reference}"
            );
        }
    }

    #[test]
    fn a_schema_cannot_refer_to_itself_a_million_times() {
        let mut definitions = serde_json::Map::new();
        for link in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", link + 1)});
            definitions.insert(format!("d{link}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("d40".to_owned(), json!({"type": "object"}));
        let schema = json!({"$defs": definitions, "$ref": "#/$defs/d0"});
        let refused = Schema::compile(&schema).map(|schema| schema.check(&json!({})));
        assert!(refused.unwrap_err().contains("places"));
    }
}

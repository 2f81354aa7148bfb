//! The arguments of a call as variables, for programs that would rather not parse JSON.

use serde_json::{Map, Value};

/// Longest value of a variable, and bytes of all of them; the kernel takes not much more.
const LONGEST: usize = 64 * 1024;
const MOST: usize = 512 * 1024;

/// `ARG_<NAME>`, and why some arguments are none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Variables {
    pub(super) set: Vec<(String, String)>,
    pub(super) left_out: Vec<String>,
}

impl Variables {
    /// Texts as they are, everything else as JSON. Letters become capitals, what a variable's name cannot hold `_`.
    pub(super) fn of(arguments: &Map<String, Value>) -> Self {
        let mut variables = Self::default();
        let mut bytes = 0;
        for (key, value) in arguments {
            let name = name(key);
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let size = name.len() + value.len();
            let why = if value.contains('\0') {
                Some("holds a NUL")
            } else if value.len() > LONGEST || bytes + size > MOST {
                Some("is too long")
            } else if variables.set.iter().any(|(other, _)| *other == name) {
                Some("has the same name in capitals as another")
            } else {
                None
            };
            match why {
                Some(why) => variables.left_out.push(format!(
                    "rumi: the argument `{}` {why}, so there is no `{name}`; read it from standard input",
                    key.escape_debug()
                )),
                None => {
                    bytes += size;
                    variables.set.push((name, value));
                }
            }
        }
        variables
    }
}

fn name(key: &str) -> String {
    let mut name = "ARG_".to_owned();
    name.extend(key.chars().take(200).map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    }));
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(arguments: &Value) -> Variables {
        Variables::of(arguments.as_object().unwrap())
    }

    #[test]
    fn texts_are_bare_and_the_rest_is_json() {
        let variables =
            of(&json!({"path": "/a b", "max-size": 7, "list": [1, "x"], "none": null, "é": ""}));
        let mut set = variables.set;
        set.sort();
        let expected = [
            ("ARG_LIST", r#"[1,"x"]"#),
            ("ARG_MAX_SIZE", "7"),
            ("ARG_NONE", "null"),
            ("ARG_PATH", "/a b"),
            ("ARG__", ""),
        ];
        assert_eq!(set, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(variables.left_out.is_empty());
    }

    #[test]
    fn what_no_variable_can_hold_is_said() {
        for (arguments, why) in [
            (json!({"a": "x\0y"}), "holds a NUL"),
            (json!({"a": "x".repeat(LONGEST + 1)}), "is too long"),
            (json!({"a-b": 1, "a_b": 2}), "the same name"),
        ] {
            let variables = of(&arguments);
            assert_eq!(variables.left_out.len(), 1);
            assert!(variables.left_out[0].contains(why), "{variables:?}");
        }
        let many: Map<String, Value> = (0..20)
            .map(|n| (format!("n{n}"), json!("x".repeat(LONGEST))))
            .collect();
        let variables = Variables::of(&many);
        assert!(variables.set.len() < 9 && variables.left_out.len() > 11);
    }
}

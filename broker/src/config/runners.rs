//! What runs tools: runners that the admin adds, and the broker's environment for Python.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
};

use rumi_policy::{AbsPath, manifest::RunnerName};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{MemoryMb, Millis};

/// Where the tool's file stands among the words of a command.
const ENTRY: &str = "{entry}";

/// Runners beside those of the broker's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runners(BTreeMap<RunnerName, RunnerSettings>);

/// One runner: a program that is started for each call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerSettings {
    command: RunnerCommand,
}

/// A command line, with the tool's file in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct RunnerCommand(Vec<String>);

impl TryFrom<Vec<String>> for RunnerCommand {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let Some(program) = words.first() else {
            return Err("`command` needs at least the program".to_owned());
        };
        // No path is searched: what a tool left somewhere must not become the program.
        if program != ENTRY && program.parse::<AbsPath>().is_err() {
            return Err(format!(
                "`{program}` must be the absolute path of a program inside the container, or `{ENTRY}`"
            ));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("a word of `command` holds a NUL".to_owned());
        }
        Ok(Self(words))
    }
}

impl<'de> Deserialize<'de> for Runners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A map alone would keep the last of two.
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Runners;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("runners by their names")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Runners, A::Error> {
                let mut runners = BTreeMap::new();
                let mut seen = HashSet::new();
                while let Some((name, settings)) = map.next_entry::<RunnerName, _>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!(
                            "the runner `{name}` stands here twice"
                        )));
                    }
                    runners.insert(name, settings);
                }
                Ok(Runners(runners))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Runners {
    /// The command line of a tool, where there is such a runner.
    #[must_use]
    pub fn command(&self, runner: &RunnerName, entry: &str) -> Option<Vec<String>> {
        let RunnerCommand(words) = &self.0.get(runner)?.command;
        let mut command: Vec<String> = words
            .iter()
            .map(|word| word.replace(ENTRY, entry))
            .collect();
        if !words.iter().any(|word| word.contains(ENTRY)) {
            command.push(entry.to_owned());
        }
        Some(command)
    }

    /// The names, for an error that lists what there is.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(RunnerName::as_str)
    }
}

/// What the broker's environment says of tools in Python, where a manifest is silent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PythonDefaults {
    /// `PYTHON_PATH`: the interpreter, for packs without requirements of their own.
    pub path: Option<AbsPath>,
    /// `PYTHON_TIMEOUT_MS`.
    pub timeout: Option<Millis>,
    /// `PYTHON_MAX_MEMORY_MB`.
    pub memory: Option<MemoryMb>,
}

/// A variable of the broker's environment that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` in the broker's environment is `{}`: {why}; remedy: correct it, or unset it", .value.escape_debug())]
pub struct EnvironmentError {
    name: &'static str,
    value: String,
    why: String,
}

impl PythonDefaults {
    /// Reads the variables. One that is empty is taken for none.
    ///
    /// # Errors
    /// When one is no path or no number within its bounds.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let text = |name| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.map(|value| value.to_string_lossy().into_owned())
        };
        Ok(Self {
            path: parsed("PYTHON_PATH", text("PYTHON_PATH"), |text| {
                text.parse().map_err(|error: rumi_policy::SpellingError| {
                    format!("{}; it is a path inside the containers", error.why())
                })
            })?,
            timeout: parsed("PYTHON_TIMEOUT_MS", text("PYTHON_TIMEOUT_MS"), number)?,
            memory: parsed("PYTHON_MAX_MEMORY_MB", text("PYTHON_MAX_MEMORY_MB"), number)?,
        })
    }
}

fn parsed<T>(
    name: &'static str,
    value: Option<String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, EnvironmentError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match parse(&value) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(why) => Err(EnvironmentError { name, value, why }),
    }
}

/// By the same bounds as in docker/config.json.
fn number<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let number: u64 = text
        .parse()
        .map_err(|_| "it is no whole number".to_owned())?;
    let read: Result<T, serde::de::value::Error> =
        T::deserialize(serde::de::value::U64Deserializer::new(number));
    read.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runners(text: &str) -> Result<Runners, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_holds_the_file_where_it_says_so() {
        let runners = runners(
            r#"{"perl": {"command": ["/usr/bin/perl", "-T"]},
                "own": {"command": ["{entry}", "--file={entry}"]}}"#,
        )
        .unwrap();
        let command = |name: &str| runners.command(&name.parse().unwrap(), "/opt/pack/t");
        assert_eq!(
            command("perl").unwrap(),
            ["/usr/bin/perl", "-T", "/opt/pack/t"]
        );
        assert_eq!(
            command("own").unwrap(),
            ["/opt/pack/t", "--file=/opt/pack/t"]
        );
        assert_eq!(command("ruby"), None);
        assert_eq!(runners.names().collect::<Vec<_>>(), ["own", "perl"]);
    }

    #[test]
    fn what_is_no_runner_is_refused() {
        for (text, named) in [
            (r#"{"bash": {"command": ["/bin/sh"]}}"#, "`bash`"),
            (r#"{"A": {"command": ["/bin/sh"]}}"#, "`A`"),
            (r#"{"a": {"command": []}}"#, "program"),
            (r#"{"a": {"command": ["sh"]}}"#, "`sh`"),
            (r#"{"a": {"command": ["/bin/../sh"]}}"#, "`/bin/../sh`"),
            (r#"{"a": {"command": ["/bin/sh"], "shell": true}}"#, "shell"),
            (
                r#"{"a": {"command": ["/a"]}, "a": {"command": ["/b"]}}"#,
                "twice",
            ),
        ] {
            let refused = runners(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn the_brokers_environment_is_read_by_the_same_bounds() {
        let read = |name: &'static str, value: &'static str| {
            PythonDefaults::read(|asked| (asked == name).then(|| value.into()))
        };
        let all = read("PYTHON_PATH", "/opt/python3.12/bin/python3").unwrap();
        assert_eq!(all.path.unwrap().as_str(), "/opt/python3.12/bin/python3");
        assert_eq!(read("PYTHON_PATH", "").unwrap(), PythonDefaults::default());
        let timeout = read("PYTHON_TIMEOUT_MS", "1500").unwrap().timeout;
        assert_eq!(timeout.unwrap().get(), 1500);
        let memory = read("PYTHON_MAX_MEMORY_MB", "64").unwrap().memory;
        assert_eq!(memory.unwrap().get(), 64);
        for (name, value) in [
            ("PYTHON_PATH", "python3"),
            ("PYTHON_TIMEOUT_MS", "0"),
            ("PYTHON_TIMEOUT_MS", "1s"),
            ("PYTHON_MAX_MEMORY_MB", "4"),
            ("PYTHON_MAX_MEMORY_MB", "-1"),
        ] {
            let refused = read(name, value).unwrap_err().to_string();
            assert!(
                refused.contains(name) && refused.contains(value),
                "{refused}"
            );
            assert!(refused.contains("remedy"), "{refused}");
        }
    }
}

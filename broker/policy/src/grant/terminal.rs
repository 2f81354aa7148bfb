//! The permission `terminal` in a grant.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;

use super::{Wish, enabled, required_list};
use crate::conditions::Conditions;
use crate::ids::EnvKey;
use crate::json::{Fields, JsonError};
use crate::path::AbsPath;
use crate::spelling::{SpellingError, excerpt, text_type};
use crate::template::Template;

#[derive(Clone, Debug, Serialize)]
pub struct TerminalGrant {
    pub enabled: bool,
    pub directories: Vec<AbsPath>,
    pub allowed_commands: Vec<AllowedCommand>,
    /// All of the command's environment; nothing of it is inherited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<EnvKey, Template>>,
    #[serde(skip_serializing_if = "TerminalMode::is_sandbox")]
    pub mode: TerminalMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    #[serde(flatten)]
    pub conditions: Conditions,
}

/// Where commands run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalMode {
    /// In a container of its own that sees one directory.
    #[default]
    Sandbox,
    /// On the host itself, as the owner of the directory: no sandbox at all.
    Host,
}

impl TerminalMode {
    fn is_sandbox(&self) -> bool {
        *self == Self::Sandbox
    }
}

impl FromStr for TerminalMode {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "host" => Ok(Self::Host),
            _ => Err(SpellingError::new(
                "a mode",
                text,
                "the modes are `sandbox` and `host`",
            )),
        }
    }
}

pub(super) fn read(mut fields: Fields, wish: Wish) -> Result<TerminalGrant, JsonError> {
    let enabled = enabled(&mut fields, wish)?;
    let directories = required_list(&mut fields, "directories")?;
    let allowed_commands = required_list(&mut fields, "allowed_commands")?;
    // A pack wishes for neither: secrets and the host are the admin's to give.
    let (mut env, mut mode) = (None, TerminalMode::default());
    if wish == Wish::Granted {
        env = environment(&mut fields)?;
        if let Some(node) = fields.take("mode") {
            let text = fields.text("mode", node)?;
            mode = text
                .parse()
                .map_err(|error: SpellingError| fields.error("mode", error.to_string()))?;
        }
    }
    let grant = TerminalGrant {
        enabled,
        directories,
        allowed_commands,
        env,
        mode,
        timeout_ms: fields.number("timeout_ms", u64::MAX)?,
        max_output_bytes: fields.number("max_output_bytes", u64::MAX)?,
        memory_mb: fields.number("memory_mb", 1 << 20)?,
        conditions: Conditions::read(&mut fields, wish)?,
    };
    fields.finish()?;
    Ok(grant)
}

/// An object of names and texts.
fn environment(fields: &mut Fields) -> Result<Option<BTreeMap<EnvKey, Template>>, JsonError> {
    /// More would not fit what the kernel takes of an environment with long values.
    const MOST: usize = 256;
    let Some(node) = fields.take("env") else {
        return Ok(None);
    };
    let mut inner = Fields::open(fields.name("env"), node)?;
    let mut env = BTreeMap::new();
    for (name, node) in inner.drain() {
        let refuse = |error: SpellingError| inner.error(&name, error.to_string());
        let key: EnvKey = name.parse().map_err(refuse)?;
        let value = inner.text(&name, node)?.parse().map_err(refuse)?;
        env.insert(key, value);
    }
    if env.len() > MOST {
        return Err(fields.error("env", format!("more than {MOST} variables")));
    }
    Ok(Some(env))
}

/// A program a terminal may run: the name of one in the sandbox image, or an absolute path there.
#[derive(Clone)]
pub struct Command {
    text: Arc<str>,
}
text_type!(Command);

impl Command {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a command", text, why);
        if text.starts_with('/') {
            let path: AbsPath = text
                .parse()
                .map_err(|error: SpellingError| refuse(error.why()))?;
            if path.is_root() {
                return Err(refuse("it is a directory"));
            }
        } else if text.is_empty() || text.len() > 255 {
            return Err(refuse("a name has 1 to 255 bytes"));
        } else if text.contains('/') {
            return Err(refuse("it must be a bare name or an absolute path"));
        } else if text.starts_with('-') || matches!(text, "." | "..") {
            return Err(refuse("no program is called that"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse(
                "it contains white space or a control character; arguments are not part of it",
            ));
        }
        Ok(Self { text: text.into() })
    }

    pub fn is_path(&self) -> bool {
        self.text.starts_with('/')
    }

    /// The last part of a path; a name itself.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or(&self.text)
    }
}

/// An entry of `allowed_commands`: a program with any arguments, or with a glob for each. The
/// last glob may be `**`, which stands for any further arguments.
#[derive(Clone)]
pub struct AllowedCommand {
    text: Arc<str>,
    program: Command,
    arguments: Option<Arc<[GlobMatcher]>>,
    open_end: bool,
}
text_type!(AllowedCommand);

/// The argument that an entry does not take, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// It is another one than its glob takes.
    Other(usize),
    /// It is not there.
    Missing(usize),
    /// It is one more than was granted.
    Surplus(usize),
}

impl Misfit {
    fn position(self) -> usize {
        match self {
            Self::Other(at) | Self::Missing(at) | Self::Surplus(at) => at,
        }
    }

    /// Of two entries that do not fit, the one that fits further is what was meant.
    pub(crate) fn further(self, other: Self) -> Self {
        if other.position() > self.position() {
            other
        } else {
            self
        }
    }

    /// One sentence that names what the component itself sent, and nothing of the grant.
    pub(crate) fn sentence(self, argv: &[String]) -> String {
        let program = excerpt(argv.first().map_or("", String::as_str));
        let shown = |at: usize| excerpt(argv.get(at).map_or("", String::as_str));
        match self {
            Self::Other(at) => format!(
                "argument {at} of `{program}`, `{}`, does not fit what was granted",
                shown(at)
            ),
            Self::Missing(at) => {
                format!("`{program}` was granted with an argument {at}, which is missing")
            }
            Self::Surplus(at) => format!(
                "argument {at} of `{program}`, `{}`, is one more than was granted",
                shown(at)
            ),
        }
    }
}

impl AllowedCommand {
    const MOST_ARGUMENTS: usize = 64;

    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("an allowed command", text, why);
        if text.len() > 4096 {
            return Err(refuse("it is longer than 4096 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(refuse("it contains a control character"));
        }
        let mut words = text.split(' ');
        let program: Command = words.next().unwrap_or_default().parse()?;
        let mut words: Vec<&str> = words.collect();
        if words.iter().any(|word| word.is_empty()) {
            return Err(refuse(
                "single spaces stand between its words, and none behind",
            ));
        }
        if words.len() > Self::MOST_ARGUMENTS {
            return Err(refuse("it has more than 64 arguments"));
        }
        if words.is_empty() {
            return Ok(Self {
                text: text.into(),
                program,
                arguments: None,
                open_end: true,
            });
        }
        let open_end = words.last() == Some(&"**");
        if open_end {
            words.pop();
        }
        if words.contains(&"**") {
            return Err(refuse(
                "`**` stands for all further arguments, so it stands last",
            ));
        }
        let glob = |word: &&str| {
            // An argument is no path: a star takes anything, a slash included.
            let built = GlobBuilder::new(word).literal_separator(false).build();
            built.map(|glob| glob.compile_matcher())
        };
        let arguments: Result<Vec<_>, _> = words.iter().map(glob).collect();
        let arguments = arguments.map_err(|error| refuse(&error.kind().to_string()))?;
        Ok(Self {
            text: text.into(),
            program,
            arguments: Some(arguments.into()),
            open_end,
        })
    }

    pub fn program(&self) -> &Command {
        &self.program
    }

    /// Whether the program may be given whatever arguments somebody likes.
    pub fn takes_anything(&self) -> bool {
        self.open_end && self.arguments.as_ref().is_none_or(|globs| globs.is_empty())
    }

    /// Whether these arguments, without the program, are what was granted.
    ///
    /// # Errors
    /// The first argument that is not.
    pub fn fit(&self, arguments: &[String]) -> Result<(), Misfit> {
        let Some(globs) = &self.arguments else {
            return Ok(());
        };
        for (index, glob) in globs.iter().enumerate() {
            match arguments.get(index) {
                None => return Err(Misfit::Missing(index + 1)),
                Some(argument) if !glob.is_match(argument) => return Err(Misfit::Other(index + 1)),
                Some(_) => {}
            }
        }
        if !self.open_end && arguments.len() > globs.len() {
            return Err(Misfit::Surplus(globs.len() + 1));
        }
        Ok(())
    }
}

//! In which language code is written: by its first line, its name, or its looks, and always with the reason.

mod blank;
mod signs;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A language that code may be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript, for Node.js.
    Javascript,
    /// Bash.
    Bash,
}

impl Language {
    /// Every language there is.
    pub const ALL: [Self; 3] = [Self::Python, Self::Javascript, Self::Bash];

    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Bash => "bash",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a language; remedy: python, javascript, bash or auto")]
pub struct UnknownLanguage(String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| UnknownLanguage(text.to_owned()))
    }
}

/// A guess, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The language.
    pub language: Language,
    /// Why this one.
    pub because: Because,
}

/// What a guess rests on. Shown in one sentence, so that a wrong guess is seen at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Whoever asked said so.
    Given,
    /// The first line names an interpreter, this one.
    Shebang(String),
    /// The file's name ends so.
    Name(String),
    /// This line looks like nothing else.
    Line {
        /// Counted from 1.
        number: usize,
        /// What it was taken for.
        sign: &'static str,
    },
    /// Nothing tells, and this is the default.
    Default,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("as it was said"),
            Self::Shebang(program) => write!(f, "its first line names `{program}`"),
            Self::Name(ending) => write!(f, "its name ends in `.{ending}`"),
            Self::Line { number, sign } => write!(f, "line {number} has {sign}"),
            Self::Default => f.write_str("nothing in it tells, and this is the default"),
        }
    }
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.language, self.because)
    }
}

/// The language of code: what its first line names, else the ending of its file's name, else what most of its lines look
/// like, else the default.
#[must_use]
pub fn detect(code: &str, name: Option<&str>, default: Language) -> Detected {
    by_shebang(code)
        .or_else(|| name.and_then(by_name))
        .or_else(|| by_looks(code))
        .unwrap_or(Detected {
            language: default,
            because: Because::Default,
        })
}

fn by_shebang(code: &str) -> Option<Detected> {
    let line = code.lines().next()?.strip_prefix("#!")?;
    let mut words = line.split_whitespace();
    let mut program = base(words.next()?);
    if program == "env" {
        // `env -S node --flag`, `env -i NAME=VALUE python3`.
        program = base(words.find(|word| !word.starts_with('-') && !word.contains('='))?);
    }
    let bare = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let language = match bare {
        "python" | "pypy" => Language::Python,
        "node" | "nodejs" => Language::Javascript,
        "bash" | "sh" | "dash" | "ash" => Language::Bash,
        _ => return None,
    };
    Some(Detected {
        language,
        because: Because::Shebang(program.to_owned()),
    })
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn by_name(name: &str) -> Option<Detected> {
    let (stem, ending) = base(name).rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let language = match ending.as_str() {
        "py" | "pyw" => Language::Python,
        "js" | "mjs" | "cjs" => Language::Javascript,
        "sh" | "bash" => Language::Bash,
        _ => return None,
    };
    (!stem.is_empty()).then_some(Detected {
        language,
        because: Because::Name(ending),
    })
}

/// Lines looked at: what comes later adds nothing but time.
const MAX_LINES: usize = 2_000;
/// Bytes of a line looked at.
const MAX_LINE: usize = 512;

#[derive(Default)]
struct Tally {
    weight: u32,
    best: u32,
    line: usize,
    sign: &'static str,
}

fn by_looks(code: &str) -> Option<Detected> {
    let mut tallies = [(); 3].map(|()| Tally::default());
    let mut blank = blank::Blank::default();
    for (index, line) in code.lines().take(MAX_LINES).enumerate() {
        let line = start(line);
        let Some(bare) = blank.line(line) else {
            continue;
        };
        for sign in signs::of(line.trim(), bare.trim()) {
            let place = Language::ALL.iter().position(|one| *one == sign.language);
            let Some(tally) = place.and_then(|place| tallies.get_mut(place)) else {
                continue;
            };
            tally.weight += sign.weight;
            if sign.weight > tally.best {
                (tally.best, tally.line, tally.sign) = (sign.weight, index + 1, sign.what);
            }
        }
    }
    let heaviest = tallies.iter().map(|tally| tally.weight).max()?;
    let mut leading = Language::ALL.into_iter().zip(&tallies);
    let (language, tally) = leading.find(|(_, tally)| tally.weight == heaviest)?;
    // Two that look the same are a coin's toss, which the default decides openly.
    if heaviest == 0 || leading.any(|(_, tally)| tally.weight == heaviest) {
        return None;
    }
    Some(Detected {
        language,
        because: Because::Line {
            number: tally.line,
            sign: tally.sign,
        },
    })
}

/// As much of a line as is looked at, cut between characters.
fn start(line: &str) -> &str {
    let mut end = line.len().min(MAX_LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;

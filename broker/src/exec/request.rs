//! What is to run, parsed once: from here on nothing about it can be out of bounds.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use rumi_policy::{EnvKey, SpellingError};
use rumi_proto::v1;

use super::{
    credentials::Credential,
    program::main_file,
    session::{NotAName, SessionName},
};
use crate::{
    config::ExecSettings,
    vetting::{Because, Detected, Exemptions, Language, UnknownLanguage, detect},
};

/// Longest time that a run may name, in seconds.
const MOST_SECONDS: u32 = 300;
/// Bounds of the memory that a run may name, in MB.
const MEMORY_MB: std::ops::RangeInclusive<u32> = 16..=1024;
/// Bytes of all files and of the input.
const MOST_INPUT: usize = 10 << 20;
/// Files that may be given, and taken.
pub(super) const MOST_FILES: usize = 256;
/// Secrets of one run.
const MOST_CREDENTIALS: usize = 32;
/// Longest name of a file.
const LONGEST_NAME: usize = 255;

/// Why it cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Neither of the forms.
    #[error("there is no code in the request; remedy: give `bare` or `spec`")]
    Empty,
    /// No such language.
    #[error(transparent)]
    Language(#[from] UnknownLanguage),
    /// Too much code.
    #[error(
        "the code has {length} characters and may have {most}; remedy: give data as files (--file), or raise exec.max_code in docker/config.json, to 200000 at most"
    )]
    TooLong {
        /// So much.
        length: usize,
        /// The setting.
        most: u32,
    },
    /// Out of range.
    #[error("`{0}` seconds are out of range; remedy: name 1 to {MOST_SECONDS}")]
    Time(u32),
    /// Out of range.
    #[error("`{0}` MB are out of range; remedy: name 16 to 1024")]
    Memory(u32),
    /// Not a name for a file in the working directory.
    #[error(
        "`{name}` cannot name a file of the run: {why}; remedy: name it like `data.csv` or `data/one.csv`"
    )]
    FileName {
        /// As it was given.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// No name for a variable or a secret.
    #[error(transparent)]
    Name(#[from] SpellingError),
    /// No name for a session.
    #[error(transparent)]
    Session(#[from] NotAName),
    /// Two values for one variable.
    #[error("the variable `{0}` is given twice; remedy: name one secret for it")]
    Twice(EnvKey),
    /// Too many.
    #[error("a run may have {MOST_CREDENTIALS} credentials; remedy: name fewer")]
    Credentials,
    /// Too many.
    #[error(
        "{0} files are more than the {MOST_FILES} that a run may have; remedy: give an archive"
    )]
    Files(usize),
    /// Too large.
    #[error("files and input have {0} bytes together and may have {MOST_INPUT}; remedy: give less")]
    Input(usize),
}

/// One file that lies in the working directory at the beginning.
#[derive(Debug)]
pub(super) struct InputFile {
    pub(super) name: String,
    pub(super) content: Bytes,
}

/// What is to run.
#[derive(Debug)]
pub struct Order {
    pub(super) code: String,
    /// What it is written in, and how that is known.
    pub(super) language: Detected,
    pub(super) time: Duration,
    pub(super) memory_bytes: u64,
    pub(super) files: Vec<InputFile>,
    pub(super) files_out: bool,
    pub(super) stdin: Bytes,
    pub(super) network: bool,
    pub(super) grant: Option<String>,
    pub(super) credentials: Vec<Credential>,
    pub(super) exempt: Exemptions,
    pub(super) check_only: bool,
    pub(super) session: Option<SessionName>,
}

impl Order {
    /// Parses a request.
    ///
    /// # Errors
    /// When something about it is out of bounds; the message names it.
    pub fn parse(request: v1::ExecRequest, settings: &ExecSettings) -> Result<Self, RequestError> {
        let spec = match request.what {
            Some(v1::exec_request::What::Bare(code)) => v1::ExecSpec {
                code,
                ..v1::ExecSpec::default()
            },
            Some(v1::exec_request::What::Spec(spec)) => spec,
            None => return Err(RequestError::Empty),
        };
        let length = spec.code.chars().count();
        let most = settings.max_code.get();
        if length > usize::try_from(most).unwrap_or(usize::MAX) {
            return Err(RequestError::TooLong { length, most });
        }
        let language = match spec.language.as_str() {
            "" => settings.language,
            "auto" => None,
            named => Some(named.parse()?),
        };
        let language = match language {
            Some(language) => Detected {
                language,
                because: Because::Given,
            },
            None => detect(&spec.code, Some(&spec.name), Language::Python),
        };
        let seconds = match spec.max_time {
            0 => settings.time_s.get(),
            named @ 1..=MOST_SECONDS => named,
            other => return Err(RequestError::Time(other)),
        };
        let megabytes = match spec.max_memory {
            0 => settings.memory_mb.get(),
            named if MEMORY_MB.contains(&named) => named,
            other => return Err(RequestError::Memory(other)),
        };
        let session = match spec.session.as_str() {
            "" => None,
            name => Some(name.parse()?),
        };
        let files = files(spec.files, language.language)?;
        let input = files.iter().map(|file| file.content.len()).sum::<usize>() + spec.stdin.len();
        if input > MOST_INPUT {
            return Err(RequestError::Input(input));
        }
        Ok(Self {
            code: spec.code,
            language,
            time: Duration::from_secs(u64::from(seconds)),
            memory_bytes: u64::from(megabytes) << 20,
            files,
            files_out: spec.files_out,
            stdin: spec.stdin,
            network: spec.network,
            grant: Some(spec.grant_json).filter(|grant| !grant.is_empty()),
            credentials: credentials(spec.credentials)?,
            exempt: Exemptions {
                imports: spec.allow_imports,
                files: spec.files_out || session.is_some(),
            },
            check_only: spec.check,
            session,
        })
    }
}

/// Secrets by the variables that they are to be in.
fn credentials(wanted: Vec<v1::ExecCredential>) -> Result<Vec<Credential>, RequestError> {
    let mut parsed: Vec<Credential> = Vec::with_capacity(wanted.len());
    for one in wanted {
        let credential = Credential {
            variable: one.env_var_name.parse()?,
            secret: one.credential_name.parse()?,
        };
        let known = |other: &Credential| other.variable == credential.variable;
        if parsed.iter().any(known) {
            return Err(RequestError::Twice(credential.variable));
        }
        if parsed.len() >= MOST_CREDENTIALS {
            return Err(RequestError::Credentials);
        }
        parsed.push(credential);
    }
    Ok(parsed)
}

fn files(files: Vec<v1::ExecFile>, language: Language) -> Result<Vec<InputFile>, RequestError> {
    if files.len() > MOST_FILES {
        return Err(RequestError::Files(files.len()));
    }
    let mut parsed: Vec<InputFile> = Vec::with_capacity(files.len());
    for file in files {
        let known = |other: &InputFile| other.name == file.name;
        let why = if file.name == main_file(language) {
            Some("that is where the code itself lies")
        } else if parsed.iter().any(known) {
            Some("it is given twice")
        } else {
            unfit(&file.name)
        };
        if let Some(why) = why {
            return Err(RequestError::FileName {
                name: file.name.escape_debug().to_string(),
                why,
            });
        }
        parsed.push(InputFile {
            name: file.name,
            content: file.content,
        });
    }
    Ok(parsed)
}

/// Why a name cannot name a file in the working directory.
pub(super) fn unfit(name: &str) -> Option<&'static str> {
    use std::path::Component;
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Some("it is empty, or longer than 255 bytes");
    }
    if name.contains(['\0', '\n', '\r']) {
        return Some("it has characters that no line can show");
    }
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let parts: Vec<_> = Path::new(name).components().collect();
    let whole = parts.iter().all(|part| plain(*part));
    // Written as it is read back: no `a//b`, no `a/`, no `./a`.
    let same = parts
        .iter()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
        == name;
    (!whole || !same).then_some("it is not a path below the working directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: v1::ExecSpec) -> Result<Order, String> {
        let request = v1::ExecRequest {
            what: Some(v1::exec_request::What::Spec(spec)),
        };
        Order::parse(request, &ExecSettings::default()).map_err(|error| error.to_string())
    }

    fn file(name: &str) -> v1::ExecSpec {
        v1::ExecSpec {
            files: vec![v1::ExecFile {
                name: name.to_owned(),
                content: Bytes::new(),
            }],
            language: "python".into(),
            ..v1::ExecSpec::default()
        }
    }

    #[test]
    fn bounds_are_kept_and_defaults_filled_in() {
        let order = parse(v1::ExecSpec::default()).unwrap();
        assert_eq!(order.time, Duration::from_secs(10));
        assert_eq!(order.memory_bytes, 64 << 20);
        for (seconds, megabytes, fits) in [
            (1, 16, true),
            (300, 1024, true),
            (301, 16, false),
            (1, 15, false),
            (1, 1025, false),
        ] {
            let spec = v1::ExecSpec {
                max_time: seconds,
                max_memory: megabytes,
                ..v1::ExecSpec::default()
            };
            assert_eq!(parse(spec).is_ok(), fits, "{seconds} s, {megabytes} MB");
        }
        let long = v1::ExecSpec {
            code: "ä".repeat(100_001),
            ..v1::ExecSpec::default()
        };
        let message = parse(long).unwrap_err();
        assert!(message.contains("100001") && message.contains("exec.max_code"));
        let exactly = v1::ExecSpec {
            code: "ä".repeat(100_000),
            ..v1::ExecSpec::default()
        };
        assert!(parse(exactly).is_ok());
    }

    #[test]
    fn names_of_files_stay_below_the_working_directory() {
        for name in ["a", "data.csv", "a/b/c.txt", "..a", "a b", ".hidden", "ü"] {
            assert!(parse(file(name)).is_ok(), "{name}");
        }
        for name in [
            "", "/a", "..", "../a", "a/../b", "a//b", "a/", "./a", ".", "a\0b", "a\nb", "main.py",
        ] {
            let message = parse(file(name)).unwrap_err();
            assert!(message.contains("remedy"), "{name}: {message}");
        }
        let mut twice = file("a");
        twice.files.extend(twice.files.clone());
        assert!(parse(twice).unwrap_err().contains("twice"));
    }
}

//! Code is looked through before it runs, by a checker inside of the container that it will run in. The one for the language
//! that code is most likely written in is started with the container, and waits there for its one question.

use std::{collections::BTreeMap, time::Duration};

use tokio::io::AsyncRead;

use super::{
    frame::{self, FrameError, Said},
    program::{DIRECTORY, Program},
    request::Order,
    slot::{PATIENCE, Slot},
};
use crate::{
    config::ExecSettings,
    vetting::{Check, CheckerError, Findings, Language, checker},
    workers::{Keeper, NoKeeper, Pool},
};

/// How long a checker may take.
const TIME: Duration = Duration::from_secs(10);
/// Memory of a checker, which holds the tree of the code.
const MEMORY: u64 = 256 << 20;
/// Processes and threads of a checker.
const PIDS: u64 = 32;
/// Bytes that a checker may answer.
const ANSWER: usize = 256 * 1024;

/// Why the code could not be looked through. It does not run then.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The checker.
    #[error(transparent)]
    Checker(#[from] CheckerError),
    /// Its process.
    #[error(transparent)]
    Keeper(#[from] NoKeeper),
    /// The connection to it.
    #[error("the code could not be checked: {0}")]
    Frame(#[from] FrameError),
    /// It did not get to its end.
    #[error(
        "the code could not be checked: {0}; remedy: build the images anew (make base, docker/base/build node), or switch exec.validation off in docker/config.json"
    )]
    Ended(String),
}

/// A checker that has been started and waits for its question.
#[derive(Debug)]
pub(super) struct Checker {
    keeper: Keeper,
    language: Language,
}

impl Checker {
    /// Starts the one for this language.
    pub(super) async fn start(pool: &Pool, language: Language) -> Result<Self, CheckError> {
        let mut keeper = pool.keeper(PATIENCE).await?;
        let (stream, cgroup) = keeper.parts();
        cgroup
            .map(|cgroup| cgroup.limit(MEMORY, PIDS))
            .transpose()
            .map_err(|error| CheckError::Ended(error.to_string()))?;
        let program = Program {
            argv: checker(language)
                .iter()
                .map(|word| (*word).to_owned())
                .collect(),
            env: BTreeMap::new(),
            directory: DIRECTORY,
            network: false,
        };
        frame::start(stream, &program).await?;
        Ok(Self { keeper, language })
    }

    /// Whether it knows this language, and still waits.
    fn is_for(&mut self, language: Language) -> bool {
        checker(self.language) == checker(language) && self.keeper.alive()
    }

    /// Its answer, a line. It is killed then; nobody waits for that.
    async fn ask(mut self, question: &[u8]) -> Result<Vec<u8>, CheckError> {
        let (stream, _) = self.keeper.parts();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let asking = async {
            frame::part(&mut writer, question).await?;
            listen(&mut reader).await
        };
        let answer = match tokio::time::timeout(TIME, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(CheckError::Ended(format!(
                "the checker did not answer within {} s",
                TIME.as_secs()
            ))),
        };
        tokio::spawn(self.keeper.end());
        answer
    }
}

async fn listen<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Vec<u8>, CheckError> {
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    loop {
        match frame::read(reader).await? {
            Said::Stdout(bytes) => answer.extend_from_slice(&bytes),
            Said::Stderr(bytes) => {
                complaint.extend_from_slice(&bytes);
                // Its last line says most.
                let long = complaint.len().saturating_sub(ANSWER);
                complaint.drain(..long);
            }
            Said::Failed(why) => return Err(CheckError::Ended(short(&why))),
            Said::End(_) => {
                let said = String::from_utf8_lossy(&complaint);
                let last = said.lines().last().unwrap_or("the checker ended early");
                return Err(CheckError::Ended(short(last)));
            }
            Said::File(_) | Said::Data(_) => return Err(FrameError::Nonsense.into()),
        }
        if answer.ends_with(b"\n") || answer.len() > ANSWER {
            return Ok(answer);
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

/// What is found in the code; nothing where it is not to be looked through.
pub(super) async fn check(
    slot: &mut Slot,
    order: &Order,
    settings: &ExecSettings,
) -> Result<Findings, CheckError> {
    if !settings.validation.enabled && !order.check_only {
        return Ok(Findings::default());
    }
    let language = order.language.language;
    let mut exempt = order.exempt.clone();
    if language == Language::Python {
        // Whoever lists a library means it to be used.
        exempt.imports.extend(settings.requirements.modules());
    }
    let question = Check::new(language, &order.code, &settings.validation, &exempt);
    let question = question.line().map_err(CheckerError::Unreadable)?;
    let mut waiting = slot.take_checker();
    let checker = match waiting.take_if(|waiting| waiting.is_for(language)) {
        Some(waiting) => waiting,
        None => Checker::start(slot.pool(), language).await?,
    };
    let answer = checker.ask(&question).await?;
    Ok(Findings::parse(language, &answer)?)
}

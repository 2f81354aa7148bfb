//! Code is looked through before it runs, by a checker inside of the container that it will run in.

use std::{collections::BTreeMap, time::Duration};

use super::{
    attend::{Run, attend},
    program::{DIRECTORY, Program},
    request::Order,
    slot::Slot,
};
use crate::{
    config::ExecSettings,
    vetting::{Check, CheckerError, Findings, Language, Mask, checker},
    workers::NoKeeper,
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
    /// It did not get to its end.
    #[error(
        "the code could not be checked: {0}; remedy: build the images anew (make base, docker/base/build node), or switch exec.validation off in docker/config.json"
    )]
    Ended(String),
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
    let program = Program {
        argv: checker(language)
            .iter()
            .map(|word| (*word).to_owned())
            .collect(),
        env: BTreeMap::new(),
        directory: DIRECTORY,
        network: false,
    };
    let keeper = slot.another_keeper().await?;
    let run = Run {
        files: &[],
        program: &program,
        stdin: &question,
        time: TIME,
        memory_bytes: MEMORY,
        pids: PIDS,
        max_output: ANSWER,
        mask: &Mask::new(Vec::<Vec<u8>>::new()),
    };
    let came = attend(keeper, run).await;
    if came.exit_code != Some(0) || came.stopped.is_some() {
        let why = came.error.unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&came.stderr);
            let last = said.lines().last().unwrap_or("the checker ended early");
            last.chars().take(300).collect()
        });
        return Err(CheckError::Ended(why));
    }
    Ok(Findings::parse(language, &came.stdout)?)
}

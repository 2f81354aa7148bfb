//! Running a command in a sandbox.

mod command_line;

use std::borrow::Cow;
use std::sync::Arc;

use super::Capability;
use super::place::{forbidden, shown};
use super::sealed::Judge;
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::grant::{AllowedCommand, Command, Misfit, TerminalMode};
use crate::ids::{ComponentId, EnvKey};
use crate::path::AbsPath;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::{Slot, TerminalLimits, TerminalRule};
use crate::spelling::excerpt;
use crate::template::Template;

/// Marker of the permission `terminal`.
#[derive(Debug)]
pub enum Terminal {}

/// A command, as its program and arguments. There is no shell anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalAsk {
    argv: Vec<String>,
    program: Command,
    directory: AbsPath,
    timeout_ms: Option<u64>,
}

impl TerminalAsk {
    /// Limits of the kernel are far above; these keep a record of the command readable.
    const ARGUMENTS: usize = 4096;
    const BYTES: usize = 128 << 10;

    pub fn new(
        argv: Vec<String>,
        directory: AbsPath,
        timeout_ms: Option<u64>,
    ) -> Result<Self, Denial> {
        let Some(first) = argv.first() else {
            return Err(Denial::bad_request("the command is empty"));
        };
        let program: Command = first
            .parse()
            .map_err(|error| Denial::bad_request(format!("{error}")))?;
        if argv.len() > Self::ARGUMENTS || argv.iter().map(String::len).sum::<usize>() > Self::BYTES
        {
            return Err(Denial::bad_request("the command is too long"));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            return Err(Denial::bad_request("an argument contains a NUL byte"));
        }
        Ok(Self {
            argv,
            program,
            directory,
            timeout_ms,
        })
    }

    /// Takes the command as one string, split the way shlex splits. What only a shell could do
    /// is refused.
    pub fn from_command(
        command: &str,
        directory: AbsPath,
        timeout_ms: Option<u64>,
    ) -> Result<Self, Denial> {
        let argv = command_line::split(command).map_err(Denial::bad_request)?;
        Self::new(argv, directory, timeout_ms)
    }

    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// The first of the arguments: a bare name or an absolute path in the sandbox.
    pub fn program(&self) -> &Command {
        &self.program
    }

    pub fn directory(&self) -> &AbsPath {
        &self.directory
    }

    pub fn timeout_ms(&self) -> Option<u64> {
        self.timeout_ms
    }
}

/// Where the command runs, and with how much of everything.
#[derive(Debug)]
pub struct TerminalTerms {
    rule: Arc<TerminalRule>,
    root: AbsPath,
    relative: String,
    timeout_ms: u64,
}

impl TerminalTerms {
    pub fn root(&self) -> &AbsPath {
        &self.root
    }

    /// Empty for the granted directory itself.
    pub fn relative(&self) -> &str {
        &self.relative
    }

    pub fn allowed_commands(&self) -> &[AllowedCommand] {
        &self.rule.commands
    }

    /// All of the command's environment.
    pub fn env(&self) -> &[(EnvKey, Template)] {
        &self.rule.env
    }

    pub fn mode(&self) -> TerminalMode {
        self.rule.mode
    }

    /// What was asked for, but never more than what was granted.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    pub fn max_output_bytes(&self) -> u64 {
        self.rule.max_output_bytes
    }

    pub fn memory_bytes(&self) -> u64 {
        self.rule.memory_bytes
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalFound {
    /// The program with all links resolved, in the sandbox's image.
    pub program: AbsPath,
    /// The grant's allowed commands, in their order and resolved in the same way; `None` for one
    /// that is not there.
    pub allowed: Vec<Option<AbsPath>>,
    /// What the kernel calls the opened root and the opened working directory.
    pub real_root: AbsPath,
    pub real_directory: AbsPath,
    pub owner_uid: u32,
    pub owner_gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalFacts {
    pub program: AbsPath,
    /// The owner of the working directory, whom the command runs as.
    pub uid: u32,
    pub gid: u32,
}

impl Capability for Terminal {
    fn permission(_: &TerminalAsk) -> PermissionName {
        Permission::Terminal.into()
    }

    fn action(_: &TerminalAsk) -> &'static str {
        "run"
    }

    fn target(ask: &TerminalAsk) -> Cow<'_, str> {
        ask.directory.as_str().into()
    }

    /// The program alone: arguments may be secret.
    fn particular(ask: &TerminalAsk) -> Option<(&'static str, &str)> {
        Some(("program", ask.program.as_str()))
    }
}

impl Judge for Terminal {
    type Ask = TerminalAsk;
    type Terms = TerminalTerms;
    type Found = TerminalFound;
    type Confirmed = TerminalFacts;
    type Rule = TerminalRule;

    fn slot<'a>(rights: &'a Rights, _: &TerminalAsk) -> Option<&'a Slot<TerminalRule>> {
        Some(&rights.terminal)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<TerminalRule>,
        ask: &TerminalAsk,
    ) -> Result<TerminalTerms, Denial> {
        if rule.mode == TerminalMode::Host && !rule.limits.allow_host_mode {
            let sentence = "commands on the host itself are out of bounds for every component";
            return Err(Denial::new(Reason::ForbiddenByScope, sentence).with_detail(
                "the grant says `\"mode\": \"host\"`, and the limits of scopes/terminal.json do not say \
                 `\"allow_host_mode\": true`",
            ));
        }
        check_directory(&rule.limits, &ask.directory, &ask.directory)?;
        check_program(&rule.limits, ask, None)?;
        let Some((root, relative)) = rule.roots.above(&ask.directory).next() else {
            let sentence = format!(
                "`{}` is not below a directory that `terminal` was granted for",
                shown(&ask.directory)
            );
            return Err(
                Denial::new(Reason::OutsideDirectory, sentence).with_remedy(grant_of(
                    caller,
                    &rule.limits,
                    ask,
                )),
            );
        };
        if rule.commands.is_empty() {
            return Err(not_allowed(caller, &rule.limits, ask));
        }
        Ok(TerminalTerms {
            root: root.clone(),
            relative: relative.to_owned(),
            timeout_ms: ask
                .timeout_ms
                .unwrap_or(rule.timeout_ms)
                .min(rule.timeout_ms),
            rule: rule.clone(),
        })
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &TerminalAsk) -> Option<Remedy> {
        grant_of(caller, &scopes.terminal()?.limits, ask)
    }

    fn confirm(
        caller: &ComponentId,
        ask: &TerminalAsk,
        terms: &TerminalTerms,
        found: &TerminalFound,
    ) -> Result<TerminalFacts, Denial> {
        let limits = &terms.rule.limits;
        check_directory(limits, &ask.directory, &found.real_directory)?;
        check_program(limits, ask, Some(&found.program))?;
        if !found.real_directory.starts_with(&found.real_root) {
            let sentence = format!(
                "`{}` leads out of the granted directory",
                shown(&ask.directory)
            );
            return Err(Denial::new(Reason::OutsideDirectory, sentence)
                .with_detail(format!("it leads to `{}`", shown(&found.real_directory))));
        }
        check_arguments(caller, ask, &terms.rule.commands, limits, found)?;
        if found.owner_uid == 0 {
            let sentence = format!(
                "`{}` belongs to root, and a command runs as the owner of its directory",
                shown(&ask.directory)
            );
            return Err(Denial::new(Reason::RootOwned, sentence));
        }
        Ok(TerminalFacts {
            program: found.program.clone(),
            uid: found.owner_uid,
            gid: found.owner_gid,
        })
    }

    fn spell(ask: &TerminalAsk, terms: &TerminalTerms, words: &mut Words) {
        words.say("run").say("in").quote(ask.directory.as_str());
        if terms.mode() == TerminalMode::Host {
            words.say("on").say("host");
        }
        if !terms.env().is_empty() {
            let names: Vec<&str> = terms.env().iter().map(|(key, _)| key.as_str()).collect();
            words.say("with").quote(&names.join(","));
        }
        if let Some(timeout) = ask.timeout_ms {
            words.say("for").number(timeout).say("ms");
        }
        words.say("--");
        for argument in &ask.argv {
            words.quote(argument);
        }
    }
}

/// The sandbox sees all of the directory, so nothing forbidden may lie below it either.
fn check_directory(limits: &TerminalLimits, asked: &AbsPath, path: &AbsPath) -> Result<(), Denial> {
    match limits.forbidden.touches(path) {
        Some(entry) => Err(forbidden(asked, entry)),
        None => Ok(()),
    }
}

fn check_program(
    limits: &TerminalLimits,
    ask: &TerminalAsk,
    resolved: Option<&AbsPath>,
) -> Result<(), Denial> {
    let asked = ask.program.as_str();
    let is = |entry: &&Command, path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        entry.as_str() == if entry.is_path() { path } else { name }
    };
    let hit = limits
        .forbidden_commands
        .iter()
        .find(|entry| is(entry, asked) || resolved.is_some_and(|path| is(entry, path.as_str())));
    match hit {
        None => Ok(()),
        Some(entry) => {
            let sentence = format!("`{}` is out of bounds for every component", excerpt(asked));
            Err(Denial::new(Reason::ForbiddenByScope, sentence)
                .with_detail(format!("`{entry}` is forbidden to all by the scope")))
        }
    }
}

/// Whether one of the entries for this very program takes these arguments.
fn check_arguments(
    caller: &ComponentId,
    ask: &TerminalAsk,
    commands: &[AllowedCommand],
    limits: &TerminalLimits,
    found: &TerminalFound,
) -> Result<(), Denial> {
    let arguments = ask.argv.get(1..).unwrap_or_default();
    let mut misfit: Option<Misfit> = None;
    for (command, resolved) in commands.iter().zip(&found.allowed) {
        if resolved.as_ref() != Some(&found.program) {
            continue;
        }
        match command.fit(arguments) {
            Ok(()) => return Ok(()),
            Err(other) => misfit = Some(misfit.map_or(other, |known| known.further(other))),
        }
    }
    let Some(misfit) = misfit else {
        return Err(not_allowed(caller, limits, ask));
    };
    let denial = Denial::new(Reason::CommandNotAllowed, misfit.sentence(&ask.argv));
    Err(denial.with_remedy(grant_of_arguments(caller, limits, ask)))
}

fn not_allowed(caller: &ComponentId, limits: &TerminalLimits, ask: &TerminalAsk) -> Denial {
    let program = excerpt(ask.program.as_str());
    let sentence = format!("the command `{program}` was not granted to this component");
    Denial::new(Reason::CommandNotAllowed, sentence).with_remedy(grant_of(caller, limits, ask))
}

fn grant_of(caller: &ComponentId, limits: &TerminalLimits, ask: &TerminalAsk) -> Option<Remedy> {
    proposal(caller, limits, ask, ask.program.to_string())
}

fn proposal(
    caller: &ComponentId,
    limits: &TerminalLimits,
    ask: &TerminalAsk,
    command: String,
) -> Option<Remedy> {
    if limits.forbidden.touches(&ask.directory).is_some()
        || check_program(limits, ask, None).is_err()
        || ask.directory.is_root()
    {
        return None;
    }
    let values = [ask.directory.to_string(), "--command".to_owned(), command];
    Some(Remedy::grant_add(caller, Permission::Terminal, values))
}

/// The grant of exactly these arguments. An argument with a space in it cannot be written as
/// one, and then no command is named.
fn grant_of_arguments(
    caller: &ComponentId,
    limits: &TerminalLimits,
    ask: &TerminalAsk,
) -> Option<Remedy> {
    let arguments = ask.argv.get(1..).unwrap_or_default();
    let mut entry = ask.program.to_string();
    for argument in arguments {
        entry.push(' ');
        entry.push_str(&globset::escape(argument));
    }
    // A check, and not hope: what is proposed must be taken, and must allow just this.
    let command: AllowedCommand = entry.parse().ok()?;
    if command.takes_anything() || command.fit(arguments).is_err() {
        return None;
    }
    proposal(caller, limits, ask, entry)
}

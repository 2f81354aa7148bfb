//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{commands, output::Format};

/// Builds and runs packs, decides what they may do, and shows what they did
///
/// A pack is code nobody vouches for. It runs in a container that can do nothing
/// by itself; whatever it wants it asks the broker, which checks scopes and
/// grants, writes its decision to the audit log, and only then acts.
#[derive(Debug, Parser)]
#[command(
    name = "packctl",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 denied, 4 not found, 5 broker unreachable, 6 a replay would decide otherwise"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) places: Places,

    /// How data is printed: aligned columns, one JSON document, or one JSON object a line
    #[arg(
        short = 'o',
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        help_heading = "Global options"
    )]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where things lie on this host.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Places {
    /// Directory that holds docker/, grants/ and scopes/ [default: $RUMI_HOME, else .]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Directory of the audit log and the keys [default: $RUMI_STATE, else /var/lib/rumi]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Directory of the sockets [default: $RUMI_RUN, else /run/rumi]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(commands::init::Init),
    Build(commands::build::Build),
    Up(commands::up::Up),
    Approve(commands::approve::Approve),
    Disapprove(commands::disapprove::Disapprove),
    Down(commands::down::Down),
    Ps(commands::ps::Ps),
    Logs(commands::logs::Logs),
    Stats(commands::stats::Stats),
    Quota(commands::quota::Quota),
    Call(commands::call::Call),
    /// Add tools of one file each, without a pack made by hand
    #[command(subcommand)]
    Tool(commands::tool::Tool),
    Exec(commands::exec::Exec),
    /// Keep a container, with its files, across the runs of a conversation
    #[command(subcommand)]
    Session(commands::session::Session),
    /// See and end the commands that components run
    #[command(subcommand)]
    Terminal(commands::terminal::Terminal),
    Pending(commands::pending::Pending),
    /// List, explain and change what components were granted
    #[command(subcommand)]
    Grant(commands::grant::Grant),
    /// Keep the secrets that grants name
    #[command(subcommand)]
    Secret(commands::secret::Secret),
    /// Look at custom handlers
    #[command(subcommand)]
    Handlers(commands::handlers::Handlers),
    /// Read and verify the audit log
    #[command(subcommand)]
    Audit(commands::audit::Audit),
    Doctor(commands::doctor::Doctor),
    Completions(commands::completions::Completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_explains_itself() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}

//! `packctl completions SHELL`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cli::Cli, context::Context, failure::Failure};

/// Print the completion script of a shell
///
/// For bash: `packctl completions bash > /etc/bash_completion.d/packctl`
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell that will read the script
    #[arg(value_enum)]
    shell: Supported,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let shell = match self.shell {
            Supported::Bash => Shell::Bash,
            Supported::Zsh => Shell::Zsh,
            Supported::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "packctl", &mut script);
        context.out.write(&String::from_utf8_lossy(&script))?;
        context.out.flush()
    }
}

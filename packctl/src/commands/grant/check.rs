//! `packctl grant check COMPONENT PERMISSION ARGUMENT…`

use rumi_policy::{ComponentId, Permission, PermissionName, Reason};

use super::{permission, report};
use crate::{
    asking::{Answer, Config, FileAction, Question},
    context::Context,
    failure::{Exit, Failure},
    policy_files,
};

/// Say what the broker would answer to a request, and why
///
/// Reads the same files and asks the same policy as the broker, which need not
/// run. Exits with 3 when the answer is no.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packctl grant check default:tool:my_tool file_read /home/user/documents/a.txt
  packctl grant check default:tool:my_tool file_write /home/user/reports/r.md --action delete
  packctl grant check default:tool:my_tool env_read OPENAI_API_KEY
  packctl grant check default:tool:my_tool terminal /srv/work -- ls -l
  packctl grant check default:tool:my_tool network GET https://api.openai.com/v1/models
  packctl grant check default:tool:my_tool network CONNECT api.openai.com:443")]
pub(crate) struct Check {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,

    /// The permission, or the name of a custom handler
    #[arg(value_parser = permission())]
    permission: PermissionName,

    /// PATH for files, KEY for env_read, DIR for terminal, METHOD URL or CONNECT
    /// HOST:PORT for network, ARGS as a JSON
    /// object for a handler
    #[arg(value_name = "ARGUMENT", required = true)]
    arguments: Vec<String>,

    /// What is to be done with the file
    #[arg(long, value_enum, value_name = "ACTION")]
    action: Option<FileAction>,

    /// Where a renamed file would go
    #[arg(long, value_name = "PATH")]
    to: Option<String>,

    /// The command the terminal would run, word by word
    #[arg(last = true, value_name = "ARGV")]
    argv: Vec<String>,
}

impl Check {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let question = self.question()?;
        let set = policy_files::load(context)?;
        let answer = question.put(&set, &self.component, &Config::read(context));
        context.out.one(&answer, Answer::lines)?;
        if answer.allowed() {
            return Ok(());
        }
        if matches!(
            answer.reason(),
            Some(Reason::GrantInvalid | Reason::ScopeInvalid)
        ) {
            let grant = format!("grants/{}", self.component.grant_file());
            for problem in set
                .problems()
                .iter()
                .filter(|problem| problem.file == grant || problem.file.starts_with("scopes/"))
            {
                report(context.console, problem);
            }
        }
        Err(Failure::Said(Exit::Denied))
    }

    fn question(&self) -> Result<Question, Failure> {
        let wrong = |needs: &str, example: &str| Failure::Usage {
            message: format!("`{}` needs {needs}", self.permission),
            hint: format!(
                "for example: packctl grant check {} {} {example}",
                self.component, self.permission
            ),
        };
        let terminal = self.permission == Permission::Terminal.into();
        if !self.argv.is_empty() && !terminal {
            return Err(wrong("no command after `--`", "ARGUMENT"));
        }
        let files = matches!(
            self.permission,
            PermissionName::BuiltIn(Permission::FileRead | Permission::FileWrite)
        );
        if (self.action.is_some() || self.to.is_some()) && !files {
            return Err(wrong("no `--action` and no `--to`", "ARGUMENT"));
        }
        let usage = |message: String| Failure::Usage {
            message,
            hint: "`packctl grant check --help` shows what each permission takes".to_owned(),
        };
        let permission = match &self.permission {
            PermissionName::BuiltIn(permission) => *permission,
            PermissionName::Custom(handler) => {
                return match self.arguments.as_slice() {
                    [args] => Question::custom(handler, args).map_err(usage),
                    _ => Err(wrong("one JSON object", "'{}'")),
                };
            }
        };
        match (permission, self.arguments.as_slice()) {
            (Permission::FileRead, [path]) => Question::file_read(path, self.action).map_err(usage),
            (Permission::FileWrite, [path]) => {
                Question::file_write(path, self.action, self.to.as_deref()).map_err(usage)
            }
            (Permission::EnvRead, [key]) => Question::env_read(key).map_err(usage),
            (Permission::Terminal, [directory]) if !self.argv.is_empty() => {
                Question::terminal(directory, self.argv.clone()).map_err(usage)
            }
            (Permission::Network, [method, authority]) if method == "CONNECT" => {
                Ok(Question::tunnel(authority))
            }
            (Permission::Network, [method, url]) => Ok(Question::network(method, url)),
            (Permission::FileRead | Permission::FileWrite, _) => {
                Err(wrong("one path", "/home/user/documents/a.txt"))
            }
            (Permission::EnvRead, _) => Err(wrong("one key", "OPENAI_API_KEY")),
            (Permission::Terminal, _) => Err(wrong(
                "one directory and a command after `--`",
                "/srv/work -- ls -l",
            )),
            (Permission::Network, _) => Err(wrong(
                "a method and a URL",
                "GET https://api.openai.com/v1/models",
            )),
        }
    }
}

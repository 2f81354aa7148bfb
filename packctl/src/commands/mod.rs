//! One file a verb.

pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod disapprove;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod exec;
pub(crate) mod grant;
pub(crate) mod handlers;
pub(crate) mod init;
mod lifecycle;
pub(crate) mod logs;
pub(crate) mod pending;
pub(crate) mod ps;
pub(crate) mod quota;
mod review;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod stats;
pub(crate) mod terminal;
pub(crate) mod tool;
pub(crate) mod up;

use crate::{cli::Command, context::Context, failure::Failure};

pub(crate) fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(init) => init.run(context),
        Command::Build(build) => build.run(context),
        Command::Up(up) => up.run(context),
        Command::Approve(approve) => approve.run(context),
        Command::Disapprove(disapprove) => disapprove.run(context),
        Command::Down(down) => down.run(context),
        Command::Ps(ps) => ps.run(context),
        Command::Logs(logs) => logs.run(context),
        Command::Stats(stats) => stats.run(context),
        Command::Quota(quota) => quota.run(context),
        Command::Call(call) => call.run(context),
        Command::Tool(tool) => tool.run(context),
        Command::Exec(exec) => exec.run(context),
        Command::Session(session) => session.run(context),
        Command::Terminal(terminal) => terminal.run(context),
        Command::Pending(pending) => pending.run(context),
        Command::Grant(grant) => grant.run(context),
        Command::Secret(secret) => secret.run(context),
        Command::Handlers(handlers) => handlers.run(context),
        Command::Audit(audit) => audit.run(context),
        Command::Doctor(doctor) => doctor.run(context),
        Command::Completions(completions) => completions.run(context),
    }
}

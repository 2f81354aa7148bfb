//! Judges a request by the policy alone, without a look at this host: what was asked long ago is
//! judged as it was asked, whatever lies there now.

use rumi_policy::{
    Capability, ComponentId, Custom, Denial, EnvRead, FileRead, FileWrite, Network, PolicySet,
    Resolve, Terminal, TerminalAsk, TerminalFound, Tunnel, UnixMillis, decide,
};

use crate::{asking::Question, looking};

/// What the policy says to a request of which only the record is left.
#[derive(Debug)]
pub(crate) enum Judgement {
    Allowed,
    Denied(Denial),
    /// The record does not hold what would decide.
    Untold(&'static str),
}

impl Question {
    /// What the policy says at this time, as far as that does not depend on what a handler would
    /// find.
    pub(crate) fn judge(
        &self,
        set: &PolicySet,
        component: &ComponentId,
        at: UnixMillis,
    ) -> Judgement {
        match self {
            Self::FileRead(ask) => judge::<FileRead>(set, component, ask, at),
            Self::FileWrite(ask) => judge::<FileWrite>(set, component, ask, at),
            Self::EnvRead(ask) => judge::<EnvRead>(set, component, ask, at),
            Self::Terminal(ask) => terminal(set, component, ask, at),
            Self::Network(ask) => judge::<Network>(set, component, ask, at),
            Self::Custom(ask) => judge::<Custom>(set, component, ask, at),
            Self::Tunnel(ask) => judge::<Tunnel>(set, component, ask, at),
            Self::Resolve(ask) => judge::<Resolve>(set, component, ask, at),
            Self::Refused(denial) => Judgement::Denied(denial.clone()),
        }
    }
}

fn judge<C: Capability>(
    set: &PolicySet,
    component: &ComponentId,
    ask: &C::Ask,
    at: UnixMillis,
) -> Judgement {
    match decide::<C>(set, component, ask.clone(), at) {
        Ok(_) => Judgement::Allowed,
        Err(denial) => Judgement::Denied(denial),
    }
}

/// Which commands a component may run is decided once the program was found in the image. Its
/// name stands for a file in `/usr/bin` here, as it does in the base image.
fn terminal(
    set: &PolicySet,
    component: &ComponentId,
    ask: &TerminalAsk,
    at: UnixMillis,
) -> Judgement {
    let permit = match decide::<Terminal>(set, component, ask.clone(), at) {
        Ok(permit) => permit,
        Err(denial) => return Judgement::Denied(denial),
    };
    let Ok(program) = looking::in_image(ask.program().as_str()) else {
        return Judgement::Untold("where its program lies is not known");
    };
    let commands = permit.terms().allowed_commands();
    let allowed: Vec<_> = commands
        .iter()
        .map(|command| looking::in_image(command.program().as_str()).ok())
        .collect();
    let mut same = commands
        .iter()
        .zip(&allowed)
        .filter(|(_, path)| path.as_ref() == Some(&program))
        .map(|(command, _)| command)
        .peekable();
    if same.peek().is_some() {
        return if same.any(|command| command.takes_anything()) {
            Judgement::Allowed
        } else {
            Judgement::Untold("the grant narrows its arguments, which are not in the log")
        };
    }
    let found = TerminalFound {
        program,
        allowed,
        real_root: permit.terms().root().clone(),
        real_directory: ask.directory().clone(),
        owner_uid: 1,
        owner_gid: 1,
    };
    match permit.confirm(&found) {
        Ok(_) => Judgement::Allowed,
        Err(denial) => Judgement::Denied(denial),
    }
}

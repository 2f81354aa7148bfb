//! Calling a custom handler.

use std::borrow::Cow;
use std::sync::Arc;

use super::Capability;
use super::sealed::Judge;
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::handler::Mode;
use crate::ids::{ComponentId, HandlerName};
use crate::permission::PermissionName;
use crate::reason::Reason;
use crate::rules::{CustomRule, Slot};

/// Largest arguments of one call, as JSON text; more than that belongs into a file.
const MAX_ARGS: u64 = 1 << 20;
/// Handlers that one call may pass through, so that one that calls itself comes to an end.
const MAX_DEPTH: u32 = 4;

/// Marker of the permissions that handlers are.
#[derive(Debug)]
pub enum Custom {}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomAsk {
    pub handler: HandlerName,
    /// The arguments, for the admin to see where he is asked; no record holds them.
    pub args: Arc<str>,
    /// Size of the arguments.
    pub bytes: u64,
    /// Keyed hash of the arguments.
    pub fingerprint: String,
    /// Handlers that this call comes through already.
    pub depth: u32,
}

/// What the handler is told of its caller's grant.
#[derive(Debug)]
pub struct CustomTerms {
    rule: Arc<CustomRule>,
}

impl CustomTerms {
    /// Where the handler runs.
    pub fn mode(&self) -> Mode {
        Mode::Sandbox
    }

    /// The effective configuration, as a JSON object.
    pub fn config(&self) -> &str {
        self.rule.config.as_deref().unwrap_or("{}")
    }
}

/// What the broker found of the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomFound {
    pub handler: HandlerState,
    /// What its schema says of the arguments; the message is for the caller only.
    pub arguments: Result<(), String>,
}

/// Whether a handler can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerState {
    /// There is no such file.
    Missing,
    /// There is one, and it was refused or could not be loaded; why is the admin's business.
    Refused(String),
    Ready {
        requires_scope: bool,
    },
}

impl Capability for Custom {
    fn permission(ask: &CustomAsk) -> PermissionName {
        PermissionName::Custom(ask.handler.clone())
    }

    fn action(_: &CustomAsk) -> &'static str {
        "call"
    }

    fn target(ask: &CustomAsk) -> Cow<'_, str> {
        format!("{} bytes {}", ask.bytes, ask.fingerprint).into()
    }
}

impl Judge for Custom {
    type Ask = CustomAsk;
    type Terms = CustomTerms;
    type Found = CustomFound;
    type Confirmed = ();
    type Rule = CustomRule;

    fn slot<'a>(rights: &'a Rights, ask: &CustomAsk) -> Option<&'a Slot<CustomRule>> {
        rights.custom.get(&ask.handler)
    }

    fn ask(
        _: &ComponentId,
        rule: &Arc<CustomRule>,
        ask: &CustomAsk,
    ) -> Result<CustomTerms, Denial> {
        if let Err(why) = &rule.config {
            let sentence = format!(
                "the configuration of `{}` does not fit its scope",
                ask.handler
            );
            return Err(Denial::new(Reason::ScopeLimit, sentence).with_detail(why.clone()));
        }
        if ask.bytes > MAX_ARGS {
            let sentence = format!(
                "arguments of a handler come to at most {MAX_ARGS} bytes; put more into a file"
            );
            return Err(Denial::new(Reason::TooLarge, sentence));
        }
        if ask.depth >= MAX_DEPTH {
            let sentence = format!("a call passes through at most {MAX_DEPTH} handlers");
            return Err(Denial::new(Reason::Quota, sentence));
        }
        Ok(CustomTerms { rule: rule.clone() })
    }

    fn remedy(_: &Scopes, caller: &ComponentId, ask: &CustomAsk) -> Option<Remedy> {
        Some(Remedy::grant_add(caller, &ask.handler, []))
    }

    fn confirm(
        _: &ComponentId,
        ask: &CustomAsk,
        terms: &CustomTerms,
        found: &CustomFound,
    ) -> Result<(), Denial> {
        let name = &ask.handler;
        let requires_scope = match &found.handler {
            HandlerState::Ready { requires_scope } => *requires_scope,
            HandlerState::Missing => {
                let sentence = format!("there is no handler `{name}` here");
                return Err(Denial::new(Reason::UnknownComponent, sentence)
                    .with_detail(format!("there is no docker/handlers/{name}.py")));
            }
            HandlerState::Refused(why) => {
                let sentence = format!(
                    "the handler `{name}` cannot be used; `packctl handlers ls` tells the admin why"
                );
                return Err(
                    Denial::new(Reason::UnknownComponent, sentence).with_detail(why.clone())
                );
            }
        };
        if requires_scope && !terms.rule.scoped {
            let sentence = format!("`{name}` requires a scope and has none, so nobody has it");
            return Err(Denial::new(Reason::ScopeInvalid, sentence)
                .with_detail(format!("there is no scopes/{name}.json")));
        }
        // The schema's message may hold names that the caller chose, so the log gets none of it.
        found.arguments.clone().map_err(|message| {
            Denial::bad_request(message)
                .with_detail("the arguments do not fit the handler's schema")
        })
    }

    /// How many handlers it came through is how it got here, and not what it asks.
    fn spell(ask: &CustomAsk, _: &CustomTerms, words: &mut Words) {
        words.say("call").say(ask.handler.as_str()).quote(&ask.args);
    }
}

//! From a request to a permit, and from a permit and a finding to a confirmation.
//!
//! [`decide`] is the first half of a decision: may this caller ask for this at all.
//! [`Permit::confirm`] is the second: is what the handler found, before it had any effect, what
//! was allowed. Only this module makes a [`Permit`] or a [`Confirmed`], and neither can be
//! cloned, so a handler that takes one acts once, on a request that was allowed.

pub(crate) mod custom;
pub(crate) mod env_read;
pub(crate) mod file_read;
pub(crate) mod file_write;
pub(crate) mod network;
mod place;
pub(crate) mod terminal;

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use crate::compile::{Rights, Scopes};
use crate::conditions::Conditions;
use crate::denial::{Denial, Remedy};
use crate::exact::{ExactRequest, Words};
use crate::ids::ComponentId;
use crate::permission::PermissionName;
use crate::reason::Reason;
use crate::rules::Slot;
use crate::set::{Entry, PolicySet};
use crate::stamp::{PolicyHash, UnixMillis};
use sealed::Judge;

/// What a handler found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    /// A FIFO, a socket or a device: never opened.
    Other,
}

/// A thing a component may ask for, as a type: one of the five, or a custom handler's answer.
pub trait Capability: Judge {
    /// The permission that it takes.
    fn permission(ask: &Self::Ask) -> PermissionName;

    /// The name of what is asked, for the audit record.
    fn action(ask: &Self::Ask) -> &'static str;

    /// What it is asked of, for the audit record. Nothing in it is secret: a URL comes without
    /// its query, a command without its arguments.
    fn target(ask: &Self::Ask) -> Cow<'_, str>;

    /// What a record needs beside the target so that the request can be judged again, with the
    /// name under which it stands there; no secret either.
    fn particular(_: &Self::Ask) -> Option<(&'static str, &str)> {
        None
    }

    /// Whether being allowed this is a use of the permission, which counts for `max_uses` and
    /// `rate_per_minute`. A question about the policy itself is none.
    fn is_use(_: &Self::Ask) -> bool {
        true
    }
}

pub(crate) mod sealed {
    use super::{ComponentId, Debug, Denial, Remedy, Rights, Scopes, Slot, Words};

    /// How a capability is judged. The module is private, so nobody adds a capability that says
    /// yes.
    pub trait Judge: Debug + Sized + 'static {
        /// What a component asks.
        type Ask: Clone + Debug + Send + Sync;
        /// What the policy picked for the handler to go by.
        type Terms: Debug + Send + Sync;
        /// What the handler found before any effect.
        type Found: Debug + Send + Sync;
        /// What the handler acts on.
        type Confirmed: Debug + Send + Sync;
        type Rule;

        /// Whether the admin is asked about it, where a grant says so. A mere question about the
        /// component's own grant has no effect that anybody could want to allow.
        const IS_ASKED_ABOUT: bool = true;

        /// What the component has of it; nothing where its grant does not name it.
        fn slot<'a>(rights: &'a Rights, ask: &Self::Ask) -> Option<&'a Slot<Self::Rule>>;

        fn ask(
            caller: &ComponentId,
            rule: &std::sync::Arc<Self::Rule>,
            ask: &Self::Ask,
        ) -> Result<Self::Terms, Denial>;

        /// The command that would allow this to a component that has nothing, unless the
        /// scopes forbid it to everybody.
        fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &Self::Ask) -> Option<Remedy>;

        fn confirm(
            caller: &ComponentId,
            ask: &Self::Ask,
            terms: &Self::Terms,
            found: &Self::Found,
        ) -> Result<Self::Confirmed, Denial>;

        /// All of the request, and of the terms what decides what becomes of it.
        fn spell(ask: &Self::Ask, terms: &Self::Terms, words: &mut Words);
    }
}

/// Proof that a request was allowed. Whoever holds it may look, and then must [`confirm`](Self::confirm).
#[derive(Debug)]
pub struct Permit<C: Capability> {
    case: Case<C>,
}

/// Proof that what was found is what was allowed. Whoever holds it may act.
#[derive(Debug)]
pub struct Confirmed<C: Capability> {
    case: Case<C>,
    facts: C::Confirmed,
}

#[derive(Debug)]
struct Case<C: Capability> {
    component: ComponentId,
    ask: C::Ask,
    terms: C::Terms,
    conditions: Option<Arc<Conditions>>,
    rights: Arc<Rights>,
    policy: PolicyHash,
    decided_at: UnixMillis,
}

macro_rules! case_accessors {
    () => {
        pub fn component(&self) -> &ComponentId {
            &self.case.component
        }

        pub fn ask(&self) -> &C::Ask {
            &self.case.ask
        }

        pub fn terms(&self) -> &C::Terms {
            &self.case.terms
        }

        /// Name of the grant file that allowed it.
        pub fn grant(&self) -> &str {
            &self.case.rights.file
        }

        /// What the grant says about the use of it.
        pub fn conditions(&self) -> &Conditions {
            self.case
                .conditions
                .as_deref()
                .unwrap_or(Conditions::none())
        }

        /// The policy it was allowed under.
        pub fn policy(&self) -> PolicyHash {
            self.case.policy
        }

        pub fn decided_at(&self) -> UnixMillis {
            self.case.decided_at
        }
    };
}

impl<C: Capability> Permit<C> {
    case_accessors!();

    /// The whole request, which no other has.
    pub fn exact_request(&self) -> ExactRequest {
        let mut words = Words::new();
        C::spell(&self.case.ask, &self.case.terms, &mut words);
        words.finish()
    }

    /// What the admin has to be asked before anybody acts on this; nothing where the grant does
    /// not say so, or where it keeps his answer to exactly this.
    pub fn question(&self) -> Option<ExactRequest> {
        let conditions = self.conditions();
        if !conditions.ask() || !C::IS_ASKED_ABOUT {
            return None;
        }
        let exact = self.exact_request();
        (!exact.is_among(conditions.always())).then_some(exact)
    }

    /// Judges what the handler found.
    pub fn confirm(self, found: &C::Found) -> Result<Confirmed<C>, Denial> {
        let case = self.case;
        let facts = C::confirm(&case.component, &case.ask, &case.terms, found)?;
        Ok(Confirmed { case, facts })
    }
}

impl<C: Capability> Confirmed<C> {
    case_accessors!();

    pub fn facts(&self) -> &C::Confirmed {
        &self.facts
    }
}

/// Whether this caller may ask for this. A pure function of its arguments.
pub fn decide<C: Capability>(
    set: &PolicySet,
    caller: &ComponentId,
    ask: C::Ask,
    now: UnixMillis,
) -> Result<Permit<C>, Denial> {
    let rights = match set.entry(caller) {
        Some(Entry::Valid(rights)) => rights,
        Some(Entry::Invalid) => {
            return Err(Denial::new(
                Reason::GrantInvalid,
                "the grant of this component cannot be read; its admin has to put it right",
            ));
        }
        None => return Err(missing::<C>(set, caller, &ask)),
    };
    let (rule, conditions) = match C::slot(rights, &ask) {
        Some(Slot::Ready(rule, conditions)) => (rule, conditions),
        Some(Slot::Missing) | None => return Err(missing::<C>(set, caller, &ask)),
        Some(Slot::Disabled) => {
            // No remedy: switching it on would also bring back everything else it lists.
            let sentence = format!(
                "`{}` is switched off for this component",
                C::permission(&ask)
            );
            return Err(Denial::new(Reason::Disabled, sentence));
        }
        Some(Slot::ScopeInvalid) => {
            let sentence = format!(
                "`{}` has no valid scope, so nobody has it",
                C::permission(&ask)
            );
            return Err(Denial::new(Reason::ScopeInvalid, sentence));
        }
    };
    if let Some(conditions) = conditions {
        conditions.check_time(now, || C::permission(&ask))?;
    }
    let terms = C::ask(caller, rule, &ask)?;
    let case = Case {
        component: caller.clone(),
        ask,
        terms,
        conditions: conditions.clone(),
        rights: rights.clone(),
        policy: set.hash(),
        decided_at: now,
    };
    Ok(Permit { case })
}

fn missing<C: Capability>(set: &PolicySet, caller: &ComponentId, ask: &C::Ask) -> Denial {
    let sentence = format!("this component has no grant for `{}`", C::permission(ask));
    Denial::new(Reason::NoGrant, sentence).with_remedy(C::remedy(set.scopes(), caller, ask))
}

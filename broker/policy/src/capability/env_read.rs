//! Reading environment keys.

use std::borrow::Cow;
use std::sync::Arc;

use super::Capability;
use super::sealed::Judge;
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::ids::{ComponentId, EnvKey};
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::{EnvLimits, EnvRule, Slot};

/// Marker of the permission `env_read`.
#[derive(Debug)]
pub enum EnvRead {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvReadAsk {
    One(EnvKey),
    /// All granted keys that exist.
    All,
}

/// Which keys may be looked up.
#[derive(Debug)]
pub struct EnvTerms {
    rule: Arc<EnvRule>,
    one: Option<EnvKey>,
}

impl EnvTerms {
    /// The one key that was asked for, or all that are granted and not forbidden.
    pub fn keys(&self) -> impl Iterator<Item = &EnvKey> {
        let all: &[EnvKey] = if self.one.is_none() {
            &self.rule.keys
        } else {
            &[]
        };
        self.one
            .iter()
            .chain(all)
            .filter(|key| self.rule.limits.forbids(key).is_none())
    }

    pub fn contains(&self, key: &EnvKey) -> bool {
        self.keys().any(|allowed| allowed == key)
    }

    pub fn max_bytes(&self) -> u64 {
        self.rule.max_bytes.value
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvFound {
    /// Length of all values together.
    pub bytes: u64,
}

impl Capability for EnvRead {
    fn permission(_: &EnvReadAsk) -> PermissionName {
        Permission::EnvRead.into()
    }

    fn action(ask: &EnvReadAsk) -> &'static str {
        match ask {
            EnvReadAsk::One(_) => "read",
            EnvReadAsk::All => "list",
        }
    }

    fn target(ask: &EnvReadAsk) -> Cow<'_, str> {
        match ask {
            EnvReadAsk::One(key) => key.as_str().into(),
            EnvReadAsk::All => "*".into(),
        }
    }
}

impl Judge for EnvRead {
    type Ask = EnvReadAsk;
    type Terms = EnvTerms;
    type Found = EnvFound;
    type Confirmed = ();
    type Rule = EnvRule;

    fn slot<'a>(rights: &'a Rights, _: &EnvReadAsk) -> Option<&'a Slot<EnvRule>> {
        Some(&rights.env_read)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<EnvRule>,
        ask: &EnvReadAsk,
    ) -> Result<EnvTerms, Denial> {
        let one = match ask {
            EnvReadAsk::All => None,
            EnvReadAsk::One(key) => {
                if let Some(entry) = rule.limits.forbids(key) {
                    let sentence = format!("the key `{key}` is out of bounds for every component");
                    return Err(Denial::new(Reason::ForbiddenByScope, sentence)
                        .with_detail(format!("`{entry}` is forbidden to all by the scope")));
                }
                if rule.keys.binary_search(key).is_err() {
                    let sentence = format!("the key `{key}` was not granted to this component");
                    return Err(Denial::new(Reason::KeyNotAllowed, sentence)
                        .with_remedy(grant_of(caller, &rule.limits, ask)));
                }
                Some(key.clone())
            }
        };
        let terms = EnvTerms {
            rule: rule.clone(),
            one,
        };
        if terms.keys().next().is_none() {
            let sentence = "no key was granted to this component";
            return Err(Denial::new(Reason::KeyNotAllowed, sentence));
        }
        Ok(terms)
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &EnvReadAsk) -> Option<Remedy> {
        grant_of(caller, &scopes.env()?.limits, ask)
    }

    fn confirm(
        _: &ComponentId,
        _: &EnvReadAsk,
        terms: &EnvTerms,
        found: &EnvFound,
    ) -> Result<(), Denial> {
        let most = terms.rule.max_bytes;
        if found.bytes > most.value {
            let sentence = format!("environment values come to at most {} bytes", most.value);
            return Err(Denial::new(most.reason, sentence));
        }
        Ok(())
    }

    fn spell(ask: &EnvReadAsk, terms: &EnvTerms, words: &mut Words) {
        match ask {
            EnvReadAsk::One(key) => words.say("read").quote(key.as_str()),
            // What is granted meanwhile was not in the question.
            EnvReadAsk::All => terms
                .keys()
                .fold(words.say("list"), |words, key| words.quote(key.as_str())),
        };
    }
}

impl EnvLimits {
    fn forbids(&self, key: &EnvKey) -> Option<&str> {
        self.forbidden
            .iter()
            .find(|entry| entry.matches(key))
            .map(|entry| entry.as_str())
    }
}

/// Nothing narrow answers a wish for all keys, so that one has no remedy.
fn grant_of(caller: &ComponentId, limits: &EnvLimits, ask: &EnvReadAsk) -> Option<Remedy> {
    match ask {
        EnvReadAsk::One(key) if limits.forbids(key).is_none() => Some(Remedy::grant_add(
            caller,
            Permission::EnvRead,
            [key.to_string()],
        )),
        _ => None,
    }
}

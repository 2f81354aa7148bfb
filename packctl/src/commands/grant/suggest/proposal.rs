//! Denials merged into changes of grant files, each of which is proven to admit what was denied.

use std::collections::BTreeMap;

use rumi_policy::{
    ComponentId, HandlerName, PolicySet, PolicySource, SourceFile, UnixMillis, edit::EditError,
};
use serde::Serialize;

use super::super::{history::Verdict, lines};
use super::{
    denials::{Denials, Denied, Key, Seen},
    lift::{self, Addition},
};
use crate::{diff, judging::Judgement};

/// Entries that one file is proposed to gain. A pack that asks for thousands of files needs a
/// directory, or nothing.
const MOST_ENTRIES: usize = 100;

/// What is proposed, and what is not.
#[derive(Debug, Serialize)]
pub(in crate::commands::grant) struct Proposal {
    pub(in crate::commands::grant) changes: Vec<FileChange>,
    pub(in crate::commands::grant) left: Vec<Left>,
    /// Requests that would be allowed by now.
    pub(in crate::commands::grant) granted_since: u64,
    /// Denials that were not looked at, because there are too many different ones.
    pub(in crate::commands::grant) beyond: u64,
    pub(in crate::commands::grant) applied: bool,
}

/// A change of one grant file.
#[derive(Debug, Serialize)]
pub(in crate::commands::grant) struct FileChange {
    pub(in crate::commands::grant) component: ComponentId,
    pub(in crate::commands::grant) file: String,
    pub(in crate::commands::grant) diff: Vec<String>,
    pub(in crate::commands::grant) admits: Vec<Admits>,
    #[serde(skip)]
    pub(in crate::commands::grant) additions: Vec<Addition>,
}

/// What one line of a change admits.
#[derive(Debug, Serialize)]
pub(in crate::commands::grant) struct Admits {
    pub(in crate::commands::grant) permission: String,
    pub(in crate::commands::grant) list: &'static str,
    pub(in crate::commands::grant) value: String,
    /// Of the file as it would be.
    pub(in crate::commands::grant) line: Option<usize>,
    pub(in crate::commands::grant) admits: String,
    #[serde(flatten)]
    pub(in crate::commands::grant) seen: Seen,
}

impl Admits {
    /// The line it stands on in the new text, and in the old one.
    fn line_in(&self, new: &str, old: &str) -> (Option<usize>, Option<usize>) {
        if self.list.is_empty() {
            let of = |text| lines::line_of(text, &self.value, None);
            return (of(new), of(old));
        }
        // A host stands without its port where that is the grant's own.
        let bare = self.value.rsplit_once(':').map(|(host, _)| host);
        let ported = format!("{}:443", self.value);
        let spellings = [Some(self.value.as_str()), bare, Some(ported.as_str())];
        let of = |text, value| lines::line_of(text, &self.permission, Some((self.list, value)));
        let spelled = spellings.into_iter().flatten();
        let mut found = spelled.filter_map(|value| Some((Some(of(new, value)?), of(old, value))));
        found.next().unwrap_or((None, None))
    }
}

/// A denial that no change lifts.
#[derive(Debug, Serialize)]
pub(in crate::commands::grant) struct Left {
    #[serde(flatten)]
    pub(in crate::commands::grant) key: Key,
    pub(in crate::commands::grant) reason: String,
    #[serde(flatten)]
    pub(in crate::commands::grant) seen: Seen,
    pub(in crate::commands::grant) why: String,
}

/// Merges the denials, one component after the other.
pub(in crate::commands::grant) fn propose(
    denials: Denials,
    source: &PolicySource,
    is_handler: &dyn Fn(&HandlerName) -> bool,
    now: UnixMillis,
) -> Proposal {
    let mut proposal = Proposal {
        changes: Vec::new(),
        left: Vec::new(),
        granted_since: 0,
        beyond: denials.beyond,
        applied: false,
    };
    let mut by_component: BTreeMap<String, Vec<Denied>> = BTreeMap::new();
    for denied in denials.distinct {
        let of = by_component.entry(denied.key.component.clone());
        of.or_default().push(denied);
    }
    for (component, denied) in by_component {
        match component.parse::<ComponentId>() {
            Ok(component) => {
                Draft::new(component, source, is_handler, now).take_all(denied, &mut proposal)
            }
            Err(error) => {
                let why = error.to_string();
                proposal
                    .left
                    .extend(denied.into_iter().map(|one| left(one, why.clone())));
            }
        }
    }
    proposal
}

fn left(denied: Denied, why: String) -> Left {
    Left {
        key: denied.key,
        reason: denied.reason,
        seen: denied.seen,
        why,
    }
}

/// The grant file of one component as it grows.
struct Draft<'a> {
    component: ComponentId,
    name: String,
    before: Option<Vec<u8>>,
    bytes: Option<Vec<u8>>,
    set: PolicySet,
    source: &'a PolicySource,
    is_handler: &'a dyn Fn(&HandlerName) -> bool,
    now: UnixMillis,
    additions: Vec<Addition>,
    admits: Vec<Admits>,
}

/// What became of a denial.
enum Taken {
    Lifted,
    GrantedSince,
    Left(String),
}

impl<'a> Draft<'a> {
    fn new(
        component: ComponentId,
        source: &'a PolicySource,
        is_handler: &'a dyn Fn(&HandlerName) -> bool,
        now: UnixMillis,
    ) -> Self {
        let name = component.grant_file();
        let file = source.grants.iter().find(|file| file.name == name);
        let before = file.map(|file| file.bytes.clone());
        Self {
            set: set(source, &name, before.as_deref()),
            bytes: before.clone(),
            component,
            name,
            before,
            source,
            is_handler,
            now,
            additions: Vec::new(),
            admits: Vec::new(),
        }
    }

    fn take_all(mut self, denied: Vec<Denied>, proposal: &mut Proposal) {
        for one in denied {
            match self.take(&one) {
                Taken::Lifted => {}
                Taken::GrantedSince => proposal.granted_since += one.seen.count,
                Taken::Left(why) => proposal.left.push(left(one, why)),
            }
        }
        proposal.changes.extend(self.finish());
    }

    fn take(&mut self, denied: &Denied) -> Taken {
        let Some(question) = &denied.question else {
            return Taken::Left(
                lift::no_grant_lifts(&denied.reason)
                    .unwrap_or("the record does not hold the whole of the request")
                    .to_owned(),
            );
        };
        // What was found will be found again, whatever the grant says by then.
        if denied.verdict == Verdict::TakenBack
            && let Some(why) = lift::no_grant_lifts(&denied.reason)
        {
            return Taken::Left(why.to_owned());
        }
        let denial = match question.judge(&self.set, &self.component, self.now) {
            Judgement::Denied(denial) => denial,
            Judgement::Untold(why) => return Taken::Left(format!("it cannot be told: {why}")),
            // The policy alone allows it, and what was found there did not.
            Judgement::Allowed
                if denied.verdict == Verdict::TakenBack
                    // Which commands are allowed is judged here as it was there.
                    && denied.reason != "command_not_allowed" =>
            {
                let why = "the path leads elsewhere than it says; what it leads to may be granted by its own name";
                return Taken::Left(why.to_owned());
            }
            Judgement::Allowed => return self.admitted(question, denied),
        };
        let addition = match lift::lift(question, &denial) {
            Ok(addition) => addition,
            Err(why) => return Taken::Left(why),
        };
        if let Addition::Handler(handler) = &addition
            && !(self.is_handler)(handler)
        {
            return Taken::Left(format!(
                "there is no docker/handlers/{handler}.py, so that a grant of it gives nothing"
            ));
        }
        if self.admits.len() >= MOST_ENTRIES {
            return Taken::Left(format!(
                "more than {MOST_ENTRIES} new entries; grant a directory by hand, or narrow with `--since`"
            ));
        }
        match self.add(question, &addition) {
            Ok(()) => {
                self.count(&addition, denied);
                Taken::Lifted
            }
            Err(why) => Taken::Left(why),
        }
    }

    /// Allowed by today's files, or by what is proposed already.
    fn admitted(&mut self, question: &crate::asking::Question, denied: &Denied) -> Taken {
        if self.additions.is_empty() {
            return Taken::GrantedSince;
        }
        let before = set(self.source, &self.name, self.before.as_deref());
        let Judgement::Denied(denial) = question.judge(&before, &self.component, self.now) else {
            return Taken::GrantedSince;
        };
        if let Ok(addition) = lift::lift(question, &denial) {
            self.count(&addition, denied);
        }
        Taken::Lifted
    }

    /// Takes the addition in if the request is allowed with it: a proposal that does not help
    /// would only widen.
    fn add(
        &mut self,
        question: &crate::asking::Question,
        addition: &Addition,
    ) -> Result<(), String> {
        let edited = addition
            .apply(self.bytes.as_deref(), &self.component)
            .map_err(|error| match error {
                EditError::File(problem) => {
                    format!("its grant is not valid: {}", problem.message)
                }
                other => other.to_string(),
            })?;
        let set = set(self.source, &self.name, Some(&edited.bytes));
        match question.judge(&set, &self.component, self.now) {
            Judgement::Allowed => {
                self.bytes = Some(edited.bytes);
                self.set = set;
                self.additions.push(addition.clone());
                Ok(())
            }
            Judgement::Untold(why) => Err(format!("it cannot be told: {why}")),
            Judgement::Denied(denial) => {
                let known = lift::no_grant_lifts(denial.reason.as_str());
                let known = known.unwrap_or("an entry of its own would not lift it");
                let why = denial.detail.as_deref().unwrap_or(&denial.sentence);
                Err(format!("{known} ({}: {why})", denial.reason))
            }
        }
    }

    fn count(&mut self, addition: &Addition, denied: &Denied) {
        let permission = addition.permission().to_string();
        for entry in addition.entries() {
            let known = self.admits.iter_mut().find(|known| {
                known.permission == permission
                    && known.list == entry.list
                    && known.value == entry.value
            });
            match known {
                Some(known) => known.seen.merge(&denied.seen),
                None => self.admits.push(Admits {
                    permission: permission.clone(),
                    list: entry.list,
                    value: entry.value,
                    line: None,
                    admits: entry.admits,
                    seen: denied.seen.clone(),
                }),
            }
        }
    }

    fn finish(mut self) -> Option<FileChange> {
        let bytes = self.bytes.filter(|_| !self.additions.is_empty())?;
        let old = String::from_utf8_lossy(self.before.as_deref().unwrap_or_default()).into_owned();
        let new = String::from_utf8_lossy(&bytes).into_owned();
        self.admits.retain_mut(|one| {
            let (line, before) = one.line_in(&new, &old);
            one.line = line;
            // What was there before is no line of this change.
            before.is_none()
        });
        Some(FileChange {
            component: self.component,
            file: format!("grants/{}", self.name),
            diff: diff::unified(&diff::lines(&old, &new)),
            admits: self.admits,
            additions: self.additions,
        })
    }
}

/// A policy of the scopes and this one grant.
fn set(source: &PolicySource, name: &str, bytes: Option<&[u8]>) -> PolicySet {
    let grants = bytes.map(|bytes| SourceFile {
        name: name.to_owned(),
        bytes: bytes.to_vec(),
    });
    PolicySet::compile(PolicySource {
        grants: grants.into_iter().collect(),
        scopes: source.scopes.clone(),
        protected: source.protected.clone(),
    })
}

impl Proposal {
    pub(in crate::commands::grant) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

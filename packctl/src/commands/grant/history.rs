//! What the log says was decided: one request for each id, whether it was refused at once or taken
//! back for what was found.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rumi_audit::query::{self, Filter, Record};
use rumi_policy::{ComponentId, UnixMillis};
use serde_json::Value;

use crate::{
    asking::Question, commands::audit::unreadable, failure::Failure, moment::Moment, recorded,
};

/// How a request was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Allowed,
    /// By the policy alone.
    Refused,
    /// The policy had allowed it, and what the handler found was refused.
    TakenBack,
}

/// One request, as its records tell it.
#[derive(Debug)]
pub(super) struct Request {
    /// The record that decided.
    pub(super) fields: Value,
    pub(super) verdict: Verdict,
    /// The detail of the record that had allowed what was taken back.
    first: Option<Value>,
}

impl Request {
    /// A field that is text.
    pub(super) fn text(&self, name: &str) -> &str {
        let text = self.fields.get(name).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    /// A member of the detail that is text.
    pub(super) fn detail(&self, name: &str) -> Option<&str> {
        let own = self.fields.get("detail").and_then(|own| own.get(name));
        own.or_else(|| self.first.as_ref()?.get(name))?.as_str()
    }

    /// The target; what is no text stays in the form it was recorded in.
    pub(super) fn target(&self) -> String {
        match self.fields.get("target") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// What of the request stands beside its target.
    pub(super) fn particular(&self) -> Option<&str> {
        self.detail("to").or_else(|| self.detail("program"))
    }

    pub(super) fn component(&self) -> Option<ComponentId> {
        self.text("component").parse().ok()
    }

    pub(super) fn at(&self) -> UnixMillis {
        let moment = Moment::parse(self.text("time"), Moment::from_unix_ms(0));
        let ms = moment.map_or(0, Moment::unix_ms);
        UnixMillis(u64::try_from(ms).unwrap_or(0))
    }

    pub(super) fn question(&self) -> Option<Question> {
        recorded::question(&self.fields, self.first.as_ref())
    }
}

/// The decisions of a log that a filter lets through.
#[derive(Debug)]
pub(super) struct History {
    directory: PathBuf,
    filter: Filter,
    /// Ids of requests that were allowed and then taken back.
    taken_back: HashSet<String>,
}

impl History {
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn open(directory: PathBuf, filter: Filter) -> Result<Self, Failure> {
        let filter = Filter {
            phase: Some("decision".to_owned()),
            ..filter
        };
        let denials = Filter {
            decision: Some("deny".to_owned()),
            ..filter.clone()
        };
        let mut taken_back = HashSet::new();
        for record in query::scan(&directory, &denials).map_err(unreadable)? {
            let Record { fields, .. } = record.map_err(unreadable)?;
            // Only what had been allowed rests on a grant.
            if fields.get("grant").is_some() {
                taken_back.insert(id(&fields));
            }
        }
        Ok(Self {
            directory,
            filter,
            taken_back,
        })
    }

    /// Goes through all requests, the oldest first.
    ///
    /// # Errors
    /// When the log cannot be read, or `take` fails.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(Request) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut waiting: HashMap<String, Value> = HashMap::new();
        for record in query::scan(&self.directory, &self.filter).map_err(unreadable)? {
            let Record { fields, .. } = record.map_err(unreadable)?;
            let allowed = fields.get("decision").and_then(Value::as_str) == Some("allow");
            let (verdict, first) = if !self.taken_back.contains(&id(&fields)) {
                match allowed {
                    true => (Verdict::Allowed, None),
                    false => (Verdict::Refused, None),
                }
            } else if allowed {
                if let Some(detail) = fields.get("detail") {
                    waiting.insert(id(&fields), detail.clone());
                }
                continue;
            } else {
                (Verdict::TakenBack, waiting.remove(&id(&fields)))
            };
            take(Request {
                fields,
                verdict,
                first,
            })?;
        }
        Ok(())
    }
}

fn id(fields: &Value) -> String {
    let id = fields.get("id").and_then(Value::as_str);
    id.unwrap_or_default().to_owned()
}

/// A filter for one component, or all, since some time, or always.
pub(super) fn filter(since: Option<Moment>, component: Option<&ComponentId>) -> Filter {
    Filter {
        since: since.map(system_time),
        component: component.map(ToString::to_string),
        ..Filter::default()
    }
}

fn system_time(moment: Moment) -> SystemTime {
    // No record is older than the epoch.
    UNIX_EPOCH + Duration::from_millis(u64::try_from(moment.unix_ms()).unwrap_or(0))
}

//! When, how often and with whose consent a permission may be used, whatever else it allows.

use serde::Serialize;

use crate::denial::Denial;
use crate::exact::LONGEST_KEPT;
use crate::grant::Wish;
use crate::json::{Fields, JsonError};
use crate::permission::PermissionName;
use crate::reason::Reason;
use crate::stamp::UnixMillis;
use crate::timestamp::Timestamp;

/// The most that `rate_per_minute` may say. Nothing here is used more often.
const MAX_RATE: u32 = 1_000_000;

/// What a grant says about the use of one permission. Without any, it may be used at all times,
/// without end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_uses: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ask: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    always: Vec<String>,
}

impl Conditions {
    /// Their names in a grant. No configuration of a handler has keys that are called so.
    pub const KEYS: [&'static str; 6] = [
        "not_before",
        "expires_at",
        "max_uses",
        "rate_per_minute",
        "ask",
        "always",
    ];

    const NONE: Self = Self {
        not_before: None,
        expires_at: None,
        max_uses: None,
        rate_per_minute: None,
        ask: false,
        always: Vec::new(),
    };

    /// No condition at all.
    pub fn none() -> &'static Self {
        static NONE: Conditions = Conditions::NONE;
        &NONE
    }

    /// Takes the conditions out of a permission. A pack wishes for none: they are the admin's.
    pub(crate) fn read(fields: &mut Fields, wish: Wish) -> Result<Self, JsonError> {
        if wish == Wish::Wished {
            return Ok(Self::NONE);
        }
        let conditions = Self {
            not_before: timestamp(fields, "not_before")?,
            expires_at: timestamp(fields, "expires_at")?,
            max_uses: fields.number("max_uses", u64::MAX)?,
            rate_per_minute: fields.small_number("rate_per_minute", MAX_RATE)?,
            ask: match fields.take("ask") {
                None => false,
                Some(node) => fields.bool("ask", node)?,
            },
            always: requests(fields)?,
        };
        if let (Some(begin), Some(end)) = (&conditions.not_before, &conditions.expires_at)
            && begin.millis() >= end.millis()
        {
            let message = format!("this is not after `not_before` (`{begin}`), so it never holds");
            return Err(fields.error("expires_at", message));
        }
        Ok(conditions)
    }

    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    pub fn not_before(&self) -> Option<&Timestamp> {
        self.not_before.as_ref()
    }

    pub fn expires_at(&self) -> Option<&Timestamp> {
        self.expires_at.as_ref()
    }

    /// The most uses that there may be in all.
    pub fn max_uses(&self) -> Option<u64> {
        self.max_uses
    }

    /// The most uses that there may be within any minute.
    pub fn rate_per_minute(&self) -> Option<u32> {
        self.rate_per_minute
    }

    /// Whether the admin is asked before each use.
    pub fn ask(&self) -> bool {
        self.ask
    }

    /// Exact requests that the admin is no longer asked about.
    pub fn always(&self) -> &[String] {
        &self.always
    }

    /// Whether uses have to be counted.
    pub fn counts_uses(&self) -> bool {
        self.max_uses.is_some() || self.rate_per_minute.is_some()
    }

    /// The refusal of a use that could not be counted. What cannot be counted is taken for used up.
    pub fn uncountable(&self, permission: &PermissionName) -> Denial {
        let reason = match self.max_uses {
            Some(_) => Reason::Exhausted,
            None => Reason::RateLimited,
        };
        let sentence = format!("uses of `{permission}` cannot be counted, so none is allowed");
        Denial::new(reason, sentence)
    }

    /// Whether the permission may be used at this time, as far as times are concerned.
    pub fn holds_at(&self, now: UnixMillis) -> bool {
        let begun = self.not_before.as_ref().is_none_or(|at| now >= at.millis());
        begun && self.expires_at.as_ref().is_none_or(|at| now < at.millis())
    }

    /// Whether this is a time at which the permission may be used.
    pub(crate) fn check_time(
        &self,
        now: UnixMillis,
        permission: impl FnOnce() -> PermissionName,
    ) -> Result<(), Denial> {
        if let Some(begin) = self.not_before.as_ref().filter(|at| now < at.millis()) {
            let sentence = format!("`{}` may not be used yet", permission());
            return Err(Denial::new(Reason::NotYetValid, sentence)
                .with_detail(format!("the grant begins at {begin}")));
        }
        if let Some(end) = self.expires_at.as_ref().filter(|at| now >= at.millis()) {
            let sentence = format!("the grant of `{}` has expired", permission());
            return Err(Denial::new(Reason::Expired, sentence)
                .with_detail(format!("the grant ended at {end}")));
        }
        Ok(())
    }
}

fn timestamp(fields: &mut Fields, key: &'static str) -> Result<Option<Timestamp>, JsonError> {
    let Some(node) = fields.take(key) else {
        return Ok(None);
    };
    let text = fields.text(key, node)?;
    let parsed = text.parse::<Timestamp>();
    parsed
        .map(Some)
        .map_err(|error| fields.error(key, error.to_string()))
}

fn requests(fields: &mut Fields) -> Result<Vec<String>, JsonError> {
    let list: Vec<String> = fields.list("always")?.unwrap_or_default();
    let fits = |request: &String| (1..=LONGEST_KEPT).contains(&request.len());
    match list.iter().position(|request| !fits(request)) {
        None => Ok(list),
        Some(at) => {
            let message = format!("an exact request has 1 to {LONGEST_KEPT} bytes");
            Err(fields.error(&format!("always[{at}]"), message))
        }
    }
}

//! How often a permission was used, and whether it may be used once more.

use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;
use crate::denial::{Denial, Remedy};
use crate::ids::ComponentId;
use crate::permission::PermissionName;
use crate::reason::Reason;
use crate::stamp::UnixMillis;

/// Seconds that are told apart. A minute that begins within a second touches one more than 60, and
/// all that happened in any second it touches is counted: no minute ever has more uses than it may.
const SECONDS: usize = 61;
const MINUTE_MS: u64 = 60_000;

/// The uses of one permission of one component. A use is a decision that allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Uses {
    total: u64,
    /// When it was used last.
    latest: u64,
    /// Uses in the second of the last one, in the second before it, and so on.
    seconds: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    total: u64,
    latest: u64,
    seconds: Vec<u64>,
}

impl TryFrom<Written> for Uses {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written {
            total,
            latest,
            seconds,
        } = written;
        if seconds.len() > SECONDS {
            return Err("more seconds than there are in a minute");
        }
        if sum(&seconds) > total {
            return Err("more uses within a minute than in all");
        }
        Ok(Self {
            total,
            latest,
            seconds,
        })
    }
}

impl Uses {
    /// All uses since they were counted first, or anew.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When it was used last, if ever.
    pub fn latest(&self) -> Option<UnixMillis> {
        (self.total > 0).then_some(UnixMillis(self.latest))
    }

    /// These uses with one more, now; a pure function of its arguments.
    ///
    /// # Errors
    /// When the conditions allow no further one.
    pub fn once_more(
        &self,
        conditions: &Conditions,
        component: &ComponentId,
        permission: &PermissionName,
        now: UnixMillis,
    ) -> Result<Self, Denial> {
        if let Some(most) = conditions.max_uses()
            && self.total >= most
        {
            let sentence = format!("the grant of `{permission}` is used up");
            let remedy = Remedy::one_more_use(component, permission, self.total.saturating_add(1));
            return Err(Denial::new(Reason::Exhausted, sentence)
                .with_detail(format!("it was used {} of {most} times", self.total))
                .with_remedy(Some(remedy)));
        }
        let mut seconds = self.seconds_before(now);
        if let Some(most) = conditions.rate_per_minute()
            && sum(&seconds) >= u64::from(most)
        {
            let sentence = format!(
                "the grant of `{permission}` is used up for this minute; try again in {} s",
                patience(&seconds, u64::from(most))
            );
            return Err(Denial::new(Reason::RateLimited, sentence)
                .with_detail(format!("it may be used {most} times a minute")));
        }
        match seconds.first_mut() {
            Some(second) => *second = second.saturating_add(1),
            None => seconds.push(1),
        }
        while seconds.last() == Some(&0) {
            seconds.pop();
        }
        Ok(Self {
            total: self.total.saturating_add(1),
            latest: self.follows(now),
            seconds,
        })
    }

    /// The time of a use that comes now. Of two at once the later may be counted first, and a use
    /// must not make those before it older than they are: so a clock that was put back by less than
    /// a minute is taken to stand still.
    fn follows(&self, now: UnixMillis) -> u64 {
        let back = self.latest.saturating_sub(now.0);
        if back < MINUTE_MS {
            self.latest.max(now.0)
        } else {
            now.0
        }
    }

    /// The seconds of the last minute, this one first. A clock that was put far back makes the
    /// last uses as if they were of now, so that none is forgotten and each is forgotten in the end.
    fn seconds_before(&self, now: UnixMillis) -> Vec<u64> {
        let passed = (now.0 / 1000).saturating_sub(self.latest / 1000);
        let passed = usize::try_from(passed).unwrap_or(SECONDS).min(SECONDS);
        let quiet = std::iter::repeat_n(0, passed);
        quiet
            .chain(self.seconds.iter().copied())
            .take(SECONDS)
            .collect()
    }
}

fn sum(seconds: &[u64]) -> u64 {
    seconds
        .iter()
        .fold(0, |sum, more| sum.saturating_add(*more))
}

/// Seconds until there is room again.
fn patience(seconds: &[u64], most: u64) -> usize {
    let mut left = 0_u64;
    for (age, uses) in seconds.iter().enumerate() {
        left = left.saturating_add(*uses);
        if left >= most {
            return SECONDS.saturating_sub(age);
        }
    }
    0
}

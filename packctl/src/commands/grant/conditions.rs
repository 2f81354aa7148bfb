//! The conditions of a grant on a command line: when and how often it may be used.

use std::str::FromStr;

use rumi_policy::{
    Timestamp, UnixMillis,
    edit::{ConditionsChange, Setting},
};

use crate::{
    console::Console,
    moment::{Moment, span_ms},
};

/// What takes a condition out again.
const NONE: &str = "none";

/// The options of `grant add` that say when and how often.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// When the permission ends: in `2h` or `30d`, or at a time (`2030-01-31T12:00:00Z`)
    #[arg(long, value_name = "WHEN|none")]
    expires: Option<Choice<When>>,

    /// When the permission begins, written in the same way
    #[arg(long, value_name = "WHEN|none")]
    not_before: Option<Choice<When>>,

    /// How often the permission may be used in all; `packctl grant reset` counts anew
    #[arg(long, value_name = "N|none")]
    max_uses: Option<Choice<Times>>,

    /// How often the permission may be used within a minute
    #[arg(long, value_name = "N/min|none")]
    rate: Option<Choice<Rate>>,

    /// Have each use wait for an answer: `packctl pending`
    #[arg(long, conflicts_with = "no_ask")]
    ask: bool,

    /// Have no use wait any more
    #[arg(long)]
    no_ask: bool,
}

impl Options {
    /// What they change, by this clock.
    ///
    /// # Errors
    /// When a length of time leads beyond the year 9999.
    pub(super) fn change(
        &self,
        now: Moment,
    ) -> Result<ConditionsChange, rumi_policy::SpellingError> {
        let ask = match (self.ask, self.no_ask) {
            (true, _) => Setting::Set(()),
            (false, true) => Setting::Removed,
            (false, false) => Setting::Kept,
        };
        Ok(ConditionsChange {
            not_before: setting(self.not_before.as_ref(), |when| when.at(now))?,
            expires_at: setting(self.expires.as_ref(), |when| when.at(now))?,
            max_uses: setting(self.max_uses.as_ref(), |times| Ok(times.0))?,
            rate_per_minute: setting(self.rate.as_ref(), |rate| Ok(rate.0))?,
            ask,
        })
    }
}

fn setting<T, S, E>(
    choice: Option<&Choice<T>>,
    value: impl Fn(&T) -> Result<S, E>,
) -> Result<Setting<S>, E> {
    Ok(match choice {
        None => Setting::Kept,
        Some(Choice::None) => Setting::Removed,
        Some(Choice::Is(given)) => Setting::Set(value(given)?),
    })
}

/// Says it where a change leaves nothing to use.
pub(super) fn warn(console: Console, change: &ConditionsChange, now: Moment) {
    if let Setting::Set(end) = &change.expires_at
        && Moment::from_unix_ms(end.millis().0) <= now
    {
        console.warning(&format!(
            "`{end}` has passed, so the grant has ended already"
        ));
    }
}

/// A value, or the word that takes it out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice<T> {
    None,
    Is(T),
}

impl<T: FromStr> FromStr for Choice<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NONE => Ok(Self::None),
            _ => text.parse().map(Self::Is),
        }
    }
}

/// From now on, or a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    In(i64),
    At(Timestamp),
}

impl When {
    fn at(&self, now: Moment) -> Result<Timestamp, rumi_policy::SpellingError> {
        match self {
            Self::At(at) => Ok(at.clone()),
            Self::In(span) => {
                let at = now.unix_ms().saturating_add(*span);
                Timestamp::at(UnixMillis(u64::try_from(at).unwrap_or_default()))
            }
        }
    }
}

impl FromStr for When {
    type Err = NotAWhen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(span) = span_ms(text) {
            return if span > 0 {
                Ok(Self::In(span))
            } else {
                Err(NotAWhen::Now)
            };
        }
        Ok(Self::At(text.parse()?))
    }
}

/// Why a text says no time.
#[derive(Debug, thiserror::Error)]
enum NotAWhen {
    #[error("no time at all; write how long from now, as `2h` or `30d`")]
    Now,
    #[error("{0}; or how long from now, as `2h` or `30d`")]
    Time(#[from] rumi_policy::SpellingError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Times(u64);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rate(u32);

/// Why a text is no number of uses.
#[derive(Debug, thiserror::Error)]
#[error("write a whole number from 1 to {most}, or `none`")]
struct NotANumber {
    most: u64,
}

impl FromStr for Times {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        number(text, u64::MAX).map(Self)
    }
}

impl FromStr for Rate {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MOST: u32 = 1_000_000;
        let text = text.strip_suffix("/min").unwrap_or(text);
        let rate = number(text, u64::from(MOST))?;
        Ok(Self(u32::try_from(rate).unwrap_or(MOST)))
    }
}

fn number(text: &str, most: u64) -> Result<u64, NotANumber> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| digits && (1..=most).contains(number));
    number.ok_or(NotANumber { most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_from_now_or_points() {
        let now = Moment::from_unix_ms(1_893_456_000_000);
        for (text, expected) in [
            ("2h", "2030-01-01T02:00:00Z"),
            ("30d", "2030-01-31T00:00:00Z"),
            ("1h30m", "2030-01-01T01:30:00Z"),
            ("2031-06-01T12:00:00+02:00", "2031-06-01T12:00:00+02:00"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.at(now).unwrap().as_str(), expected, "{text}");
        }
        for text in [
            "",
            "0h",
            "-2h",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "tomorrow",
            "2 h",
        ] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
        let far: When = "999999w".parse().unwrap();
        assert!(far.at(now).is_err());
    }

    #[test]
    fn numbers_of_uses_are_whole_and_above_nothing() {
        assert_eq!("60/min".parse::<Rate>().unwrap(), Rate(60));
        assert_eq!("60".parse::<Rate>().unwrap(), Rate(60));
        assert_eq!("3".parse::<Choice<Times>>().unwrap(), Choice::Is(Times(3)));
        assert_eq!("none".parse::<Choice<Times>>().unwrap(), Choice::None);
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.5",
            "60/h",
            "60/minute",
            "1000001/min",
            "/min",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert!("18446744073709551616".parse::<Times>().is_err());
    }
}

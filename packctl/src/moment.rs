//! Points in time as people write them, all in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use rumi_policy::calendar::{civil, days_from_civil};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

/// Why a text is no time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a time; write how long ago (`90s`, `15m`, `1h`, `2d`, `1w`) or when (`2030-01-31`, `2030-01-31T12:00:00Z`)"
)]
pub(crate) struct NotATime(String);

impl Moment {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn from_unix_ms(ms: u64) -> Self {
        Self(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    pub(crate) fn unix_ms(self) -> i64 {
        self.0
    }

    /// Reads `1h` (that long before `now`), a date, or a date and time.
    pub(crate) fn parse(text: &str, now: Self) -> Result<Self, NotATime> {
        let wrong = || NotATime(text.to_owned());
        if text == "now" {
            return Ok(now);
        }
        if let Some(ago) = span_ms(text) {
            return Ok(Self(now.0.saturating_sub(ago)));
        }
        let (date, time) = match text.split_once(['T', 't', ' ']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let days = date_days(date).ok_or_else(wrong)?;
        let of_day = match time {
            Some(time) => time_ms(time).ok_or_else(wrong)?,
            None => 0,
        };
        Ok(Self(days * DAY_MS + of_day))
    }

    /// Reads a time as seen from now.
    pub(crate) fn read(text: &str) -> Result<Self, NotATime> {
        Self::parse(text, Self::now())
    }

    /// The time this long before now.
    pub(crate) fn ago_ms(ms: i64) -> Self {
        Self(Self::now().0.saturating_sub(ms))
    }

    /// How long before `now`, in the two largest units.
    pub(crate) fn ago(self, now: Self) -> String {
        let seconds = now.0.saturating_sub(self.0).max(0) / 1000;
        match seconds {
            0..60 => format!("{seconds}s"),
            60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
            3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
            _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

/// `1h` and its like, in milliseconds; parts add up (`1h30m`).
pub(crate) fn span_ms(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            _ => return None,
        };
        let number: i64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

fn number(text: &str, length: usize, most: i64) -> Option<i64> {
    if text.len() != length || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= most)
}

fn date_days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4, 9999)?;
    let month = number(parts.next()?, 2, 12)?;
    let day = number(parts.next()?, 2, 31)?;
    let days = days_from_civil(year, month, day);
    // 30 February would come back as another day.
    (parts.next().is_none() && civil(days) == (year, month, day)).then_some(days)
}

fn time_ms(text: &str) -> Option<i64> {
    let (clock, offset) = split_offset(text)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 2, 23)?;
    let minutes = number(parts.next()?, 2, 59)?;
    let seconds = parts.next().map_or(Some(0), |text| number(text, 2, 60))?;
    if parts.next().is_some() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    let millis = number(&digits, 3, 999)?;
    Some(((hours * 60 + minutes - offset) * 60 + seconds) * 1000 + millis)
}

/// The time of day and the minutes it is ahead of UTC; none written means UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    Some((
        clock,
        sign * (number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_900_000_000_000);

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("now", NOW.0),
            ("1h", NOW.0 - 3_600_000),
            ("1h30m", NOW.0 - 5_400_000),
            ("2d", NOW.0 - 2 * DAY_MS),
            ("250ms", NOW.0 - 250),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2024-12-31T23:59:59Z", 1_735_689_599_000),
            ("2024-12-31T23:59:59.25Z", 1_735_689_599_250),
            ("2024-12-31T23:59:59.123456789Z", 1_735_689_599_123),
            ("2025-01-01T01:59:59+02:00", 1_735_689_599_000),
            ("2024-12-31 23:59", 1_735_689_540_000),
        ] {
            assert_eq!(Moment::parse(text, NOW), Ok(Moment(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "1",
            "h",
            "1y",
            "-1h",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01T25:00Z",
            "2024-01-01T",
            "yesterday",
            "9999999999999999999d",
            "２０２４-01-01",
            "2024-01-01T10:00:00.",
        ] {
            let error = Moment::parse(text, NOW).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("`{text}`")),
                "{text}"
            );
        }
    }

    #[test]
    fn every_day_of_eight_centuries_survives_the_way_and_back() {
        for days in -146_097..146_097 {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn ages_use_two_units() {
        for (seconds, text) in [
            (5, "5s"),
            (65, "1m05s"),
            (3_660, "1h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(Moment(NOW.0 - seconds * 1000).ago(NOW), text);
        }
    }
}

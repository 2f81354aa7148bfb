//! Points in time as a grant writes them: RFC 3339, with the offset spelled out.

use crate::calendar::{civil, days_from_civil};
use crate::spelling::SpellingError;
use crate::stamp::UnixMillis;

const DAY_MS: i64 = 86_400_000;

/// A point in time and how it was written. It is compared by the time alone.
#[derive(Clone, Debug)]
pub struct Timestamp {
    at: UnixMillis,
    text: Box<str>,
}

impl Timestamp {
    /// A time as this crate writes it: in UTC, to the second, cut and not rounded.
    pub fn at(at: UnixMillis) -> Result<Self, SpellingError> {
        let seconds = at.0 / 1000;
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(i64::try_from(days).unwrap_or(i64::MAX / DAY_MS));
        let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let text = format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z");
        text.parse()
    }

    pub fn millis(&self) -> UnixMillis {
        self.at
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for Timestamp {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| SpellingError::new("a point in time", text, why);
        let millis = millis_of(text).map_err(refuse)?;
        let at = u64::try_from(millis).map_err(|_| refuse("it is before 1970"))?;
        Ok(Self {
            at: UnixMillis(at),
            text: text.into(),
        })
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timestamp {}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

const FORM: &str =
    "write date, time and offset, as `2030-01-31T12:00:00Z` or `2030-01-31T13:00:00+01:00`";

fn millis_of(text: &str) -> Result<i64, &'static str> {
    let (date, time) = text.split_once('T').ok_or(FORM)?;
    let (clock, offset) = split_offset(time)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hours, minutes, seconds] = numbers(clock, ':', [2, 2, 2])?;
    if fraction.is_empty() || fraction.len() > 9 || !digits(fraction) {
        return Err("a fraction of a second has 1 to 9 digits");
    }
    let days = days_from_civil(year, month, day);
    // 30 February would come back as another day.
    if civil(days) != (year, month, day) {
        return Err("there is no such day");
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err("there is no such time of day");
    }
    let millis: String = fraction.chars().chain("00".chars()).take(3).collect();
    let millis: i64 = millis.parse().map_err(|_| FORM)?;
    Ok(days * DAY_MS + ((hours * 60 + minutes - offset) * 60 + seconds) * 1000 + millis)
}

/// The time of day and the minutes it is ahead of UTC. A time without an offset is refused,
/// because it would mean another moment on another host.
fn split_offset(text: &str) -> Result<(&str, i64), &'static str> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Ok((clock, 0));
    }
    let at = text
        .rfind(['+', '-'])
        .ok_or("the offset is missing; end it in `Z` for UTC, or in `+01:00` or its like")?;
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = numbers(offset.get(1..).unwrap_or_default(), ':', [2, 2])?;
    if hours > 23 || minutes > 59 {
        return Err("there is no such offset");
    }
    Ok((clock, sign * (hours * 60 + minutes)))
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers of exactly these lengths, with a separator between them and nothing else.
fn numbers<const N: usize>(
    text: &str,
    separator: char,
    lengths: [usize; N],
) -> Result<[i64; N], &'static str> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (slot, length) in found.iter_mut().zip(lengths) {
        let part = parts.next().ok_or(FORM)?;
        if part.len() != length || !digits(part) {
            return Err(FORM);
        }
        *slot = part.parse().map_err(|_| FORM)?;
    }
    match parts.next() {
        None => Ok(found),
        Some(_) => Err(FORM),
    }
}

//! When a record was made: the wall clock, the boot and the time since it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::error::OpenError;
use crate::json::is_hex;

/// Length of `2026-01-31T23:59:59.123456Z`.
pub(crate) const TIME_LENGTH: usize = 27;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a boot id looks like, each `0` being a hex digit.
pub(crate) const BOOT_ID_SHAPE: &[u8; 36] = b"00000000-0000-0000-0000-000000000000";

/// Whether each byte is what `shape` has in its place, or fits where that has a `0`. Looks at all of them
/// without branches, which is faster than to stop at the first wrong one.
pub(crate) fn is_shaped<const N: usize>(
    bytes: &[u8],
    shape: &[u8; N],
    fits: impl Fn(u8) -> bool,
) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else {
        return false;
    };
    bytes.iter().zip(shape).fold(true, |ok, (byte, shape)| {
        ok & ((byte == shape) | ((*shape == b'0') & fits(*byte)))
    })
}

/// Reads the kernel's id of this boot.
pub(crate) fn boot_id() -> Result<String, OpenError> {
    let path = Path::new(BOOT_ID);
    let text = fs::read_to_string(path).map_err(OpenError::io("read", path))?;
    let id = text.trim_end();
    if is_shaped(id.as_bytes(), BOOT_ID_SHAPE, |byte| is_hex(&[byte])) {
        return Ok(id.to_owned());
    }
    let odd = io::Error::new(io::ErrorKind::InvalidData, "the kernel gave no boot id");
    Err(OpenError::io("understand", path)(odd))
}

/// Nanoseconds since the boot.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

/// Spells the wall clock; keeps the current second spelled, because a busy log asks often.
#[derive(Debug, Default)]
pub(crate) struct WallClock(Option<(u64, [u8; TIME_LENGTH])>);

impl WallClock {
    pub(crate) fn now(&mut self) -> [u8; TIME_LENGTH] {
        let now = clock_gettime(ClockId::Realtime);
        self.spell(now.tv_sec as u64, (now.tv_nsec / 1000) as u32)
    }

    fn spell(&mut self, second: u64, micros: u32) -> [u8; TIME_LENGTH] {
        let mut spelled = match self.0 {
            Some((last, spelled)) if last == second => spelled,
            _ => spell_second(second),
        };
        if let Some(place) = spelled.last_chunk_mut::<7>() {
            let [a, b, c, d, e, f] = decimal(u64::from(micros));
            *place = [a, b, c, d, e, f, b'Z'];
        }
        self.0 = Some((second, spelled));
        spelled
    }
}

/// The spelling that a record made at `time` would carry; such spellings sort as the times do.
pub(crate) fn spell(time: SystemTime) -> [u8; TIME_LENGTH] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock::default().spell(since.as_secs(), since.subsec_micros())
}

fn decimal<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// `2026-01-31T23:59:59.000000Z`, by the calendar arithmetic on years that begin in March.
fn spell_second(second: u64) -> [u8; TIME_LENGTH] {
    let days = second / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let of_day = second % 86_400;
    let [y1, y2, y3, y4] = decimal(year);
    let [m1, m2] = decimal(month);
    let [d1, d2] = decimal(day);
    let [h1, h2] = decimal(of_day / 3600);
    let [i1, i2] = decimal(of_day / 60 % 60);
    let [s1, s2] = decimal(of_day % 60);
    [
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.',
        b'0', b'0', b'0', b'0', b'0', b'0', b'Z',
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_spelled_as_the_calendar_has_them() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199, 5, "2024-02-29T23:59:59.000005Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (1_767_225_599, 0, "2025-12-31T23:59:59.000000Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
        ];
        for (second, micros, expected) in cases {
            let time = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_micros(micros);
            assert_eq!(String::from_utf8_lossy(&spell(time)), expected);
        }
    }
}

//! Many times of the same thing, and what is said of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one round of one side showed, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// Half were faster.
    pub p50: f64,
    /// One in a hundred was slower.
    pub p99: f64,
    /// The whole time, shared out.
    pub mean: f64,
    /// Requests, or bytes, in a second.
    pub per_second: f64,
    /// How many times were taken.
    pub n: usize,
}

impl Sample {
    /// Of single times; `None` without any.
    pub fn of(times: Vec<Duration>) -> Option<Self> {
        let mut times: Vec<f64> = times.iter().map(nanoseconds).collect();
        times.sort_unstable_by(f64::total_cmp);
        let n = times.len();
        let mean = times.iter().sum::<f64>() / real(n);
        Some(Self {
            p50: *times.get(n / 2)?,
            p99: *times.get(n.saturating_mul(99) / 100)?,
            mean,
            per_second: 1e9 / mean,
            n,
        })
    }

    /// Of a time in which `amount` of something was done.
    pub fn rate(amount: f64, elapsed: Duration) -> Self {
        let whole = nanoseconds(&elapsed);
        Self {
            p50: whole,
            p99: whole,
            mean: whole,
            per_second: amount * 1e9 / whole,
            n: 1,
        }
    }
}

/// The middle of some numbers; not a number without any.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A duration as a number.
pub fn nanoseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// A count as a number; counts of a bench stay far below 2^53.
pub fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Sample, median};

    #[test]
    fn a_sample_holds_the_middle_the_tail_and_the_mean() {
        let times = (1..=200).map(Duration::from_nanos).collect();
        let sample = Sample::of(times).expect("there are times");
        assert_eq!((sample.p50, sample.p99, sample.n), (101.0, 199.0, 200));
        assert!((sample.mean - 100.5).abs() < 1e-6);
        assert!(Sample::of(Vec::new()).is_none());
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        assert_eq!(median([3.0, 1e9, 1.0]), 3.0);
        assert!(median([]).is_nan());
    }
}

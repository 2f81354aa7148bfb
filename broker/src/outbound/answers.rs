//! Answers of name servers, kept for the component that asked.
//!
//! Each component has its own: from the time that a look-up takes, nobody may learn which names
//! another one asked for. An answer that is kept is judged anew each time it is used.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rumi_policy::Host;
use tokio::time::Instant;

use super::resolver::Answer;

/// Names whose answers are kept; the oldest gives way.
const KEPT: usize = 64;
/// However long the name server says that it holds: a name that was moved is followed by then.
const LONGEST: Duration = Duration::from_secs(30);

/// The answers of one component.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    host: Host,
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Answers {
    /// The addresses of a host, where an answer still holds.
    pub(crate) fn get(&self, host: &Host) -> Option<Vec<IpAddr>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        kept.retain(|answer| answer.until > now);
        let found = kept.iter().find(|answer| answer.host == *host)?;
        Some(found.addresses.clone())
    }

    /// Keeps an answer for as long as it holds.
    pub(crate) fn keep(&self, host: &Host, answer: &Answer) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|answer| answer.host != *host);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Kept {
            host: host.clone(),
            addresses: answer.addresses.clone(),
            until: answer.until.min(Instant::now() + LONGEST),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seconds: u64) -> Answer {
        Answer {
            addresses: vec!["198.51.100.1".parse().unwrap()],
            until: Instant::now() + Duration::from_secs(seconds),
        }
    }

    fn host(number: usize) -> Host {
        format!("h{number}.test").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_as_long_as_it_holds_and_never_longer_than_half_a_minute() {
        let answers = Answers::default();
        answers.keep(&host(1), &answer(5));
        answers.keep(&host(2), &answer(3_600));
        answers.keep(&host(3), &answer(0));
        assert_eq!(answers.get(&host(3)), None, "one that does not hold at all");
        assert!(answers.get(&host(1)).is_some());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(answers.get(&host(1)), None);
        assert!(answers.get(&host(2)).is_some());
        tokio::time::advance(LONGEST).await;
        assert_eq!(answers.get(&host(2)), None);
    }

    #[tokio::test]
    async fn their_number_is_bounded_and_the_newest_is_there() {
        let answers = Answers::default();
        for number in 0..10 * KEPT {
            answers.keep(&host(number), &answer(60));
        }
        assert_eq!(answers.get(&host(0)), None);
        assert!(answers.get(&host(10 * KEPT - 1)).is_some());
        assert_eq!(answers.kept.lock().unwrap().len(), KEPT);
    }
}

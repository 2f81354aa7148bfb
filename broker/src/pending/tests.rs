use serde_json::json;

use super::*;

const ME: &str = "words:tool:count";

fn pending(timeout_ms: u64, waiting: u16, per_minute: u16) -> Pending {
    let settings = json!({"timeout_ms": timeout_ms, "waiting": waiting, "per_minute": per_minute});
    Pending::new(serde_json::from_value(settings).unwrap())
}

fn question(component: &str) -> Question {
    Question {
        component: component.parse().unwrap(),
        permission: "env_read".parse().unwrap(),
        line: "read KEY".to_owned(),
        may_be_kept: true,
        invocation: None,
    }
}

fn answer(allow: bool) -> Answer {
    Answer {
        allow,
        always: false,
        by: Peer { uid: 0, pid: 1 },
        at: SystemTime::now(),
    }
}

#[tokio::test]
async fn an_answer_reaches_the_one_that_it_is_for_and_counts_once() {
    let pending = pending(5_000, 8, 20);
    let mut first = pending.ask(question(ME)).unwrap();
    let mut second = pending.ask(question(ME)).unwrap();
    let said = answer(true);
    assert!(pending.claim(second.id()).unwrap().give(said));
    assert_eq!(second.answered().await, Some(said));
    let late = pending.claim(second.id()).unwrap_err();
    assert!(matches!(late, ClaimError::Ended(Ended::Answered(by), _) if by == said));
    assert_eq!(pending.shown().len(), 1);
    assert!(pending.claim(first.id()).unwrap().give(answer(false)));
    assert!(!first.answered().await.unwrap().allow);
    assert_eq!(pending.claim("0000").unwrap_err(), ClaimError::Unknown);
}

#[tokio::test]
async fn of_two_who_answer_at_once_one_does() {
    let pending = pending(5_000, 8, 20);
    let mut waiting = pending.ask(question(ME)).unwrap();
    let claim = pending.claim(waiting.id()).unwrap();
    assert_eq!(pending.claim(waiting.id()).unwrap_err(), ClaimError::Taken);
    // Who could not record his answer has given none.
    drop(claim);
    assert!(pending.claim(waiting.id()).unwrap().give(answer(false)));
    assert!(!waiting.answered().await.unwrap().allow);
}

#[tokio::test]
async fn without_an_answer_the_wait_ends() {
    let pending = pending(30, 8, 20);
    let mut waiting = pending.ask(question(ME)).unwrap();
    assert_eq!(waiting.answered().await, None);
    assert!(pending.shown().is_empty());
    let late = pending.claim(waiting.id()).unwrap_err();
    assert!(matches!(late, ClaimError::Ended(Ended::TimedOut, _)));
}

#[tokio::test]
async fn an_answer_that_was_begun_in_time_is_waited_for() {
    let pending = pending(30, 8, 20);
    for gives in [true, false] {
        let mut waiting = pending.ask(question(ME)).unwrap();
        let claim = pending.claim(waiting.id()).unwrap();
        let answering = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(60)).await;
            gives && claim.give(answer(true))
        });
        assert_eq!(waiting.answered().await.is_some(), gives);
        assert_eq!(answering.await.unwrap(), gives);
    }
}

#[tokio::test]
async fn what_is_withdrawn_cannot_be_answered() {
    let pending = pending(5_000, 8, 20);
    let waiting = pending.ask(question(ME)).unwrap();
    let id = waiting.id().to_owned();
    let claim = pending.claim(&id).unwrap();
    drop(waiting);
    assert!(!claim.give(answer(true)), "nobody is there");
    let late = pending.claim(&id).unwrap_err();
    assert!(matches!(late, ClaimError::Ended(Ended::Withdrawn, _)));
    assert!(pending.shown().is_empty());
}

#[tokio::test]
async fn a_component_has_so_many_wait_and_so_many_asked_and_leaves_others_theirs() {
    let pending = pending(5_000, 2, 4);
    let other = || pending.ask(question("other:tool:count")).map(drop);
    let (first, second) = (pending.ask(question(ME)), pending.ask(question(ME)));
    assert_eq!(pending.ask(question(ME)).unwrap_err(), TurnedAway::Crowded);
    assert_eq!(other(), Ok(()));
    // A place is given back when all is said, and not with the end of the wait.
    first.as_ref().unwrap().end(Ended::Revoked);
    assert_eq!(pending.ask(question(ME)).unwrap_err(), TurnedAway::Crowded);
    drop((first, second));
    for _ in 0..2 {
        drop(pending.ask(question(ME)).unwrap());
    }
    assert_eq!(pending.ask(question(ME)).unwrap_err(), TurnedAway::TooOften);
    assert_eq!(other(), Ok(()));
}

#[test]
fn no_two_ids_are_the_same() {
    let ids: std::collections::HashSet<_> = (0..10_000).map(|_| new_id().unwrap()).collect();
    assert_eq!(ids.len(), 10_000);
    assert!(ids.iter().all(|id| id.len() == ID_LETTERS));
}

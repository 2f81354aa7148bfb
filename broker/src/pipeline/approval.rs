//! The admin's answer, where the grant wants one before each use.
//!
//! Nothing is recorded as allowed before the answer, and after it the policy is asked again: what
//! was taken back meanwhile is refused whatever the admin said.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_audit::Log;
use rumi_policy::{Capability, Denial, ExactRequest, Permit, Reason};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Context, Described, decide, refused_with};
use crate::{
    broker::Broker,
    caller::Caller,
    lease::Lease,
    pending::{Answer, Ended, Question, TurnedAway, Waiting},
    policy_store::{self, Loaded},
    refusal::Refusal,
};

/// A request that may go on.
pub(super) struct Allowed<C: Capability> {
    /// The policy that allows it, which is that of now.
    pub(super) policy: Arc<Loaded>,
    pub(super) permit: Permit<C>,
    /// Who approved it, for the record.
    pub(super) approval: Option<Value>,
}

/// Asks the policy, and where it says so the admin and then the policy again.
pub(super) async fn allow<C: Capability>(
    broker: &Broker,
    caller: &Caller,
    asked: &Described,
    ask: C::Ask,
) -> Result<Allowed<C>, Refusal> {
    let policy = broker.policy().current();
    let context = Context {
        broker,
        policy: &policy,
        caller,
    };
    let permit = decide::<C>(context, asked, ask).await?;
    let Some(question) = permit.question() else {
        return Ok(Allowed {
            policy,
            permit,
            approval: None,
        });
    };
    // Nobody is asked about what is used up already.
    if let Err(denial) = has_uses_left(broker, &permit) {
        return Err(refused_with(context, asked, denial, None).await);
    }
    let approval = approved(context, asked, &permit, &question).await?;
    let ask = permit.ask().clone();
    let policy = broker.policy().current();
    let context = Context {
        broker,
        policy: &policy,
        caller,
    };
    let permit = decide::<C>(context, asked, ask).await?;
    if permit.question().is_some_and(|now| now != question) {
        let denial = Denial::new(
            Reason::ApprovalRefused,
            "the grant has changed while this waited, and what was approved is no longer what would happen; ask again",
        );
        return Err(refused_with(context, asked, denial, Some(approval)).await);
    }
    Ok(Allowed {
        policy,
        permit,
        approval: Some(approval),
    })
}

/// Whether one use more would be allowed now. It is counted only when it goes on.
fn has_uses_left<C: Capability>(broker: &Broker, permit: &Permit<C>) -> Result<(), Denial> {
    if !C::is_use(permit.ask()) {
        return Ok(());
    }
    let permission = C::permission(permit.ask());
    let (component, conditions) = (permit.component(), permit.conditions());
    let now = policy_store::now();
    broker
        .usages()
        .check(component, &permission, conditions, now)
}

/// Waits until the admin allows it; the way in which he did, for the record.
async fn approved<C: Capability>(
    context: Context<'_>,
    asked: &Described,
    permit: &Permit<C>,
    question: &ExactRequest,
) -> Result<Value, Refusal> {
    let Some(line) = question.line() else {
        let denial = refusal(
            "this asks the admin each time, and is too long for him to read; ask for less at once",
        );
        return Err(refused_with(context, asked, denial, None).await);
    };
    let waiting = context.broker.pending().ask(Question {
        component: permit.component().clone(),
        permission: C::permission(permit.ask()),
        line: line.to_owned(),
        may_be_kept: question.may_be_kept(),
        invocation: asked.invocation.as_ref().map(|call| call.id().to_owned()),
    });
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(why) => {
            return Err(refused_with(context, asked, turned_away(why), None).await);
        }
    };
    let mut watched = Watched::new(context, asked, waiting, line);
    let ended = watched.wait::<C>(context, permit).await;
    let (denial, detail) = match ended {
        End::Allowed(answer) => {
            watched.recorded = true;
            return Ok(watched.answered(answer));
        }
        End::Refused(answer) => {
            let denial = refusal("the admin has refused this request");
            (denial, watched.answered(answer))
        }
        End::Silence => {
            let sentence = "the admin has not answered in time; ask again when he is there";
            let denial = Denial::new(Reason::ApprovalTimeout, sentence);
            (denial, watched.unanswered())
        }
        End::Withdrawn => (withdrawn(), watched.unanswered()),
        End::Revoked(denial) => (denial, watched.unanswered()),
    };
    let refusal = refused_with(context, asked, denial, Some(detail)).await;
    watched.recorded = true;
    Err(refusal)
}

fn refusal(sentence: &str) -> Denial {
    Denial::new(Reason::ApprovalRefused, sentence)
}

fn withdrawn() -> Denial {
    Denial {
        detail: Some("whoever asked went away before there was an answer".to_owned()),
        ..Denial::new(
            Reason::ApprovalTimeout,
            "whoever asked went away before the admin's answer",
        )
    }
}

fn turned_away(why: TurnedAway) -> Denial {
    refusal(match why {
        TurnedAway::Crowded => {
            "as many requests of this component wait for the admin as may; try again when they are answered"
        }
        TurnedAway::TooOften => {
            "this component has had the admin asked as often within a minute as it may; try again later"
        }
        TurnedAway::NoId => "the admin cannot be asked, because the host has no random numbers",
    })
}

enum End {
    Allowed(Answer),
    Refused(Answer),
    Silence,
    Withdrawn,
    Revoked(Denial),
}

/// A request that waits, watched over: should its future be dropped, that it has asked and was not
/// allowed is recorded all the same. Until then it keeps its place, so that a component which
/// withdraws what it asks is no faster than one which is refused.
struct Watched {
    waiting: Option<Waiting>,
    recorded: bool,
    fingerprint: String,
    since: SystemTime,
    asked: Described,
    caller: Caller,
    policy: Option<Arc<Loaded>>,
    log: Log,
    background: Handle,
}

impl Watched {
    fn new(context: Context<'_>, asked: &Described, waiting: Waiting, line: &str) -> Self {
        let broker = context.broker;
        Self {
            waiting: Some(waiting),
            recorded: false,
            // The line itself may hold what no record holds: arguments, queries.
            fingerprint: broker.audit().fingerprint(line.as_bytes()),
            since: SystemTime::now(),
            asked: asked.clone(),
            caller: context.caller.clone(),
            policy: Some(broker.policy().current()),
            log: broker.audit().clone(),
            background: broker.background().clone(),
        }
    }

    async fn wait<C: Capability>(&mut self, context: Context<'_>, permit: &Permit<C>) -> End {
        let Some(waiting) = &mut self.waiting else {
            return End::Silence;
        };
        let store = context.broker.policy();
        let mut lease = Lease::<C>::new(store, permit.component(), permit.ask().clone());
        let call = self.asked.invocation.as_ref();
        let call_ended = async {
            match call {
                Some(call) => call.ended().await,
                None => std::future::pending().await,
            }
        };
        let answered = tokio::select! {
            biased;
            denial = lease.revoked() => {
                waiting.end(Ended::Revoked);
                return End::Revoked(denial);
            }
            () = self.caller.left() => None,
            () = call_ended => None,
            answered = waiting.answered() => Some(answered),
        };
        match answered {
            Some(Some(answer)) if answer.allow => End::Allowed(answer),
            Some(Some(answer)) => End::Refused(answer),
            Some(None) => End::Silence,
            None => {
                waiting.end(Ended::Withdrawn);
                End::Withdrawn
            }
        }
    }

    fn answered(&self, answer: Answer) -> Value {
        let mut detail = self.unanswered();
        if let Some(detail) = detail.as_object_mut() {
            let by = json!({"uid": answer.by.uid, "pid": answer.by.pid});
            detail.insert("by".to_owned(), by);
            detail.insert("at_unix_ms".to_owned(), millis(answer.at).into());
            if answer.always {
                detail.insert("always".to_owned(), true.into());
            }
        }
        detail
    }

    fn unanswered(&self) -> Value {
        let waited = self.since.elapsed().unwrap_or_default().as_millis();
        json!({
            "id": self.waiting.as_ref().map(Waiting::id),
            "request": self.fingerprint,
            "waited_ms": u64::try_from(waited).unwrap_or(u64::MAX),
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (Some(waiting), Some(policy)) = (self.waiting.take(), self.policy.take()) else {
            return;
        };
        if self.recorded {
            return;
        }
        waiting.end(Ended::Withdrawn);
        let denial = withdrawn();
        let approval = json!({"id": waiting.id(), "request": self.fingerprint});
        let mut detail = self.asked.particulars();
        detail.insert("approval".to_owned(), approval);
        detail.insert("why".to_owned(), json!(denial.detail));
        let detail = Value::from(detail);
        let (asked, caller) = (self.asked.clone(), self.caller.clone());
        let log = self.log.clone();
        self.background.spawn(async move {
            caller.refusals().turn().await;
            let decision = asked.decision(&caller, &policy, None, Some(&detail));
            let reason = denial.reason.as_str();
            if let Err(error) = log.record_denial(decision, reason).await {
                // The next request finds the log closed, and is refused.
                tracing::error!(%error, "a request that was withdrawn could not be recorded");
            }
            drop(waiting);
        });
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

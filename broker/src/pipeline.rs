//! The way of a request: decide, record, find, confirm, perform, record the outcome.
//!
//! The order is a compile-time fact. Only the policy crate makes a `Permit` and a
//! `Confirmed`; only the audit crate wraps one in `Recorded`; a handler takes nothing else.

mod approval;

use std::{borrow::Cow, future::Future, sync::Arc};

use rumi_audit::{Decision, Outcome, Recorded};
use rumi_policy::{Capability, Confirmed, Denial, Permit, Reason};

use crate::{
    broker::Broker,
    caller::{Caller, Invocation, SeenDenial},
    policy_store::{self, Loaded},
    refusal::Refusal,
};

/// What handlers are given beside the permit.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The broker's shared parts.
    pub broker: &'a Broker,
    /// The policy this request was decided under.
    pub policy: &'a Loaded,
    /// Who asks.
    pub caller: &'a Caller,
}

/// What a handler did, for the outcome's record and the reply.
#[derive(Debug)]
pub struct Performed<R> {
    /// The answer, or how the effect failed.
    pub result: Result<R, Refusal>,
    /// Bytes that came from the pack.
    pub bytes_in: u64,
    /// Bytes that went to the pack.
    pub bytes_out: u64,
    /// More for the record; never a secret value.
    pub detail: Option<serde_json::Value>,
}

impl<R> Performed<R> {
    /// An effect that moved no bytes.
    pub fn plain(result: Result<R, Refusal>) -> Self {
        Self {
            result,
            bytes_in: 0,
            bytes_out: 0,
            detail: None,
        }
    }
}

/// The code that acts on a permit.
pub trait Handler<C: Capability>: Sized + Send {
    /// What `find` opened or resolved, kept for `perform`.
    type Handle: Send;
    /// What the pack gets.
    type Reply: Send;

    /// Looks, without any effect, at what the request names.
    fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<C>>,
    ) -> impl Future<Output = Result<(C::Found, Self::Handle), Refusal>> + Send;

    /// Acts.
    fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<C>>,
        handle: Self::Handle,
    ) -> impl Future<Output = Performed<Self::Reply>> + Send;
}

/// Takes one request all the way.
///
/// # Errors
/// When policy denies it, the log cannot take it, or the effect fails.
pub async fn run<C: Capability, H: Handler<C>>(
    broker: &Broker,
    caller: &Caller,
    ask: C::Ask,
    mut handler: H,
) -> Result<H::Reply, Refusal> {
    let asked = Described::of::<C>(caller, &ask);
    let allowed = approval::allow::<C>(broker, caller, &asked, ask).await?;
    let context = Context {
        broker,
        policy: &allowed.policy,
        caller,
    };
    let number = count(context, &asked, &allowed.permit).await?;
    let recorded = record(
        context,
        &asked,
        allowed.permit,
        Grounds {
            number,
            approval: allowed.approval,
        },
    )
    .await?;
    let (found, handle) = match handler.find(context, &recorded).await {
        Ok(found) => found,
        Err(refusal) => return Err(failed(recorded, refusal).await),
    };
    let confirmed = match recorded.advance(|permit| permit.confirm(&found)) {
        Ok(confirmed) => confirmed,
        Err((denied, denial)) => {
            caller.refusals().turn().await;
            // The admin's log says more than the pack is told, where there is more.
            let sentence = denial.detail.as_deref().unwrap_or(&denial.sentence);
            let record = denied
                .record(denial.reason.as_str(), sentence)
                .await
                .map_err(|_| unavailable())?;
            return Err(refuse(&asked, denial, record.to_string()));
        }
    };
    let performed = handler.perform(context, &confirmed, handle).await;
    let outcome = Outcome {
        ok: performed.result.is_ok(),
        error: performed.result.as_ref().err().map(error_name),
        bytes_in: performed.bytes_in,
        bytes_out: performed.bytes_out,
        detail: performed.detail.as_ref(),
    };
    confirmed.finish(outcome).await.map_err(|_| unavailable())?;
    performed.result
}

/// Records one decision that stands for many small looks of the same kind; its outcome counts them.
///
/// # Errors
/// When the log cannot take it.
pub async fn record_sum<C: Capability>(
    context: Context<'_>,
    permit: Permit<C>,
    action: &'static str,
    directory: &str,
) -> Result<Recorded<Permit<C>>, Refusal> {
    let asked = Described {
        permission: C::permission(permit.ask()).into(),
        action,
        target: directory.to_owned(),
        particular: None,
        invocation: context.caller.invocation(),
    };
    // Looks are no uses, and so there is nothing to count.
    record(context, &asked, permit, Grounds::default()).await
}

/// Records a refusal that was decided outside of [`run`], because what is allowed there is summed.
pub async fn deny<C: Capability>(context: Context<'_>, ask: &C::Ask, denial: Denial) -> Refusal {
    refused(context, &Described::of::<C>(context.caller, ask), denial).await
}

async fn decide<C: Capability>(
    context: Context<'_>,
    asked: &Described,
    ask: C::Ask,
) -> Result<Permit<C>, Refusal> {
    let component = context.caller.component();
    match rumi_policy::decide::<C>(&context.policy.set, component, ask, policy_store::now()) {
        Ok(permit) => Ok(permit),
        Err(denial) => Err(refused(context, asked, denial).await),
    }
}

/// Counts a use where the grant bounds them; gives its number. What is counted and then cannot be
/// recorded stays counted.
async fn count<C: Capability>(
    context: Context<'_>,
    asked: &Described,
    permit: &Permit<C>,
) -> Result<Option<u64>, Refusal> {
    let conditions = permit.conditions();
    if !conditions.counts_uses() || !C::is_use(permit.ask()) {
        return Ok(None);
    }
    let permission = C::permission(permit.ask());
    let usages = context.broker.usages();
    let counted = usages.count(
        permit.component(),
        &permission,
        conditions,
        policy_store::now(),
    );
    match counted.await {
        Ok(number) => Ok(Some(number)),
        Err(denial) => Err(refused(context, asked, denial).await),
    }
}

/// What a decision that allows rests upon beside the grant.
#[derive(Debug, Default)]
struct Grounds {
    /// Which use of a bounded grant it is.
    number: Option<u64>,
    /// Who approved it.
    approval: Option<serde_json::Value>,
}

async fn record<C: Capability>(
    context: Context<'_>,
    asked: &Described,
    permit: Permit<C>,
    grounds: Grounds,
) -> Result<Recorded<Permit<C>>, Refusal> {
    let grant = permit.grant().to_owned();
    let mut particulars = asked.particulars();
    if let Some(number) = grounds.number {
        particulars.insert("use".to_owned(), number.into());
    }
    if let Some(approval) = grounds.approval {
        particulars.insert("approval".to_owned(), approval);
    }
    let detail = (!particulars.is_empty()).then(|| serde_json::Value::from(particulars));
    let decision = describe(context, asked, Some(&grant), detail.as_ref());
    context
        .broker
        .audit()
        .record(decision, permit)
        .await
        .map_err(|_| unavailable())
}

/// Records a refusal and gives it the form in which the pack sees it.
async fn refused(context: Context<'_>, asked: &Described, denial: Denial) -> Refusal {
    refused_with(context, asked, denial, None).await
}

/// The same, after the admin was asked.
async fn refused_with(
    context: Context<'_>,
    asked: &Described,
    denial: Denial,
    approval: Option<serde_json::Value>,
) -> Refusal {
    context.caller.refusals().turn().await;
    let detail = for_the_admin(asked, &denial, approval);
    let decision = describe(context, asked, None, detail.as_ref());
    let reason = denial.reason.as_str();
    match context.broker.audit().record_denial(decision, reason).await {
        Ok(record) => refuse(asked, denial, record.to_string()),
        Err(_) => unavailable(),
    }
}

/// Longer commands are not recorded, because a pack chooses what is in them; `packctl audit
/// show` works them out again.
const LONGEST_REMEDY: usize = 512;

/// What the log says beyond what the pack is told: the rule, and the command that would allow it.
fn for_the_admin(
    asked: &Described,
    denial: &Denial,
    approval: Option<serde_json::Value>,
) -> Option<serde_json::Value> {
    let mut detail = asked.particulars();
    detail.extend(approval.map(|approval| ("approval".to_owned(), approval)));
    if let Some(why) = &denial.detail {
        detail.insert("why".to_owned(), why.as_str().into());
    }
    let remedy = denial.remedy.as_ref().map(ToString::to_string);
    if let Some(remedy) = remedy.filter(|remedy| remedy.len() <= LONGEST_REMEDY) {
        detail.insert("remedy".to_owned(), remedy.into());
    }
    (!detail.is_empty()).then(|| detail.into())
}

/// Records the refusal of a request for which there is no room.
pub async fn turned_away<C: Capability>(
    broker: &Broker,
    caller: &Caller,
    ask: &C::Ask,
    denial: Denial,
) -> Refusal {
    let policy = broker.policy().current();
    let context = Context {
        broker,
        policy: &policy,
        caller,
    };
    refused(context, &Described::of::<C>(caller, ask), denial).await
}

/// Records the refusal of a request that could not even be parsed.
pub async fn malformed(
    broker: &Broker,
    caller: &Caller,
    permission: &'static str,
    action: &'static str,
    denial: Denial,
) -> Refusal {
    let policy = broker.policy().current();
    let context = Context {
        broker,
        policy: &policy,
        caller,
    };
    let asked = Described {
        permission: permission.into(),
        action,
        target: String::new(),
        particular: None,
        invocation: caller.invocation(),
    };
    refused(context, &asked, denial).await
}

/// What was asked, in the words of the log.
#[derive(Clone)]
struct Described {
    permission: Cow<'static, str>,
    action: &'static str,
    target: String,
    particular: Option<(&'static str, String)>,
    invocation: Option<Arc<Invocation>>,
}

impl Described {
    fn of<C: Capability>(caller: &Caller, ask: &C::Ask) -> Self {
        Self {
            permission: C::permission(ask).into(),
            action: C::action(ask),
            target: C::target(ask).into_owned(),
            particular: C::particular(ask).map(|(name, value)| (name, value.to_owned())),
            invocation: caller.invocation(),
        }
    }

    fn decision<'a>(
        &'a self,
        caller: &'a Caller,
        policy: &'a Loaded,
        grant: Option<&'a str>,
        detail: Option<&'a serde_json::Value>,
    ) -> Decision<'a> {
        Decision {
            pack: caller.component().pack_str(),
            component: caller.component().as_str(),
            container: caller.container(),
            peer: caller.peer(),
            invocation: self.invocation.as_ref().map(|call| call.id()),
            permission: &self.permission,
            action: self.action,
            target: self.target.as_bytes(),
            grant,
            policy: policy.hash(),
            detail,
        }
    }
}

impl Described {
    fn particulars(&self) -> serde_json::Map<String, serde_json::Value> {
        let one = self.particular.iter();
        one.map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect()
    }
}

fn describe<'a>(
    context: Context<'a>,
    asked: &'a Described,
    grant: Option<&'a str>,
    detail: Option<&'a serde_json::Value>,
) -> Decision<'a> {
    asked.decision(context.caller, context.policy, grant, detail)
}

async fn failed<P>(recorded: Recorded<P>, refusal: Refusal) -> Refusal {
    match recorded
        .finish(Outcome::failure(error_name(&refusal)))
        .await
    {
        Ok(_) => refusal,
        Err(_) => unavailable(),
    }
}

fn error_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Denied { reason, .. } => reason.as_str(),
        Refusal::Failed { code, .. } => code.as_str(),
    }
}

fn refuse(asked: &Described, denial: Denial, record: String) -> Refusal {
    if let Some(invocation) = &asked.invocation {
        invocation.saw(SeenDenial {
            record: record.clone(),
            permission: asked.permission.clone(),
            target: asked.target.clone(),
            reason: denial.reason.as_str(),
            remedy: denial
                .remedy
                .map(|remedy| remedy.to_string())
                .unwrap_or_default(),
        });
    }
    Refusal::Denied {
        reason: denial.reason,
        sentence: denial.sentence,
        record,
    }
}

/// No record, no action.
fn unavailable() -> Refusal {
    Refusal::Denied {
        reason: Reason::AuditUnavailable,
        sentence: "the audit log cannot be written, so nothing is allowed".to_owned(),
        record: String::new(),
    }
}

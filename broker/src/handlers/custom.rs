//! A custom handler's answer: one call in the handler's own container.

use std::sync::Arc;

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, Custom, CustomFound, HandlerState, Permit};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{
    caller::Invocation,
    custom::{Live, NotLive, Opened},
    executions::Execution,
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
    workers::CallReport,
};

/// Largest answer that is passed on, as JSON text: it must fit a message with what is around it.
const MAX_RESULT: usize = 3 << 20;

/// Serves one `CustomCall`.
#[derive(Debug)]
pub struct CustomHandler {
    /// JSON text, as it came.
    pub args: String,
}

/// The handler, kept as it is until it has answered, and arguments that fit it.
#[derive(Debug)]
pub struct Prepared {
    opened: Opened,
    args: Box<RawValue>,
}

/// What `execute` is given.
#[derive(Debug, Serialize)]
struct Request<'a> {
    context: RequestContext<'a>,
    args: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct RequestContext<'a> {
    component: &'a str,
    pack: &'a str,
    permission: &'a str,
    config: &'a RawValue,
    mode: &'static str,
    record: String,
}

impl Handler<Custom> for CustomHandler {
    type Handle = Option<Prepared>;
    type Reply = String;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Custom>>,
    ) -> Result<(CustomFound, Self::Handle), Refusal> {
        let name = &permit.get().ask().handler;
        let absent = |handler| {
            let found = CustomFound {
                handler,
                arguments: Ok(()),
            };
            Ok((found, None))
        };
        let Some(handlers) = context.broker.handlers() else {
            return absent(HandlerState::Refused("the broker is starting".to_owned()));
        };
        let opened = match handlers.open(name).await {
            Ok(opened) => opened,
            Err(state) => return absent(state),
        };
        let args = opened.arguments(&self.args);
        self.args.clear();
        let (arguments, prepared) = match args {
            Ok(args) => (Ok(()), Some(args)),
            Err(error) => (Err(error.to_string()), None),
        };
        let found = CustomFound {
            handler: opened.state(),
            arguments,
        };
        Ok((found, prepared.map(|args| Prepared { opened, args })))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Custom>>,
        prepared: Self::Handle,
    ) -> Performed<String> {
        let unusable = || {
            Performed::plain(Err(Refusal::failed(
                Failure::Unavailable,
                "the handler cannot be started; the admin's `packctl doctor` says why",
            )))
        };
        // What is not there was denied, so that this does not happen.
        let Some(prepared) = prepared else {
            return unusable();
        };
        let (Prepared { opened, args }, live) = match prepared.live().await {
            Ok(started) => started,
            Err(why) => {
                tracing::error!(handler = %permit.get().ask().handler, %why, "a handler cannot be started");
                return unusable();
            }
        };
        let Ok(request) = request(context, permit, &args) else {
            return unusable();
        };
        let invocation = Arc::new(Invocation::of_handler(permit.get().ask().depth));
        let report = call(context, permit, &live, &invocation, request).await;
        note(context, &live, &report);
        let (result, success) = answer(&report.result);
        Performed {
            bytes_in: permit.get().ask().bytes,
            bytes_out: u64::try_from(result.len()).unwrap_or(u64::MAX),
            detail: Some(json!({
                "invocation": invocation.id(),
                "stopped_reason": report.stopped.as_str(),
                "success": success,
                "content": opened.content(),
            })),
            result: Ok(result),
        }
    }
}

impl Prepared {
    /// Where the handler runs. One that was made anew meanwhile is opened again, and is used if it
    /// is to the policy what it was, and takes the arguments.
    async fn live(self) -> Result<(Self, Live), String> {
        match self.opened.live().await {
            Ok(live) => return Ok((self, live)),
            Err(NotLive::Failed(why)) => return Err(why),
            Err(NotLive::Anew) => {}
        }
        let other = || "it was replaced by another while it was called".to_owned();
        let state = self.opened.state();
        let opened = self.opened.again().await.map_err(|_| other())?;
        if opened.state() != state {
            return Err(other());
        }
        let args = opened.arguments(self.args.get()).map_err(|_| other())?;
        match opened.live().await {
            Ok(live) => Ok((Self { opened, args }, live)),
            Err(NotLive::Failed(why)) => Err(why),
            Err(NotLive::Anew) => Err(other()),
        }
    }
}

fn request(
    context: Context<'_>,
    permit: &Recorded<Confirmed<Custom>>,
    args: &RawValue,
) -> Result<Box<RawValue>, serde_json::Error> {
    let component = context.caller.component();
    let config: &RawValue = serde_json::from_str(permit.get().terms().config())?;
    serde_json::value::to_raw_value(&Request {
        context: RequestContext {
            component: component.as_str(),
            pack: component.pack_str(),
            permission: permit.get().ask().handler.as_str(),
            config,
            mode: permit.get().terms().mode().as_str(),
            record: permit.id().to_string(),
        },
        args,
    })
}

/// Runs the call to its end, or to that of its grant or of the call that asked.
async fn call(
    context: Context<'_>,
    permit: &Recorded<Confirmed<Custom>>,
    live: &Live,
    invocation: &Arc<Invocation>,
    request: Box<RawValue>,
) -> CallReport {
    let mut lease = Lease::<Custom>::new(
        context.broker.policy(),
        context.caller.component(),
        permit.get().ask().clone(),
    );
    let calling = live.pool.call(Arc::clone(invocation), request, None);
    tokio::pin!(calling);
    tokio::select! {
        report = &mut calling => return report,
        _ = lease.revoked() => {}
        () = call_ended(context) => {}
    }
    invocation.cut();
    calling.await
}

/// Resolves when the call that asked is over; never for who asks outside of a call.
async fn call_ended(context: Context<'_>) {
    match context.caller.invocation() {
        Some(invocation) => invocation.ended().await,
        None => std::future::pending().await,
    }
}

fn note(context: Context<'_>, live: &Live, report: &CallReport) {
    let spec = live.pool.spec();
    context.broker.executions().write(&Execution {
        container_id: &live.container,
        component: live.pool.component().as_str(),
        argv: &spec.argv(),
        duration: report.duration,
        exit_code: None,
        truncated: report.truncated,
        stopped_reason: report.stopped.as_str(),
        error: None,
        findings: &[],
    });
}

/// The form that every answer has; what a handler's process says may be anything.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The answer as the caller gets it, and whether it is a success.
fn answer(result: &str) -> (String, bool) {
    if result.len() > MAX_RESULT {
        let message = format!("the handler's answer is larger than {MAX_RESULT} bytes of JSON");
        return (failure("too_large", &message), false);
    }
    let null = RawValue::NULL;
    match serde_json::from_str::<Answer<'_>>(result) {
        Ok(Answer { ok: true, data, .. }) => {
            let data = data.unwrap_or(null);
            (format!(r#"{{"ok":true,"data":{data}}}"#), true)
        }
        Ok(Answer {
            ok: false, error, ..
        }) => {
            let error = error.unwrap_or(null);
            (format!(r#"{{"ok":false,"error":{error}}}"#), false)
        }
        Err(_) => (
            failure(
                "bad_handler",
                "the handler answered with something that is no answer",
            ),
            false,
        ),
    }
}

fn failure(kind: &str, message: &str) -> String {
    json!({"ok": false, "error": {"message": message, "type": kind}}).to_string()
}

//! Takes in a file of any size as a body, whole or not at all.

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileWrite, FileWriteAction, FileWriteFound, Permit};

use super::{
    count,
    create::{Draft, Existing},
    io_failure,
    write::{self, Target},
};
use crate::{
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Serves one upload.
#[derive(Debug)]
pub struct UploadHandler {
    /// The content, as it comes in.
    pub body: Incoming,
}

impl Handler<FileWrite> for UploadHandler {
    type Handle = Target;
    type Reply = u64;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Target), Refusal> {
        write::find(context, permit.get())
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileWrite>>,
        target: Target,
    ) -> Performed<u64> {
        let permit = permit.get();
        let mut lease = Lease::<FileWrite>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        let existing = match permit.ask().action {
            FileWriteAction::Create => Existing::Refuse,
            _ => Existing::Replace,
        };
        let mut received = 0;
        let limit = permit.facts().max_bytes;
        let result = tokio::select! {
            result = receive(self.body, target, existing, limit, &mut received) => result,
            denial = lease.revoked() => Err(Refusal::Denied {
                reason: rumi_policy::Reason::Revoked,
                sentence: denial.sentence,
                record: String::new(),
            }),
        };
        Performed {
            bytes_in: received,
            ..Performed::plain(result.map_err(|refusal| name(refusal, permit.ask().path.as_str())))
        }
    }
}

/// Failures below know no path; they are given the one that was asked for.
fn name(refusal: Refusal, path: &str) -> Refusal {
    match refusal {
        Refusal::Failed { code, message } => {
            Refusal::failed(code, format!("`{}`: {message}", path.escape_debug()))
        }
        denied @ Refusal::Denied { .. } => denied,
    }
}

async fn receive(
    mut body: Incoming,
    target: Target,
    existing: Existing,
    limit: u64,
    received: &mut u64,
) -> Result<u64, Refusal> {
    let Target::Placed(placed) = target else {
        return Err(Refusal::failed(Failure::Internal, "no place to write to"));
    };
    let place = std::sync::Arc::new(placed.from);
    let opened = std::sync::Arc::clone(&place);
    let mut draft = blocking(move || Draft::begin(&opened)).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::failed(
                Failure::Precondition,
                "the upload ended before it was whole",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        *received += count(data.len());
        if *received > limit {
            return Err(Refusal::failed(
                Failure::TooLarge,
                format!("more than the {limit} bytes that may be written"),
            ));
        }
        draft = blocking(move || append(draft, &data)).await?;
    }
    blocking(move || draft.publish(&place, existing)).await
}

fn append(mut draft: Draft, data: &Bytes) -> io::Result<Draft> {
    draft.write(data)?;
    Ok(draft)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| match io_failure("", &error) {
            Refusal::Failed { code, message } => {
                Refusal::failed(code, message.trim_start_matches("`` ").to_owned())
            }
            denied @ Refusal::Denied { .. } => denied,
        })
}

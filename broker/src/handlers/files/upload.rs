//! Takes in a file of any size as a body, whole or not at all.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileWrite, FileWriteAction, FileWriteFound, Permit};

use tokio::task::JoinHandle;

use super::{
    ChangeError, count,
    create::{Draft, Existing},
    payer::Payer,
    write::{self, Target},
};
use crate::{
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Serves one upload.
#[derive(Debug)]
pub struct UploadHandler<B> {
    /// The content, as it comes in.
    pub body: B,
}

/// Frames that are written at once where they are there already.
const AT_ONCE: usize = 8;

/// Why an upload was not taken in.
enum UploadError {
    Refused(Refusal),
    Change(ChangeError),
}

impl From<Refusal> for UploadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ChangeError> for UploadError {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}

impl<B> Handler<FileWrite> for UploadHandler<B>
where
    B: Stream<Item = Result<Bytes, Refusal>> + Send,
{
    type Handle = Target;
    type Reply = u64;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileWrite>>,
    ) -> Result<(FileWriteFound, Target), Refusal> {
        write::find_counted(context, permit.get()).await
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileWrite>>,
        target: Target,
    ) -> Performed<u64> {
        let record = permit.id();
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
        // Who has said how much will come sends no more: that is what was decided upon.
        let limit = match permit.ask().bytes {
            0 => permit.facts().max_bytes,
            said => permit.facts().max_bytes.min(said),
        };
        let payer = Payer::of(context, permit);
        let receiving = receive(self.body, target, existing, payer, limit, &mut received);
        let result = tokio::select! {
            result = receiving => result,
            denial = lease.revoked() => Err(UploadError::Refused(Refusal::Denied {
                reason: rumi_policy::Reason::Revoked,
                sentence: denial.sentence,
                record: String::new(),
            })),
        };
        let path = permit.ask().path.as_str();
        let result = result.map_err(|error| match error {
            UploadError::Refused(refusal) => name(refusal, path),
            UploadError::Change(error) => error.refusal(path, record),
        });
        Performed {
            bytes_in: received,
            ..Performed::plain(result)
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

/// Writes one part of the body while the next one comes in.
async fn receive(
    body: impl Stream<Item = Result<Bytes, Refusal>>,
    target: Target,
    existing: Existing,
    payer: Payer,
    limit: u64,
    received: &mut u64,
) -> Result<u64, UploadError> {
    let Target::Placed(placed) = target else {
        return Err(Refusal::failed(Failure::Internal, "no place to write to").into());
    };
    let place = Arc::new(placed.from);
    let opened = Arc::clone(&place);
    let mut writing = blocking(move || Draft::begin(&opened, &payer));
    let mut parts = pin!(body.ready_chunks(AT_ONCE));
    while let Some(frames) = parts.next().await {
        let frames = frames
            .into_iter()
            .collect::<Result<Vec<Bytes>, Refusal>>()?;
        *received += frames.iter().map(|data| count(data.len())).sum::<u64>();
        if *received > limit {
            let message = format!("more than the {limit} bytes that may be written");
            return Err(Refusal::failed(Failure::TooLarge, message).into());
        }
        let draft = writing.await?;
        writing = blocking(move || append(draft, &frames));
    }
    let draft = writing.await?;
    Ok(blocking(move || draft.publish(&place, existing)).await?)
}

fn append(mut draft: Draft, frames: &[Bytes]) -> Result<Draft, ChangeError> {
    for data in frames {
        draft.write(data)?;
    }
    Ok(draft)
}

/// What runs beside the request; it goes on even when nobody waits for it any more.
struct Blocking<T>(JoinHandle<Result<T, ChangeError>>);

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Blocking<T> {
    Blocking(tokio::task::spawn_blocking(work))
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, ChangeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(ended.unwrap_or_else(|error| Err(io::Error::other(error).into())))
    }
}

//! `build`, `up` and `down`: one stream of progress, a few packs at once.

use std::{sync::Arc, time::Instant};

use futures_util::StreamExt as _;
use rumi_policy::PackId;
use rumi_proto::v1::{self, progress};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{ControlService, Replies, actor, approval, millis, pack_id};
use crate::{
    container::Running,
    packs::{Pack, Packs, StartError, Word},
};

/// Messages that wait for a slow terminal.
const QUEUE: usize = 256;

/// What is done to each of the named packs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Build,
    Up,
    Down,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

type Sender = mpsc::Sender<Result<v1::Progress, Status>>;

impl ControlService {
    pub(super) async fn each(
        &self,
        request: Request<v1::PacksRequest>,
        step: Step,
    ) -> Result<Response<Replies<v1::Progress>>, Status> {
        let actor = actor(&request)?;
        let request = request.into_inner();
        let wanted = self.wanted(&request.packs, step)?;
        let word = if request.approve {
            Word::Unseen(actor)
        } else {
            Word::Admin(actor)
        };
        for pack in &wanted {
            self.admin(actor, step.as_str(), pack.as_str(), None)
                .await?;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let at_once = self.packs.broker().config().start.concurrency.get();
        let turns = Arc::new(Semaphore::new(usize::from(at_once)));
        for pack in wanted {
            let packs = Arc::clone(&self.packs);
            let (sender, turns) = (sender.clone(), Arc::clone(&turns));
            // A task of its own: a terminal that goes away stops nothing half-way.
            tokio::spawn(async move {
                let Ok(_turn) = turns.acquire().await else {
                    return;
                };
                one(&packs, pack, (step, word), &sender).await;
            });
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    /// A mistyped name is not a pack that failed, nor one that is down already.
    fn exist(&self, wanted: &[PackId], step: Step) -> Result<(), Status> {
        let packs = self.packs.broker().layout().packs();
        let unknown = wanted.iter().find(|pack| {
            !packs.join(pack.as_str()).is_dir()
                && self.packs.shown(std::slice::from_ref(pack)).is_empty()
        });
        match unknown {
            Some(pack) if matches!(step, Step::Down) => {
                Err(Status::not_found(format!("there is no pack `{pack}`")))
            }
            Some(pack) => Err(Status::not_found(format!(
                "there is no pack `{pack}`; remedy: packctl init {pack}"
            ))),
            None => Ok(()),
        }
    }

    /// Packs that must be named, and must be there.
    pub(super) fn named(&self, names: &[String]) -> Result<Vec<PackId>, Status> {
        let named: Vec<PackId> = names
            .iter()
            .map(|name| pack_id(name))
            .collect::<Result<_, _>>()?;
        if named.is_empty() {
            return Err(Status::invalid_argument("no pack is named"));
        }
        self.exist(&named, Step::Up)?;
        Ok(named)
    }

    fn wanted(&self, names: &[String], step: Step) -> Result<Vec<PackId>, Status> {
        if !names.is_empty() {
            let wanted: Vec<PackId> = names
                .iter()
                .map(|name| pack_id(name))
                .collect::<Result<_, _>>()?;
            self.exist(&wanted, step)?;
            return Ok(wanted);
        }
        if matches!(step, Step::Down) {
            return Ok(self.packs.shown(&[]).into_iter().map(|s| s.id).collect());
        }
        Pack::all(&self.packs.broker().layout().packs())
            .map_err(|error| Status::internal(format!("cannot list docker/packs: {error}")))
    }

    pub(super) fn log_lines(
        &self,
        request: v1::LogsRequest,
    ) -> Result<Replies<v1::LogLine>, Status> {
        let pack = pack_id(&request.pack)?;
        let Some(running) = self.packs.running(&pack) else {
            return Err(Status::not_found(format!(
                "`{pack}` does not run; remedy: packctl up {pack}"
            )));
        };
        let lines = if request.lines == 0 {
            200
        } else {
            request.lines
        };
        let logs = self
            .packs
            .broker()
            .engine()
            .logs(&running.container, Some(lines), request.follow)
            .map(move |line| match line {
                Ok(line) => {
                    let (component, text) = whose(&line.text, &running);
                    Ok(v1::LogLine {
                        stream: if line.error { "stderr" } else { "stdout" }.to_owned(),
                        component_id: component,
                        line: text.to_owned(),
                        time: line.time,
                    })
                }
                Err(error) => Err(Status::unavailable(error.to_string())),
            });
        Ok(Box::pin(logs))
    }
}

/// A container's lines are the guest's; it puts the uid before those that a component caused.
fn whose<'a>(line: &'a str, running: &Running) -> (String, &'a str) {
    let tagged = line
        .strip_prefix("rumi-guest: [")
        .and_then(|rest| rest.split_once("] "));
    let user = tagged.and_then(|(uid, text)| {
        let mut users = running.components.iter();
        let user = users.find(|user| user.uid.to_string() == uid)?;
        Some((user.component.to_string(), text))
    });
    user.unwrap_or_else(|| (String::new(), line))
}

async fn one(packs: &Packs, pack: PackId, (step, word): (Step, Word), sender: &Sender) {
    let started = Instant::now();
    let name = pack.to_string();
    let mut progress = |message: &str| {
        let told = v1::Progress {
            pack: name.clone(),
            message: message.to_owned(),
            result: None,
        };
        // Progress is for eyes: what a slow terminal cannot take in time is left out.
        drop(sender.try_send(Ok(told)));
    };
    let done = match step {
        Step::Build => packs.build(&pack, word, &mut progress).await.map(|built| {
            let changed = built.changed;
            (built.image.to_string(), String::new(), changed)
        }),
        Step::Up => packs.up(&pack, word, &mut progress).await.map(|up| {
            let (image, container) = (
                up.running.image.to_string(),
                up.running.container.to_string(),
            );
            (image, container, up.changed)
        }),
        Step::Down => packs
            .down(&pack)
            .await
            .map(|was| (String::new(), String::new(), was)),
    };
    let result = match done {
        Ok((image_id, container_id, changed)) => progress::Result::Done(v1::PackDone {
            image_id,
            container_id,
            changed,
            duration_ms: millis(started.elapsed()),
        }),
        Err(StartError::NotApproved { review, .. }) => {
            progress::Result::NotApproved(approval::shown(packs, &pack, *review))
        }
        Err(error) => progress::Result::Failed(failed(&error)),
    };
    let told = v1::Progress {
        pack: name,
        message: String::new(),
        result: Some(result),
    };
    if sender.send(Ok(told)).await.is_err() {
        tracing::debug!(%pack, "nobody waits for the end of this step");
    }
}

fn failed(error: &StartError) -> v1::PackFailed {
    let (message, remedy) = said(error);
    v1::PackFailed {
        message,
        remedy,
        last_lines: error.last_lines(),
    }
}

/// What went wrong, in one line, and what helps.
pub(super) fn said(error: &StartError) -> (String, String) {
    // What the build printed last goes as lines of its own.
    let whole = error.to_string();
    let said = whole.lines().next().unwrap_or_default();
    let (message, remedy) = match said.split_once("; remedy: ") {
        Some((message, remedy)) => (message, remedy.to_owned()),
        None => (said, error.remedy()),
    };
    let mut message = message.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !said.contains(&cause_text) && !message.contains(&cause_text) {
            message.push_str(": ");
            message.push_str(&cause_text);
        }
        source = cause.source();
    }
    (message, remedy)
}

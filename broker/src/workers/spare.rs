//! One warm spare: a forked child in a cgroup of its own, waiting for its one call.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    ending::end,
    frame::{self, FrameError, FromSpare, SpareLimits, SpareSays, ToSpare, ToolError},
    spec::{Program, ToolSpec},
};
use crate::{caller::CallSlot, container::CallCgroup};

/// How long a tool's file may take to load.
const LOAD: Duration = Duration::from_secs(20);
/// How long a spare that is given up may take to say what was printed.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Open files of one call.
const OPEN_FILES: u64 = 1024;

/// The connection to a spare.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Line for S {}

/// A spare that holds its place until it is used or dropped.
pub(super) struct Spare {
    stream: Box<dyn Line>,
    cgroup: Option<CallCgroup>,
    slot: Arc<CallSlot>,
    broken: Option<ToolError>,
    /// The number of the call it was handed out to.
    pub(super) call: Option<u64>,
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare")
            .field("cgroup", &self.cgroup)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            // Outside of a runtime, which is at shutdown, the next start's sweep ends it.
            if let Ok(handle) = tokio::runtime::Handle::try_current() {
                handle.spawn(end(cgroup));
            }
        }
    }
}

impl Spare {
    /// Lets the spare load its tool; only now may foreign code run in it.
    pub(super) async fn prepare(
        mut stream: Box<dyn Line>,
        cgroup: CallCgroup,
        slot: Arc<CallSlot>,
        spec: &ToolSpec,
    ) -> Result<Self, FrameError> {
        let (command, start) = match &spec.program {
            Program::Python { .. } => (None, None),
            Program::Command { argv, start } => (Some(argv.as_slice()), Some(*start)),
        };
        let prepare = ToSpare::Prepare {
            entry: &spec.entry,
            command,
            start,
            working_dir: spec.working_dir.as_deref(),
            env: spec
                .env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            component_id: spec.component.as_str(),
            limits: SpareLimits {
                output_bytes: spec.output_bytes,
                nofile: OPEN_FILES,
            },
        };
        let mut spare = Self {
            broken: None,
            call: None,
            cgroup: Some(cgroup),
            slot,
            stream: {
                // A peer may have filled the socket with earlier replies that it never reads.
                tokio::time::timeout(LOAD, frame::write(&mut stream, &prepare))
                    .await
                    .map_err(|late| FrameError::Closed(late.into()))??;
                stream
            },
        };
        let loaded =
            tokio::time::timeout(LOAD, frame::read::<_, FromSpare>(&mut spare.stream)).await;
        spare.broken = match loaded {
            Ok(Ok(said)) => match said.says {
                SpareSays::Ready => None,
                SpareSays::Broken => Some(said.error.unwrap_or_else(|| ToolError {
                    message: "the tool did not load and did not say why".to_owned(),
                    kind: "load".to_owned(),
                })),
                SpareSays::Result => Some(ToolError {
                    message: "the tool answered before it was called".to_owned(),
                    kind: "protocol".to_owned(),
                }),
            },
            Ok(Err(error)) => Some(spare.last_words(&error)),
            Err(_) => Some(ToolError {
                message: format!("the tool's file did not load within {} s", LOAD.as_secs()),
                kind: "timeout".to_owned(),
            }),
        };
        Ok(spare)
    }

    fn last_words(&self, error: &FrameError) -> ToolError {
        let starved = self.cgroup.as_ref().is_some_and(CallCgroup::oom_killed);
        if starved {
            ToolError {
                message:
                    "the tool ran out of memory while it loaded; raise memory_mb in its pack.json"
                        .to_owned(),
                kind: "memory".to_owned(),
            }
        } else {
            ToolError {
                message: format!("the tool's process ended while it loaded: {error}"),
                kind: "crashed".to_owned(),
            }
        }
    }

    /// Why a call cannot succeed here, where the tool did not load.
    pub(super) fn broken(&self) -> Option<&ToolError> {
        self.broken.as_ref()
    }

    /// A waiting spare has nothing to say; what it does say, or its end, disqualifies it.
    pub(super) fn alive(&mut self) -> bool {
        let mut byte = [0];
        self.broken.is_some() || self.stream.read(&mut byte).now_or_never().is_none()
    }

    /// The connection and the control group at once, for a run that is no call.
    pub(super) fn parts(&mut self) -> (&mut Box<dyn Line>, Option<&CallCgroup>) {
        (&mut self.stream, self.cgroup.as_ref())
    }

    pub(super) fn slot(&self) -> &Arc<CallSlot> {
        &self.slot
    }

    pub(super) async fn ask(&mut self, call: &ToSpare<'_>) -> Result<FromSpare, FrameError> {
        frame::write(&mut self.stream, call).await?;
        frame::read(&mut self.stream).await
    }

    /// What was printed by a tool that did not answer in time. Half of the connection is closed, which says that no answer is
    /// waited for; a process that hears nothing any more says nothing.
    pub(super) async fn printed(&mut self) -> Option<FromSpare> {
        let asking = async {
            self.stream.shutdown().await.ok()?;
            frame::read(&mut self.stream).await.ok()
        };
        tokio::time::timeout(LAST_WORDS, asking).await.ok()?
    }

    /// Gives up the cgroup, for whoever ends the call.
    pub(super) fn into_cgroup(mut self) -> Option<CallCgroup> {
        self.cgroup.take()
    }
}

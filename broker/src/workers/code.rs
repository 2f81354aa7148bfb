//! Processes that keep a run of ad-hoc code, from the same orders and admissions as spares.

use std::{sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{ending::end, frame::FrameError, pool::Pool, spare::Spare};
use crate::{
    caller::Invocation,
    container::{CallCgroup, Ended},
};

/// Why there is no process to keep a run.
#[derive(Debug, thiserror::Error)]
pub enum NoKeeper {
    /// None came.
    #[error("no process for the code came: {0}")]
    Missing(String),
    /// One came, and did not wait as it should.
    #[error("the process for the code could not be prepared: {0}")]
    Broken(String),
}

impl From<FrameError> for NoKeeper {
    fn from(error: FrameError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A process of the guest that waits in a control group of its own for one run.
#[derive(Debug)]
pub struct Keeper(Spare);

impl Pool {
    /// Has one made, and waits for it.
    ///
    /// # Errors
    /// When none comes within `patience`.
    pub async fn keeper(&self, patience: Duration) -> Result<Keeper, NoKeeper> {
        let spare = self.take(patience).await;
        let spare = spare.map_err(|error| NoKeeper::Missing(error.to_string()))?;
        match spare.broken() {
            Some(error) => Err(NoKeeper::Broken(error.message.clone())),
            None => Ok(Keeper(spare)),
        }
    }

    /// Whom requests belong to that come by way of the guest's worker, from now on.
    pub fn runs(&self, invocation: &Arc<Invocation>) {
        self.running.begins(invocation);
    }
}

impl Keeper {
    /// Whether it still waits, and has said nothing.
    pub fn alive(&mut self) -> bool {
        self.0.alive()
    }

    /// Says which run this is.
    pub fn begin(&self, invocation: &Arc<Invocation>) {
        self.0.slot().begin(Arc::clone(invocation));
    }

    /// The connection and the control group at once: one is listened to while the other is looked at.
    pub fn parts(
        &mut self,
    ) -> (
        &mut (impl AsyncRead + AsyncWrite + Unpin + Send + use<>),
        Option<&CallCgroup>,
    ) {
        self.0.parts()
    }

    /// Ends all that runs in it.
    pub async fn end(self) -> Option<Ended> {
        end(self.0.into_cgroup()?).await
    }
}

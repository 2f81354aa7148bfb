//! The image that code runs in: the base with the most in it, and on top of it the libraries of the admin.
//!
//! It is built before the first container, and again when the base is another. While it cannot be built no code runs: code
//! that finds no library where it was promised one fails for a reason that nobody sees.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rumi_policy::manifest::Base;

use crate::{
    broker::{BaseImageError, Broker},
    config::Libraries,
    container::{Blueprint, BuildError, ImageId, build},
    vetting::Language,
};

/// After so long a build that failed is tried again, when there is code to run.
const AGAIN: Duration = Duration::from_secs(60);

/// Why there is no image for code.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CodeImageError {
    /// There is nothing to begin from.
    #[error(transparent)]
    Base(Arc<BaseImageError>),
    /// The libraries are not in it.
    #[error(
        "the image with the libraries of `exec.requirements` was not built, and code does not run without them: {}",
        in_one_line(.0)
    )]
    Libraries(Arc<BuildError>),
    /// The build was given up half-way.
    #[error("the build of the image for code failed; the broker's log says why")]
    Failed,
}

/// What went wrong, the last that the build said of it, and what helps.
fn in_one_line(error: &BuildError) -> String {
    let whole = error.to_string();
    let (first, output) = whole.split_once('\n').unwrap_or((&whole, ""));
    let (what, remedy) = match first.split_once("; remedy: ") {
        Some((what, remedy)) => (what, format!("; remedy: {remedy}")),
        None => (first, String::new()),
    };
    match output.lines().rfind(|line| !line.trim().is_empty()) {
        Some(last) => format!("{what}: {}{remedy}", last.trim()),
        None => format!("{what}{remedy}"),
    }
}

impl From<BaseImageError> for CodeImageError {
    fn from(error: BaseImageError) -> Self {
        Self::Base(Arc::new(error))
    }
}

/// An image, and what it has.
#[derive(Debug, Clone)]
pub(super) struct CodeImage {
    pub(super) id: ImageId,
    /// Whether JavaScript runs in it.
    node: bool,
    /// Whether it has libraries of the admin's.
    pub(super) venv: bool,
}

impl CodeImage {
    /// Why code of this language does not run in it.
    pub(super) fn lacks(&self, language: Language) -> Option<&'static str> {
        (language == Language::Javascript && !self.node)
            .then_some("there is no Node.js for ad-hoc code; remedy: docker/base/build node")
    }
}

/// What there is to say of the image with libraries.
#[derive(Debug, Clone)]
pub enum LibrariesState {
    /// No libraries are asked for.
    None,
    /// Nobody has needed it yet, or it is being built.
    Pending,
    /// It is there.
    Built(ImageId),
    /// It could not be built.
    Failed(CodeImageError),
}

/// The image of ad-hoc code, made when it is needed.
#[derive(Debug)]
pub(super) struct Images {
    broker: Arc<Broker>,
    /// Whoever builds it has this; all others wait for what comes of it.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Option<Known>>,
}

/// What came of the last build, and what it began from.
#[derive(Debug)]
struct Known {
    base: ImageId,
    came: Result<ImageId, CodeImageError>,
    at: Instant,
}

impl Images {
    pub(super) fn new(broker: Arc<Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn libraries(&self) -> &Libraries {
        &self.broker.config().exec.requirements
    }

    /// For `packctl doctor`.
    pub(super) fn state(&self) -> LibrariesState {
        if self.libraries().is_empty() {
            return LibrariesState::None;
        }
        match &*self.known() {
            None => LibrariesState::Pending,
            Some(known) => match &known.came {
                Ok(image) => LibrariesState::Built(image.clone()),
                Err(error) => LibrariesState::Failed(error.clone()),
            },
        }
    }

    /// Has it built where libraries are asked for, so that the first run need not wait for that.
    pub(super) fn prepare(self: &Arc<Self>) {
        if self.libraries().is_empty() {
            return;
        }
        let images = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = images.find().await {
                tracing::error!(%error, "ad-hoc code does not run");
            }
        });
    }

    /// The one that code runs in now.
    pub(super) async fn find(self: &Arc<Self>) -> Result<CodeImage, CodeImageError> {
        let engine = self.broker.engine();
        let found = engine.image_id(Base::Node.image()).await;
        let (base, id) = match found.map_err(BaseImageError::from)? {
            Some(id) => (Base::Node, id),
            None => (Base::Base, self.broker.base_image(Base::Base).await?),
        };
        let venv = !self.libraries().is_empty();
        let id = if venv {
            self.with_libraries(base, id).await?
        } else {
            id
        };
        Ok(CodeImage {
            id,
            node: base == Base::Node,
            venv,
        })
    }

    /// What is known may not be so any more: a container could not be made.
    pub(super) fn doubt(&self) {
        let mut known = self.known();
        if known.as_ref().is_some_and(|known| known.came.is_ok()) {
            *known = None;
        }
    }

    async fn with_libraries(
        self: &Arc<Self>,
        base: Base,
        from: ImageId,
    ) -> Result<ImageId, CodeImageError> {
        if let Some(came) = self.already(&from) {
            return came;
        }
        // A task of its own: whoever waits may go away, and the next one needs it all the same.
        let images = Arc::clone(self);
        let building = tokio::spawn(async move {
            let _turn = images.turn.lock().await;
            if let Some(came) = images.already(&from) {
                return came;
            }
            let came = images.build(base).await;
            *images.known() = Some(Known {
                base: from,
                came: came.clone(),
                at: Instant::now(),
            });
            came
        });
        building.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the build of the image for code failed");
            Err(CodeImageError::Failed)
        })
    }

    /// What came of the last build, unless it began from something else or failed long ago.
    fn already(&self, from: &ImageId) -> Option<Result<ImageId, CodeImageError>> {
        let known = self.known();
        let known = known.as_ref().filter(|known| known.base == *from)?;
        let holds = known.came.is_ok() || known.at.elapsed() < AGAIN;
        holds.then(|| known.came.clone())
    }

    async fn build(&self, base: Base) -> Result<ImageId, CodeImageError> {
        let (broker, config) = (&self.broker, self.broker.config());
        let libraries = &self.libraries().python;
        let building = async {
            let blueprint = Blueprint::of_code(base, libraries, &config.build)?;
            let mut progress = |line: &str| tracing::debug!(line, "building the image for code");
            let state = broker.layout().state();
            build(broker.engine(), &blueprint, config, state, &mut progress).await
        };
        match building.await {
            Ok(built) => {
                tracing::info!(image = %built.image, changed = built.changed, "code has its libraries");
                Ok(built.image)
            }
            Err(error) => {
                tracing::error!(%error, "the image for code could not be built");
                Err(CodeImageError::Libraries(Arc::new(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_failed_is_told_in_one_line_that_ends_with_its_remedy() {
        let wheels = BuildError::Wheels {
            output: "Looking in links\nERROR: no such package x\n".to_owned(),
        };
        let told = CodeImageError::Libraries(Arc::new(wheels)).to_string();
        assert!(!told.contains('\n'), "{told}");
        assert!(
            told.contains("downloaded: ERROR: no such package x; remedy: name versions"),
            "{told}"
        );
        let failed = BuildError::TimedOut { seconds: 1 };
        assert_eq!(in_one_line(&failed), failed.to_string());
    }
}

//! Images of packs: built when their content changed, from what was read, without a network.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::{
    blueprint::Blueprint,
    build_output::plain,
    context::ContextError,
    dockerfile::{DockerfileError, FinalStage, final_dockerfile},
    engine::{Engine, ImageId},
    error::EngineError,
    labels,
    recipe::{Recipe, run_build},
    requirements::RequirementError,
    source::Source,
    wheels,
};
use crate::config::{BuildSettings, Config};

/// What sandboxes run in. In a pack's own Dockerfile it stands for whatever the manifest's
/// `base` names.
pub(super) const BASE: &str = "rumi-base:latest";

/// An image that answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub image: ImageId,
    /// Whether it had to be built.
    pub changed: bool,
    /// Hash of all that it was made from.
    pub content: String,
    /// Whether its Dockerfile had the network while it ran.
    pub networked: bool,
}

/// Why a pack was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its directory is not fit.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Its Dockerfile is not fit.
    #[error("`{path}`, {source}")]
    Dockerfile {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        source: DockerfileError,
    },
    /// Its requirements are not fit.
    #[error("`{path}`, {source}")]
    Requirements {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        source: RequirementError,
    },
    /// The admin's list has no such package.
    #[error(
        "`{path}`: `{requirement}` is not among the packages that packs may require; remedy: add it to `build.allowed_requirements` in docker/config.json and start the broker anew, or do without it"
    )]
    NotAllowed {
        /// Which file.
        path: PathBuf,
        /// The requirement.
        requirement: String,
    },
    /// The manifest names requirements that are not there.
    #[error(
        "`{path}` does not exist, but the manifest names it; remedy: create it, or remove `requirements` from pack.json"
    )]
    NoRequirements {
        /// Which file.
        path: PathBuf,
    },
    /// The program that downloads wheels is not there.
    #[error(
        "cannot run `{pip}`: {source}; remedy: install pip (`apt-get install python3-pip`), or name it in `build.pip` of docker/config.json"
    )]
    NoPip {
        /// As it was configured.
        pip: String,
        /// From the system.
        source: io::Error,
    },
    /// Wheels could not be downloaded.
    #[error(
        "wheels could not be downloaded; remedy: name versions that exist as wheels for Python 3.11 on glibc 2.36 (source packages are refused, building them would run their code), and check that the registry can be reached\n{output}"
    )]
    Wheels {
        /// The last lines of pip.
        output: String,
    },
    /// The cache of wheels cannot be used.
    #[error("cannot use `{path}`: {source}; remedy: make room on its file system")]
    Cache {
        /// Which directory.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The CA bundle cannot be read.
    #[error(
        "cannot read the CA bundle `{path}`: {source}; remedy: correct `build.ca_bundle` in docker/config.json"
    )]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// A step of the build failed.
    #[error("the build failed; its last lines:\n{output}")]
    Failed {
        /// The last lines.
        output: String,
    },
    /// The build took too long.
    #[error(
        "the build took longer than {seconds} s and was ended; remedy: raise `build.timeout_ms` in docker/config.json"
    )]
    TimedOut {
        /// How long it was allowed to take.
        seconds: u64,
    },
    /// The result has something that no pack's image may have.
    #[error("the image has {what}; remedy: remove it from the Dockerfile")]
    Unfit {
        /// What it has.
        what: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Builds the pack's image where it is missing or its content changed.
///
/// `progress` gets each line that the build prints, cleaned of control characters.
///
/// # Errors
/// When a step fails; the last lines of the output are in the error.
pub async fn build(
    engine: &Engine,
    blueprint: &Blueprint,
    config: &Config,
    state: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, BuildError> {
    let limit = config.build.timeout_ms.duration();
    let whole = build_untimed(engine, blueprint, &config.build, state, progress);
    tokio::time::timeout(limit, whole)
        .await
        .unwrap_or(Err(BuildError::TimedOut {
            seconds: limit.as_secs(),
        }))
}

async fn build_untimed(
    engine: &Engine,
    blueprint: &Blueprint,
    settings: &BuildSettings,
    state: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, BuildError> {
    let source = Source::read(engine, blueprint, settings).await?;
    let tag = format!(
        "rumi-pack:{}-{}",
        engine.instance().as_str(),
        blueprint.pack
    );
    let done = |image, changed| Built {
        image,
        changed,
        content: source.content.clone(),
        networked: blueprint.networked,
    };
    let old = current(engine, &tag).await?;
    if let Some((image, content)) = &old
        && *content == source.content
    {
        return Ok(done(image.clone(), false));
    }
    let stage = format!("{}-{}", engine.instance().as_str(), blueprint.pack);
    let from = source.foundation(engine, &stage, progress).await?;
    let wheels = match &blueprint.requirements {
        Some(requirements) => Some(wheels::fetch(requirements, settings, state, progress).await?),
        None => None,
    };
    let wheels_hash = wheels.as_ref().map_or("", |wheels| wheels.hash.as_str());
    let recipe = Recipe {
        dockerfile: final_dockerfile(FinalStage {
            from: from.as_str(),
            pip: wheels.as_ref().map(|wheels| wheels.pip.as_str()),
            stage: &stage,
            wheels: wheels_hash,
            labels: &[
                (labels::CONTENT, &source.content),
                (labels::PACK, blueprint.pack.as_str()),
                (labels::INSTANCE, engine.instance().as_str()),
                (labels::STAGE, "final"),
            ],
        }),
        pack: Some((blueprint.context.clone(), "pack/")),
        wheels: wheels.as_ref().map(|wheels| wheels.directory.clone()),
        tag: Some(tag),
        ..Recipe::default()
    };
    let image = run_build(engine, recipe, progress).await?;
    check(engine, &image).await?;
    tidy(
        engine,
        &stage,
        wheels_hash,
        old.map(|(image, _)| image),
        &image,
    )
    .await;
    Ok(done(image, true))
}

/// The image under a tag, and the hash of what it was made from.
async fn current(engine: &Engine, tag: &str) -> Result<Option<(ImageId, String)>, EngineError> {
    let answer = engine.docker().inspect_image(tag).await;
    match answer.map_err(EngineError::call("inspect", tag)) {
        Ok(image) => {
            let labels = image
                .config
                .and_then(|config| config.labels)
                .unwrap_or_default();
            let content = labels.get(labels::CONTENT).cloned().unwrap_or_default();
            Ok(image.id.map(|id| (ImageId::new(&id), content)))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses an image whose settings would reach beyond the walls of its container.
pub(super) async fn check(engine: &Engine, image: &ImageId) -> Result<(), BuildError> {
    let answer = engine.docker().inspect_image(image.as_str()).await;
    let config = answer
        .map_err(EngineError::call("inspect", image.as_str()))?
        .config
        .unwrap_or_default();
    if let Some(volume) = config.volumes.unwrap_or_default().first() {
        return Err(BuildError::Unfit {
            what: format!("a volume at `{}`", plain(volume)),
        });
    }
    let labels = config.labels.unwrap_or_default();
    match labels::OF_CONTAINERS
        .iter()
        .find(|key| labels.contains_key(**key))
    {
        Some(key) => Err(BuildError::Unfit {
            what: format!("the label `{key}`, which is the broker's"),
        }),
        None => Ok(()),
    }
}

/// Removes the image that was replaced, and stages that no later build can use. What is still
/// in use stays; the engine refuses to remove it.
async fn tidy(engine: &Engine, stage: &str, wheels: &str, old: Option<ImageId>, new: &ImageId) {
    let mut remove: Vec<String> = Vec::new();
    if let Some(old) = old.filter(|old| old != new) {
        remove.push(old.to_string());
    }
    let filters = HashMap::from([("dangling", vec!["true"]), ("label", vec![labels::STAGE])]);
    let options = ListImagesOptionsBuilder::default()
        .filters(&filters)
        .build();
    let keep = format!("{stage}-venv-{wheels}");
    for image in engine
        .docker()
        .list_images(Some(options))
        .await
        .unwrap_or_default()
    {
        let label = image
            .labels
            .get(labels::STAGE)
            .map(String::as_str)
            .unwrap_or_default();
        let mine = label
            .strip_prefix(stage)
            .is_some_and(|rest| rest == "-code" || rest.starts_with("-venv-"));
        if mine && label != keep {
            remove.push(image.id);
        }
    }
    for image in remove {
        let options = RemoveImageOptionsBuilder::default().build();
        if let Err(error) = engine
            .docker()
            .remove_image(&image, Some(options), None)
            .await
        {
            tracing::debug!(%image, %error, "an image is kept");
        }
    }
}

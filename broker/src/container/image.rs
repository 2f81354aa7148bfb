//! Images of packs: built when their content changed, from what was read, without a network.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use rumi_policy::PackId;

use super::{
    build_output::plain,
    context::{Context, ContextError},
    digest::Digest,
    dockerfile::{DockerfileError, FinalStage, OwnDockerfile, final_dockerfile},
    engine::{Engine, ImageId},
    error::EngineError,
    labels, lent,
    recipe::{Recipe, run_build},
    requirements::{RequirementError, Requirements},
    wheels,
};
use crate::config::{BuildSettings, Config};

/// What every pack's image begins from, unless its own Dockerfile says otherwise.
pub(super) const BASE: &str = "rumi-base:latest";
/// Raised when the way images are made changes, so that all are built again.
const RECIPE_VERSION: &[u8] = b"rumi-content-1";

/// A pack to be built.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// Its id.
    pub pack: &'a PackId,
    /// Its directory on the host.
    pub directory: &'a Path,
    /// Name of its list of requirements within the directory.
    pub requirements: Option<&'a str>,
}

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
/// When the pack is unfit or a step fails; the last lines of the output are in the error.
pub async fn build(
    engine: &Engine,
    request: BuildRequest<'_>,
    config: &Config,
    state: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, BuildError> {
    let limit = config.build.timeout_ms.duration();
    let whole = build_untimed(engine, request, &config.build, state, progress);
    tokio::time::timeout(limit, whole)
        .await
        .unwrap_or(Err(BuildError::TimedOut {
            seconds: limit.as_secs(),
        }))
}

/// Whether a build of this pack may use the network; the admin is told before it begins.
#[must_use]
pub fn is_networked(pack: &PackId, directory: &Path, config: &Config) -> bool {
    config.build.networked_packs.contains(pack.as_str()) && directory.join("Dockerfile").is_file()
}

async fn build_untimed(
    engine: &Engine,
    request: BuildRequest<'_>,
    settings: &BuildSettings,
    state: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, BuildError> {
    let source = Source::read(engine, request, settings).await?;
    let tag = format!("rumi-pack:{}-{}", engine.instance().as_str(), request.pack);
    let done = |image, changed| Built {
        image,
        changed,
        content: source.content.clone(),
        networked: source.networked,
    };
    let old = current(engine, &tag).await?;
    if let Some((image, content)) = &old
        && *content == source.content
    {
        return Ok(done(image.clone(), false));
    }
    let stage = format!("{}-{}", engine.instance().as_str(), request.pack);
    let from = source.foundation(engine, &stage, progress).await?;
    let wheels = match &source.requirements {
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
        }),
        pack: Some((source.context.clone(), "pack/")),
        wheels: wheels.as_ref().map(|wheels| wheels.directory.clone()),
        tag: Some(tag),
        labels: HashMap::from([
            (labels::CONTENT.to_owned(), source.content.clone()),
            (labels::PACK.to_owned(), request.pack.to_string()),
            (
                labels::INSTANCE.to_owned(),
                engine.instance().as_str().to_owned(),
            ),
            (labels::STAGE.to_owned(), "final".to_owned()),
        ]),
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

/// All that an image is made from.
struct Source {
    context: Context,
    requirements: Option<Requirements>,
    own: Option<OwnDockerfile>,
    /// Images that the own Dockerfile begins from; only the base where there is none.
    images: HashMap<String, ImageId>,
    bundle: Option<Vec<u8>>,
    networked: bool,
    content: String,
}

impl Source {
    async fn read(
        engine: &Engine,
        request: BuildRequest<'_>,
        settings: &BuildSettings,
    ) -> Result<Self, BuildError> {
        let directory = request.directory.to_owned();
        let context = tokio::task::spawn_blocking(move || Context::read(&directory))
            .await
            .map_err(|error| ContextError::Read {
                path: request.directory.to_owned(),
                source: io::Error::other(error),
            })??;
        let requirements = Self::requirements(&context, request)?;
        let own = match context.file("Dockerfile") {
            Some(bytes) => {
                let parsed = OwnDockerfile::parse(bytes).map_err(|source| BuildError::Dockerfile {
                    path: request.directory.join("Dockerfile"),
                    source,
                });
                Some(parsed?)
            }
            None => None,
        };
        let names = own
            .as_ref()
            .map_or_else(|| vec![BASE.to_owned()], OwnDockerfile::images);
        let mut images = HashMap::new();
        for name in names {
            let found = engine.image_id(&name).await?;
            let id = found.ok_or_else(|| EngineError::NoImage {
                reference: name.clone(),
            })?;
            images.insert(name, id);
        }
        let networked = own.is_some() && settings.networked_packs.contains(request.pack.as_str());
        let bundle = if networked {
            lent::bundle(settings)?
        } else {
            None
        };
        let mut source = Self {
            context,
            requirements,
            own,
            images,
            bundle,
            networked,
            content: String::new(),
        };
        source.content = source.hash()?;
        Ok(source)
    }

    fn requirements(
        context: &Context,
        request: BuildRequest<'_>,
    ) -> Result<Option<Requirements>, BuildError> {
        let Some(name) = request.requirements else {
            return Ok(None);
        };
        let path = request.directory.join(name);
        let Some(bytes) = context.file(name) else {
            return Err(BuildError::NoRequirements { path });
        };
        let parsed = Requirements::parse(bytes)
            .map_err(|source| BuildError::Requirements { path, source })?;
        Ok(Some(parsed).filter(|requirements| !requirements.text().is_empty()))
    }

    fn hash(&self) -> Result<String, BuildError> {
        let mut digest = Digest::new().map_err(ContextError::from)?;
        digest.part(RECIPE_VERSION);
        let mut images: Vec<_> = self.images.iter().collect();
        images.sort_by_key(|(name, _)| name.as_str());
        for (name, id) in images {
            digest.part(name.as_bytes()).part(id.as_str().as_bytes());
        }
        digest.part(&[u8::from(self.networked)]);
        digest.part(self.bundle.as_deref().unwrap_or_default());
        let requirements = self.requirements.as_ref().map_or("", Requirements::text);
        digest.part(requirements.as_bytes());
        self.context.digest(&mut digest);
        Ok(digest.hex())
    }

    /// What the code is put on top of: the base, or what the pack's own Dockerfile makes of it.
    async fn foundation(
        &self,
        engine: &Engine,
        stage: &str,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ImageId, BuildError> {
        let no_image = || EngineError::NoImage {
            reference: BASE.to_owned(),
        };
        let Some(own) = &self.own else {
            return Ok(self.images.get(BASE).cloned().ok_or_else(no_image)?);
        };
        let mut lent = HashMap::new();
        if let Some(bundle) = &self.bundle {
            for (name, id) in &self.images {
                lent.insert(name, lent::lend(engine, id, bundle, stage, progress).await?);
            }
        }
        let dockerfile = own.with_images(|name, last| {
            let lent = lent.get(&name.to_owned()).filter(|_| !last);
            let image = lent.or_else(|| self.images.get(name));
            image.map_or_else(|| "scratch".to_owned(), ToString::to_string)
        });
        let recipe = Recipe {
            dockerfile,
            pack: Some((self.context.clone(), "")),
            networked: self.networked,
            labels: HashMap::from([(labels::STAGE.to_owned(), format!("{stage}-own"))]),
            ..Recipe::default()
        };
        let image = run_build(engine, recipe, progress).await?;
        check(engine, &image).await?;
        Ok(image)
    }
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
async fn check(engine: &Engine, image: &ImageId) -> Result<(), BuildError> {
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

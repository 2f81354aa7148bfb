//! What a pack's image is made from: its files, its requirements, and what it begins from.

use std::{collections::HashMap, io};

use super::{
    context::{Context, ContextError},
    digest::Digest,
    dockerfile::OwnDockerfile,
    engine::{Engine, ImageId},
    error::EngineError,
    image::{BASE, BuildError, BuildRequest, check},
    labels, lent,
    recipe::{Recipe, run_build},
    requirements::Requirements,
};
use crate::config::BuildSettings;

/// Raised when the way images are made changes, so that all are built again.
const RECIPE_VERSION: &[u8] = b"rumi-content-1";

/// Whether a Dockerfile means the base by this name, whichever the manifest chose.
fn is_base(name: &str) -> bool {
    name == BASE || BASE.strip_suffix(":latest") == Some(name)
}

/// All that an image is made from.
pub(super) struct Source {
    pub(super) context: Context,
    pub(super) requirements: Option<Requirements>,
    own: Option<OwnDockerfile>,
    /// What the own Dockerfile begins from, by the names it uses; only the base where there is none.
    images: HashMap<String, ImageId>,
    bundle: Option<Vec<u8>>,
    pub(super) networked: bool,
    pub(super) content: String,
}

impl Source {
    pub(super) async fn read(
        engine: &Engine,
        request: BuildRequest<'_>,
        lines: Option<&str>,
        settings: &BuildSettings,
    ) -> Result<Self, BuildError> {
        let directory = request.directory.to_owned();
        let context = tokio::task::spawn_blocking(move || Context::read(&directory))
            .await
            .map_err(|error| ContextError::Read {
                path: request.directory.to_owned(),
                source: io::Error::other(error),
            })??;
        let requirements = Self::requirements(&context, request, lines)?;
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
            let reference = if is_base(&name) {
                request.base.image()
            } else {
                &name
            };
            let found = engine.image_id(reference).await?;
            let id = found.ok_or_else(|| EngineError::NoImage {
                reference: reference.to_owned(),
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
        lines: Option<&str>,
    ) -> Result<Option<Requirements>, BuildError> {
        let parse = |bytes: &[u8], path| {
            let parsed = Requirements::parse(bytes);
            let parsed = parsed.map_err(|source| BuildError::Requirements { path, source })?;
            Ok(Some(parsed).filter(|requirements| !requirements.text().is_empty()))
        };
        if let Some(lines) = lines {
            return parse(lines.as_bytes(), request.directory.join("pack.json"));
        }
        let Some(name) = request.requirements else {
            return Ok(None);
        };
        let path = request.directory.join(name);
        let Some(bytes) = context.file(name) else {
            return Err(BuildError::NoRequirements { path });
        };
        parse(bytes, path)
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
    pub(super) async fn foundation(
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

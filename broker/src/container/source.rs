//! What a pack's image is made from: what the pack brings, and what the host has to put it on.

use std::collections::HashMap;

use super::{
    blueprint::Blueprint,
    context::ContextError,
    digest::Digest,
    dockerfile::OwnDockerfile,
    engine::{Engine, ImageId},
    error::EngineError,
    image::{BASE, BuildError, check},
    labels, lent,
    recipe::{Recipe, run_build},
    requirements::Requirements,
};
use crate::config::BuildSettings;

/// Raised when the way images are made changes, so that all are built again.
const RECIPE_VERSION: &[u8] = b"rumi-content-2";

/// Whether a Dockerfile means the base by this name, whichever the manifest chose.
fn is_base(name: &str) -> bool {
    name == BASE || BASE.strip_suffix(":latest") == Some(name)
}

/// All that an image is made from.
pub(super) struct Source<'a> {
    blueprint: &'a Blueprint,
    /// What the own Dockerfile begins from, by the names it uses; only the base where there is none.
    images: HashMap<String, ImageId>,
    bundle: Option<Vec<u8>>,
    pub(super) content: String,
}

impl<'a> Source<'a> {
    pub(super) async fn read(
        engine: &Engine,
        blueprint: &'a Blueprint,
        settings: &BuildSettings,
    ) -> Result<Self, BuildError> {
        let names = blueprint
            .own
            .as_ref()
            .map_or_else(|| vec![BASE.to_owned()], OwnDockerfile::images);
        let mut images = HashMap::new();
        for name in names {
            let reference = if is_base(&name) {
                blueprint.base.image()
            } else {
                &name
            };
            let found = engine.image_id(reference).await?;
            let id = found.ok_or_else(|| EngineError::NoImage {
                reference: reference.to_owned(),
            })?;
            images.insert(name, id);
        }
        let bundle = if blueprint.networked {
            lent::bundle(settings)?
        } else {
            None
        };
        let mut source = Self {
            blueprint,
            images,
            bundle,
            content: String::new(),
        };
        source.content = source.hash()?;
        Ok(source)
    }

    fn hash(&self) -> Result<String, BuildError> {
        let mut digest = Digest::new().map_err(ContextError::from)?;
        digest.part(RECIPE_VERSION);
        let mut images: Vec<_> = self.images.iter().collect();
        images.sort_by_key(|(name, _)| name.as_str());
        for (name, id) in images {
            digest.part(name.as_bytes()).part(id.as_str().as_bytes());
        }
        digest.part(self.bundle.as_deref().unwrap_or_default());
        let requirements = self.blueprint.requirements.as_ref();
        digest.part(requirements.map_or("", Requirements::text).as_bytes());
        // The files, and whether the network was there.
        digest.part(self.blueprint.digest().as_bytes());
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
        let Some(own) = &self.blueprint.own else {
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
            pack: Some((self.blueprint.context.clone(), "")),
            networked: self.blueprint.networked,
            labels: HashMap::from([(labels::STAGE.to_owned(), format!("{stage}-own"))]),
            ..Recipe::default()
        };
        let image = run_build(engine, recipe, progress).await?;
        check(engine, &image).await?;
        Ok(image)
    }
}

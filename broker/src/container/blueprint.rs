//! What a pack brings to its image, read once: what is shown and approved is what is built.

use std::path::{Path, PathBuf};

use rumi_policy::{PackId, manifest};

use super::{
    context::{Context, ContextError},
    digest::Digest,
    dockerfile::OwnDockerfile,
    image::BuildError,
    requirements::Requirements,
};
use crate::config::BuildSettings;

/// Raised when a digest comes to cover something else, so that all packs are approved again.
const DIGEST_VERSION: &[u8] = b"rumi-approval-1";

/// A pack to be built.
#[derive(Debug, Clone)]
pub struct BuildRequest<'a> {
    /// Its id.
    pub pack: &'a PackId,
    /// Its directory on the host, for messages: nothing of it is read any more.
    pub directory: &'a Path,
    /// All that was in it.
    pub context: Context,
    /// What its image begins from.
    pub base: manifest::Base,
    /// What its virtual environment is made of.
    pub requirements: &'a manifest::Requirements,
}

/// All that a pack has to say about its image. What it begins from, and the wheels that its
/// requirements lead to, are the host's.
#[derive(Debug)]
pub struct Blueprint {
    pub(super) pack: PackId,
    pub(super) base: manifest::Base,
    pub(super) context: Context,
    pub(super) requirements: Option<Requirements>,
    pub(super) own: Option<OwnDockerfile>,
    pub(super) networked: bool,
    digest: String,
}

impl Blueprint {
    /// Reads what decides about the build. It takes its time: not for a thread that others wait for.
    ///
    /// # Errors
    /// When the pack's requirements or its Dockerfile are not fit.
    pub fn read(request: BuildRequest<'_>, settings: &BuildSettings) -> Result<Self, BuildError> {
        let requirements = requirements(&request, settings)?;
        let own = match request.context.file("Dockerfile") {
            Some(bytes) => {
                let parsed = OwnDockerfile::parse(bytes).map_err(|source| BuildError::Dockerfile {
                    path: request.directory.join("Dockerfile"),
                    source,
                });
                Some(parsed?)
            }
            None => None,
        };
        let networked = own.is_some() && settings.networked_packs.contains(request.pack.as_str());
        let mut digest = Digest::new().map_err(ContextError::from)?;
        digest
            .part(DIGEST_VERSION)
            .part(request.pack.as_str().as_bytes())
            .part(&[u8::from(networked)]);
        request.context.digest(&mut digest);
        Ok(Self {
            pack: request.pack.clone(),
            base: request.base,
            context: request.context,
            requirements,
            own,
            networked,
            digest: digest.hex(),
        })
    }

    /// The image of ad-hoc code: what it begins from, and the admin's libraries. Nothing in it is a pack's.
    ///
    /// # Errors
    /// When a library is not among the packages that may be required.
    pub fn of_code(
        base: manifest::Base,
        requirements: &Requirements,
        settings: &BuildSettings,
    ) -> Result<Self, BuildError> {
        allowed(requirements, settings, || "docker/config.json".into())?;
        let pack = PackId::of_code_image();
        // Whoever looks into the image sees what it was made for.
        let context = Context::of_file("requirements.txt", requirements.text().as_bytes());
        let mut digest = Digest::new().map_err(ContextError::from)?;
        digest.part(pack.as_str().as_bytes());
        context.digest(&mut digest);
        Ok(Self {
            pack,
            base,
            context,
            requirements: Some(requirements.clone()),
            own: None,
            networked: false,
            digest: digest.hex(),
        })
    }

    /// Hash of every file of the pack, with its path and whether it can be executed, and of whether
    /// its build has the network. It is what an approval names.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// All that is in the pack's directory.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether its Dockerfile has the network while it runs.
    #[must_use]
    pub fn is_networked(&self) -> bool {
        self.networked
    }

    /// One requirement each, in one spelling.
    pub fn requirements(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().flat_map(|all| all.text().lines())
    }

    /// The instructions of its own Dockerfile, line by line.
    pub fn instructions(&self) -> impl Iterator<Item = &str> {
        self.own.iter().flat_map(OwnDockerfile::instructions)
    }
}

fn requirements(
    request: &BuildRequest<'_>,
    settings: &BuildSettings,
) -> Result<Option<Requirements>, BuildError> {
    let parse = |bytes: &[u8], path: PathBuf| {
        let parsed = Requirements::parse(bytes);
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(source) => return Err(BuildError::Requirements { path, source }),
        };
        allowed(&parsed, settings, || path)?;
        Ok(Some(parsed).filter(|requirements| !requirements.text().is_empty()))
    };
    match request.requirements {
        manifest::Requirements::None => Ok(None),
        manifest::Requirements::Lines(lines) => parse(
            lines.join("\n").as_bytes(),
            request.directory.join("pack.json"),
        ),
        manifest::Requirements::File(name) => {
            let path = request.directory.join(name.as_str());
            match request.context.file(name.as_str()) {
                Some(bytes) => parse(bytes, path),
                None => Err(BuildError::NoRequirements { path }),
            }
        }
    }
}

/// Holds requirements against the admin's list of packages.
fn allowed(
    requirements: &Requirements,
    settings: &BuildSettings,
    path: impl FnOnce() -> PathBuf,
) -> Result<(), BuildError> {
    let lines = requirements.text().lines();
    match settings.allowed_requirements.lacks(lines) {
        Some(line) => Err(BuildError::NotAllowed {
            path: path(),
            requirement: line.to_owned(),
        }),
        None => Ok(()),
    }
}

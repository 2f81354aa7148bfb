//! The image that code runs in.

use rumi_policy::manifest::Base;

use crate::{
    broker::{BaseImageError, Broker},
    container::ImageId,
    vetting::Language,
};

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

/// The one with the most in it that is there.
pub(super) async fn find(broker: &Broker) -> Result<CodeImage, BaseImageError> {
    let node = broker.engine().image_id(Base::Node.image()).await?;
    let (id, node) = match node {
        Some(id) => (id, true),
        None => (broker.base_image(Base::Base).await?, false),
    };
    Ok(CodeImage {
        id,
        node,
        venv: false,
    })
}

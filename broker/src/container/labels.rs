//! Labels: all that a restarted broker must know about a container stands on the container.

use std::collections::HashMap;

use rumi_policy::{ComponentId, PackId};
use serde::{Deserialize, Serialize};

use super::engine::{ImageId, Instance};

pub(super) const INSTANCE: &str = "rumi.instance";
pub(super) const KIND: &str = "rumi.kind";
pub(super) const CONTENT: &str = "rumi.content";
pub(super) const PACK: &str = "rumi.pack";
pub(super) const STAGE: &str = "rumi.stage";
const IMAGE: &str = "rumi.image";
const COMPONENTS: &str = "rumi.components";
const GID: &str = "rumi.gid";
const LIMITS: &str = "rumi.limits";

/// Labels that only the broker gives, and only to containers; no image may bring them.
pub(super) const OF_CONTAINERS: [&str; 5] = [KIND, IMAGE, COMPONENTS, GID, LIMITS];

/// Value of `rumi.kind` for the container of a pack.
pub(super) const KIND_PACK: &str = "pack";
/// Value of `rumi.kind` for a container that lives for one command.
pub(super) const KIND_SANDBOX: &str = "sandbox";
/// Value of `rumi.kind` for a container that ad-hoc code runs in.
pub(super) const KIND_CODE: &str = "code";

/// A component and the user its processes run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentUser {
    /// Which component.
    pub component: ComponentId,
    /// Its own user, on the host and in the container alike.
    pub uid: u32,
}

/// What a pack's container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackLimits {
    /// Memory of all its processes; swap is off.
    pub memory_bytes: u64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Processes and threads.
    pub pids: u32,
    /// Size of /tmp.
    pub tmp_bytes: u64,
}

/// What the labels of a pack's container say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackLabels {
    pub(super) pack: PackId,
    pub(super) image: ImageId,
    pub(super) content: String,
    pub(super) components: Vec<ComponentUser>,
    pub(super) gid: u32,
    pub(super) limits: PackLimits,
}

impl PackLabels {
    pub(super) fn write(&self, instance: &Instance) -> HashMap<String, String> {
        // Both are plain data, which always has a JSON form.
        let components = serde_json::to_string(&self.components).unwrap_or_default();
        let limits = serde_json::to_string(&self.limits).unwrap_or_default();
        [
            (INSTANCE, instance.as_str().to_owned()),
            (KIND, KIND_PACK.to_owned()),
            (PACK, self.pack.to_string()),
            (IMAGE, self.image.to_string()),
            (CONTENT, self.content.clone()),
            (COMPONENTS, components),
            (GID, self.gid.to_string()),
            (LIMITS, limits),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Reads them back; the name of the label that is missing or broken otherwise.
    pub(super) fn read(labels: &HashMap<String, String>) -> Result<Self, &'static str> {
        let text = |key: &'static str| labels.get(key).ok_or(key);
        Ok(Self {
            pack: text(PACK)?.parse().map_err(|_| PACK)?,
            image: ImageId::new(text(IMAGE)?),
            content: text(CONTENT)?.clone(),
            components: serde_json::from_str(text(COMPONENTS)?).map_err(|_| COMPONENTS)?,
            gid: text(GID)?.parse().map_err(|_| GID)?,
            limits: serde_json::from_str(text(LIMITS)?).map_err(|_| LIMITS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn labels_are_read_back_as_they_were_written() {
        let labels = PackLabels {
            pack: "default".parse().unwrap(),
            image: ImageId::new("sha256:1"),
            content: "c".into(),
            components: vec![ComponentUser {
                component: "default:tool:my_tool".parse().unwrap(),
                uid: 200_001,
            }],
            gid: 200_000,
            limits: PackLimits {
                memory_bytes: 1 << 28,
                nano_cpus: 500_000_000,
                pids: 100,
                tmp_bytes: 1 << 26,
            },
        };
        let mut written = labels.write(&Instance::of_state(Path::new("/s")));
        assert_eq!(PackLabels::read(&written).unwrap(), labels);
        written.remove(LIMITS);
        assert_eq!(PackLabels::read(&written), Err(LIMITS));
        written.insert(COMPONENTS.into(), "[{\"component\":\"x\"}]".into());
        assert_eq!(PackLabels::read(&written), Err(COMPONENTS));
    }
}

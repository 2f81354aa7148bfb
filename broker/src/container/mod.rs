//! Everything that knows the Docker engine. No other module names it.

mod apart;
mod blueprint;
mod build_output;
mod cgroup;
mod code;
mod context;
mod digest;
mod dockerfile;
mod engine;
mod error;
mod events;
mod hardening;
mod image;
mod labels;
mod lent;
mod lifecycle;
mod logs;
mod mounts;
mod programs;
mod recipe;
mod requirements;
mod source;
mod surroundings;
mod terminal;
mod throwaway;
mod tmp;
mod uids;
mod wheels;
mod workspace;

pub use blueprint::{Blueprint, BuildRequest};
pub use cgroup::{CALL_PREFIX, CallCgroup, CgroupError, ContainerCgroup, Ended};
pub use code::{CodeContainer, CodeSpec};
pub use context::{Context, ContextError, Listed};
pub use engine::{ContainerId, Engine, ImageId, Instance};
pub use error::EngineError;
pub use events::{Event, Watch};
pub use hardening::GUEST;
pub use image::{BuildError, Built, build};
pub use labels::PackLimits;
pub use lifecycle::{PackSpec, Running};
pub use mounts::{MountError, make_shared};
pub use programs::{ProgramIndex, Programs};
pub use requirements::Requirements;
pub use surroundings::surroundings_of;
pub use terminal::{Places, SandboxSpec, clean_leftovers, run};
pub use tmp::Tmp;
pub use uids::{PackUids, UidError, Uids};
pub use workspace::{WorkspaceError, Workspaces};

#[cfg(test)]
mod tests;

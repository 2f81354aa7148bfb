//! What a pack may use: what it asks for, but never more than the admin's configuration.

use rumi_policy::manifest::Manifest;

use crate::{config::Config, container::PackLimits};

const MIB: u64 = 1024 * 1024;

/// Limits of the pack's container. A pack wrote its manifest itself, so that the
/// manifest can lower what docker/config.json gives, and not raise it.
pub(super) fn container(manifest: &Manifest, config: &Config) -> PackLimits {
    let asked = &manifest.limits;
    let nano_cpus = config.pack.cpus.nanos();
    PackLimits {
        memory_bytes: lower(asked.memory_mb, config.pack.memory_limit.bytes()),
        nano_cpus: asked.cpu_millis.map_or(nano_cpus, |millis| {
            (i64::from(millis) * 1_000_000).min(nano_cpus)
        }),
        pids: asked.pids.map_or(config.pack.pids.get(), |pids| {
            pids.min(config.pack.pids.get())
        }),
        tmp_bytes: lower(asked.tmp_mb, config.pack.tmp_size.bytes()),
    }
}

/// Bytes of the pack's work area.
pub(super) fn workspace(manifest: &Manifest, config: &Config) -> u64 {
    lower(
        manifest.limits.workspace_mb,
        config.workspace.size_limit.bytes(),
    )
}

fn lower(asked_mb: Option<u32>, ceiling: u64) -> u64 {
    asked_mb.map_or(ceiling, |mb| (u64::from(mb) * MIB).min(ceiling))
}

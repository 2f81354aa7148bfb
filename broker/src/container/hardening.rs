//! The walls that every container has, whatever it is for.

use std::{collections::HashMap, path::Path};

use bollard::models::{
    HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{engine::Engine, error::EngineError, labels::PackLimits};

/// The list of system calls. It is compiled in, so that no file can be changed to widen it.
const SECCOMP: &str = include_str!("../../../docker/seccomp.json");

/// Where the guest's binary appears in every container.
pub const GUEST: &str = "/usr/libexec/rumi/guest";

/// Inodes of a /tmp; a file without bytes costs no size but kernel memory all the same.
const TMP_INODES: u32 = 16_384;

/// What becomes of a container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logging {
    /// Kept by the engine, the newest few MiB.
    Kept,
    /// Not kept: it is read while it comes.
    Dropped,
}

/// The settings that do not differ between containers, with the given limits and mounts.
pub(super) fn host_config(
    engine: &Engine,
    limits: PackLimits,
    logging: Logging,
    mounts: Vec<Mount>,
) -> HostConfig {
    let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let ulimit = |name: &str, soft, hard| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft),
        hard: Some(hard),
    };
    HostConfig {
        runtime: engine.named_runtime(),
        memory: Some(memory),
        // Equal to the memory: no swap, or a pack would slow down everybody's disk.
        memory_swap: Some(memory),
        nano_cpus: Some(limits.nano_cpus),
        pids_limit: Some(i64::from(limits.pids)),
        ulimits: Some(vec![ulimit("nofile", 1024, 4096), ulimit("core", 0, 0)]),
        // When the host itself runs out of memory, packs go before its own services.
        oom_score_adj: Some(500),
        network_mode: Some("none".into()),
        ipc_mode: Some("none".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec![
            "no-new-privileges:true".into(),
            format!("seccomp={SECCOMP}"),
        ]),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        tmpfs: Some(HashMap::from([(
            "/tmp".to_owned(),
            tmp_options(limits.tmp_bytes),
        )])),
        log_config: Some(log_config(logging)),
        mounts: Some(mounts),
        init: Some(false),
        ..HostConfig::default()
    }
}

/// `exec` because compiled Python modules are sometimes unpacked there; the pack can run
/// whatever it likes by way of its interpreter anyway.
pub(super) fn tmp_options(bytes: u64) -> String {
    format!("rw,nosuid,nodev,exec,size={bytes},nr_inodes={TMP_INODES},mode=1777")
}

fn log_config(logging: Logging) -> HostConfigLogConfig {
    let (driver, options): (&str, &[(&str, &str)]) = match logging {
        Logging::Kept => ("json-file", &[("max-size", "1m"), ("max-file", "2")]),
        Logging::Dropped => ("none", &[]),
    };
    HostConfigLogConfig {
        typ: Some(driver.to_owned()),
        config: Some(
            options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
    }
}

/// An image could bring a check that the engine would run again and again.
pub(super) fn no_healthcheck() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".into()]),
        ..HealthConfig::default()
    }
}

/// How a host directory appears in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing can be changed.
    ReadOnly,
    /// Nothing can be changed, and what the host mounts below it later appears too.
    ReadOnlyFollowing,
    /// The container may change it.
    Writable,
}

/// A host path bound into a container.
pub(super) fn bind(source: &Path, target: &str, access: Access) -> Result<Mount, EngineError> {
    let text = source.to_str().ok_or_else(|| EngineError::Path {
        path: source.to_owned(),
    })?;
    let propagation = match access {
        Access::ReadOnlyFollowing => MountBindOptionsPropagationEnum::RSLAVE,
        Access::ReadOnly | Access::Writable => MountBindOptionsPropagationEnum::RPRIVATE,
    };
    Ok(Mount {
        target: Some(target.to_owned()),
        source: Some(text.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(access != Access::Writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_profile_lacks_what_it_must_lack() {
        let profile: serde_json::Value = serde_json::from_str(SECCOMP).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let allowed: BTreeSet<&str> = profile["syscalls"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        let refused = "io_uring_setup io_uring_enter io_uring_register ptrace process_vm_readv \
            process_vm_writev process_madvise pidfd_getfd kcmp shmget shmat shmctl shmdt msgget \
            msgsnd msgrcv msgctl semget semop semctl semtimedop mq_open mq_unlink mq_timedsend \
            mq_timedreceive mq_notify mq_getsetattr userfaultfd bpf perf_event_open mount umount2 \
            pivot_root move_mount open_tree fsopen unshare setns keyctl add_key request_key \
            name_to_handle_at open_by_handle_at kexec_load init_module finit_module reboot swapon \
            chroot clone3 acct quotactl settimeofday clock_settime syslog ioperm iopl modify_ldt";
        for name in refused.split_whitespace() {
            assert!(!allowed.contains(name), "{name} is allowed");
        }
        for name in [
            "read",
            "landlock_restrict_self",
            "clone",
            "futex",
            "seccomp",
        ] {
            assert!(allowed.contains(name), "{name} is missing");
        }
    }
}

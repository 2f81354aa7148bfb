//! Places that no grant opens, however wide it is.

use std::fs;

use serde_json::json;

use super::{refused, text, ways};
use crate::yard::{SECRET, yard};

const COMPONENT: &str = "suspects:tool:broad";

#[test]
fn a_grant_of_everything_opens_neither_the_kernel_nor_keys_nor_the_brokers_own_files() {
    let yard = yard();
    let home = yard.home();
    let peer = yard.component(COMPONENT);
    let file = home.file("ordinary", "ordinary");
    let base = home.base();
    let own = base.join("data");
    fs::create_dir_all(&own).unwrap();
    for wide in [json!("/"), json!(base)] {
        let permission = json!({"enabled": true, "directories": [wide]});
        yard.grant(
            COMPONENT,
            &json!({"file_read": permission, "file_write": permission}),
        );
        // The grant is as wide as it says where nothing is forbidden.
        assert_eq!(
            peer.json("FileRead", &json!({"path": file})).bytes("data"),
            b"ordinary",
            "{wide}"
        );
        let state = home.state();
        let forbidden = [
            state.join("secrets.sealed"),
            state.join("keys/rumi-secrets-key"),
            state.join("audit"),
            state.join("keys"),
            state.join("new"),
            state.join("approvals/suspects.json"),
            home.pack("suspects").join("tool.py"),
            home.run().join("control.sock"),
            home.run().join("packs"),
            home.path().join("grants/suspects:tool:broad.json"),
            home.path().join("grants/suspects:tool:new.json"),
            home.path().join("scopes/file_read.json"),
            home.path().join("docker/config.json"),
        ];
        for path in &forbidden {
            let before = fs::read(path).ok();
            for (way, reply) in ways(&peer, text(path), &own) {
                let what = format!("{way} `{}` under a grant of {wide}", path.display());
                refused(&reply, &what);
                assert!(!reply.json().to_string().contains(SECRET), "{what}");
            }
            assert_eq!(fs::read(path).ok(), before, "{}", path.display());
        }
    }
    let permission = json!({"enabled": true, "directories": ["/"]});
    yard.grant(
        COMPONENT,
        &json!({"file_read": permission, "file_write": permission}),
    );
    for path in [
        "/proc/self/environ",
        "/proc/1/root/etc/passwd",
        "/proc/self/fd/0",
        "/sys/kernel/notes",
        "/sys/fs/cgroup",
        "/dev/null",
        "/dev/mem",
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/sudoers",
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/var/lib/docker/containers",
        "/boot/vmlinuz",
        "/root/.ssh/id_rsa",
    ] {
        let before = fs::metadata(path).ok().map(|found| found.len());
        for (way, reply) in ways(&peer, path, &own) {
            refused(&reply, &format!("{way} `{path}`"));
            if way == "read" {
                let judged =
                    ["forbidden_by_scope", "not_a_file"].contains(&reply.reason().as_str());
                assert!(judged || reply.status == 404, "{path}: {}", reply.json());
            }
        }
        assert_eq!(
            fs::metadata(path).ok().map(|found| found.len()),
            before,
            "{path}"
        );
    }
    // What the system runs is nobody's to write.
    for path in [
        "/etc/cron.d/owned",
        "/usr/bin/owned",
        "/etc/ld.so.preload",
        "/root/.bashrc",
        "/var/spool/cron/root",
    ] {
        let reply = peer.json(
            "FileWrite",
            &json!({"path": path, "data": "", "mode": "WRITE_MODE_APPEND"}),
        );
        assert_eq!(
            reply.reason(),
            "forbidden_by_scope",
            "{path}: {}",
            reply.json()
        );
    }
    yard.ungrant(COMPONENT);
}

#[test]
fn nothing_is_reached_through_a_mount_below_the_granted_directory() {
    let site = crate::yard::site("mounts");
    let point = site.granted.join("point");
    fs::create_dir_all(&point).unwrap();
    let mount = |arguments: &[&str]| {
        rumi_tests::run(std::process::Command::new("mount").args(arguments)).ok()
    };
    mount(&["--bind", text(&site.outside), text(&point)]);
    for (way, reply) in ways(&site.peer, text(&point.join("secret")), &site.granted) {
        refused(&reply, &format!("{way} beyond a mount"));
    }
    rumi_tests::run(std::process::Command::new("umount").arg(&point)).ok();
    site.outside_is_untouched();
}

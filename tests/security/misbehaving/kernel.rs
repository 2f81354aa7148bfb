//! System calls that a tool has no use for.

use super::{Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[MOUNTS, OBJECTS, MACHINE, RIGHTS];

const MOUNTS: &[Misdeed] = &[
    Misdeed::new("mount_things", Ends::Refused),
    Misdeed::new("make_namespaces", Ends::Refused),
];
const OBJECTS: &[Misdeed] = &[
    Misdeed::new("use_io_uring", Ends::Refused),
    Misdeed::new("share_memory", Ends::Refused),
    Misdeed::new("use_keys", Ends::Refused),
    Misdeed::new("open_sockets", Ends::Refused),
];
const MACHINE: &[Misdeed] = &[
    Misdeed::new("trace_worker", Ends::Refused),
    Misdeed::new("rule_machine", Ends::Refused),
    Misdeed::new("watch_machine", Ends::Refused),
];
const RIGHTS: &[Misdeed] = &[
    Misdeed::new("become_root", Ends::Refused),
    Misdeed::new("show_rights", Ends::Refused),
];

#[test]
fn no_mount_no_root_and_no_namespace_is_made() {
    Scene::enter().commit_all(MOUNTS);
}

#[test]
fn rings_queues_keys_and_rare_sockets_are_closed() {
    Scene::enter().commit_all(OBJECTS);
}

#[test]
fn nothing_is_traced_watched_or_ruled() {
    Scene::enter().commit_all(MACHINE);
}

#[test]
fn a_tool_holds_no_capability_and_gains_none() {
    Scene::enter().commit_all(RIGHTS);
}

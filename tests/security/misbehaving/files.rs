//! Files that are none of the pack's business, and traces left for later calls.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[HOST, OWN, RIGHTS, LINKS, TRACES];

const HOST: &[Misdeed] = &[
    Misdeed::new("read_host", Ends::Refused),
    Misdeed::new("write_kernel", Ends::Refused),
    Misdeed::new("write_cgroup", Ends::Refused),
];
const OWN: &[Misdeed] = &[
    Misdeed::new("write_system", Ends::Refused),
    Misdeed::new("write_pack", Ends::Refused),
];
const RIGHTS: &[Misdeed] = &[
    Misdeed::new("make_setuid", Ends::Refused),
    Misdeed::new("run_from_tmp", Ends::Done),
];
const LINKS: &[Misdeed] = &[Misdeed::new("link_out", Ends::Refused)];
const TRACES: &[Misdeed] = &[
    Misdeed::new("leave_traces", Ends::Done),
    Misdeed::new("find_traces", Ends::Refused),
];

#[test]
fn nothing_of_the_host_or_its_kernel_is_read_or_switched() {
    Scene::enter().commit_all(HOST);
}

#[test]
fn neither_the_system_nor_the_packs_own_code_is_changed() {
    Scene::enter().commit_all(OWN);
}

#[test]
fn a_program_that_a_tool_brings_runs_with_no_more_rights_than_the_tool() {
    Scene::enter().commit_all(RIGHTS);
}

#[test]
fn links_in_the_work_area_lead_nowhere_on_the_host() {
    let scene = Scene::enter();
    scene.commit_all(LINKS);
    let workspace = scene.workspace();
    assert!(
        fs::symlink_metadata(workspace.join("shadow"))
            .unwrap()
            .is_symlink()
    );
    let device = |path: &std::path::Path| fs::metadata(path).unwrap().dev();
    // The quota is set on a file system of its own, and its links stay links.
    assert_ne!(device(&workspace), device(scene.yard.home().base()));
    for name in ["shadow", "root", "up", "mem"] {
        fs::remove_file(workspace.join(name)).unwrap();
    }
}

#[test]
fn a_call_finds_nothing_of_the_one_before() {
    Scene::enter().commit_all(TRACES);
}

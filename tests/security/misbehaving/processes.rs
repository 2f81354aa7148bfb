//! Processes that stay behind, and attacks on those of others.

use std::{fs, path::Path, thread::sleep, time::Duration};

use rumi_tests::Called;
use serde_json::json;

use super::{BYSTANDER, Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[LEFT, STRUCK, READ];

const LEFT: &[Misdeed] = &[
    Misdeed::new("leave_child", Ends::Done),
    Misdeed::new("leave_daemon", Ends::Done),
    Misdeed::new("leave_respawners", Ends::Done),
    Misdeed::new("leave_and_loop", Ends::InTime).timeout_ms(1500),
    Misdeed::new("leave_and_crash", Ends::Crashed),
    Misdeed::new("find_survivors", Ends::Refused),
];
// The kernel says that it signalled everything, whether it could reach something or not.
const STRUCK: &[Misdeed] = &[
    Misdeed::new("kill_parent", Ends::Defined),
    Misdeed::new("kill_init", Ends::Refused),
    Misdeed::new("kill_neighbours", Ends::Defined),
    Misdeed::new("kill_everything", Ends::Defined),
    Misdeed::new("stop_neighbours", Ends::Defined),
];
const READ: &[Misdeed] = &[
    Misdeed::new("read_processes", Ends::Refused),
    Misdeed::new("write_processes", Ends::Refused),
    Misdeed::new("raise_priority", Ends::Refused),
];

#[test]
fn all_that_a_call_left_behind_dies_with_it() {
    let scene = Scene::enter();
    for misdeed in LEFT {
        scene.commit(misdeed);
        let beats = beats(&scene.workspace());
        sleep(Duration::from_millis(300));
        assert_eq!(
            self::beats(&scene.workspace()),
            beats,
            "{} goes on",
            misdeed.name
        );
    }
    assert_eq!(beats(&scene.workspace()).len(), 3, "nothing was ever left");
}

#[test]
fn no_signal_reaches_another_component_or_another_call() {
    let scene = Scene::enter();
    for misdeed in STRUCK {
        let waited: Called = std::thread::scope(|scope| {
            let wait = scope.spawn(|| {
                scene
                    .yard
                    .call(BYSTANDER, &json!({"do": "wait", "seconds": 1.5}))
            });
            sleep(Duration::from_millis(300));
            scene.commit(misdeed);
            wait.join().expect("the neighbour's call")
        });
        assert_eq!(waited.data()["disturbed"], json!(false), "{}", misdeed.name);
    }
}

#[test]
fn no_process_reads_another_or_takes_precedence_over_it() {
    let scene = Scene::enter();
    std::thread::scope(|scope| {
        let leave = scope.spawn(|| {
            scene
                .yard
                .call(BYSTANDER, &json!({"do": "leave", "seconds": 1.5}))
        });
        sleep(Duration::from_millis(300));
        for name in ["read_processes", "write_processes", "raise_priority"] {
            let called = scene
                .yard
                .call("misbehaving:tool:act", &json!({"misdeed": name}));
            assert_eq!(called.data()["achieved"], json!(false), "{called:?}");
        }
        leave.join().expect("the neighbour's call").data();
    });
    scene.commit_all(READ);
}

/// Which processes wrote last, and when.
fn beats(workspace: &Path) -> Vec<(String, String)> {
    let mut beats: Vec<_> = fs::read_dir(workspace)
        .expect("the work area")
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let content = fs::read_to_string(entry.path()).ok()?;
            name.starts_with("beat-").then_some((name, content))
        })
        .collect();
    beats.sort();
    beats
}

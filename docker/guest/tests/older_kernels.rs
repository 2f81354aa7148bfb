//! Kernels with an older Landlock, or none: a program runs under each, and is confined as far as that kernel can.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a step that fails is a failed test"
)]

use std::{path::Path, process::Command};

use serde_json::{Value, json};

const OLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/older_kernel.py");
/// Told the pid of a process outside and a directory, what a program can do to them.
const TRY: &str = r#"
import json, os, stat, sys
def can(action):
    try:
        action()
    except OSError as error:
        return False
    return True
outside, at = os.getppid(), sys.argv[1]
os.mkdir(at + "/a"), os.mkdir(at + "/b"), open(at + "/a/file", "w").close()
print(json.dumps({
    "trace": can(lambda: open("/proc/%d/mem" % outside, "rb").close()),
    "signal": can(lambda: os.kill(outside, 0)),
    "move": can(lambda: os.rename(at + "/a/file", at + "/b/file")),
}))
"#;

fn python(arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.args(["-I", OLDER]).args(arguments);
    let output = command.output().expect("python3");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a program can that is confined under a kernel with this version of Landlock.
fn confined(abi: u32, at: &Path) -> Value {
    let guest = env!("CARGO_BIN_EXE_rumi-guest");
    // The guest is a child of the one that answers for the kernel, and its program too.
    let script = format!(
        "exec \"{guest}\" confined \"$PPID\" -- \"$(command -v python3)\" -I -S -c \"$0\" \"$1\""
    );
    let at = at.to_str().expect("text");
    let said = python(&[&abi.to_string(), "/bin/sh", "-c", &script, TRY, at]);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{abi}: {error}: {said}"))
}

#[test]
fn a_program_runs_under_every_kernel_and_is_confined_as_far_as_that_can() {
    let own: u32 = python(&["0"]).trim().parse().expect("a number");
    for abi in 0..=own.min(6) {
        let at = tempfile::tempdir().expect("a directory");
        let can = confined(abi, at.path());
        let expected = json!({
            // A domain of Landlock 1 moves no file to another directory, and so there is none.
            "trace": abi < 2,
            "signal": abi < 6,
            "move": true,
        });
        assert_eq!(can, expected, "Landlock {abi}");
    }
}

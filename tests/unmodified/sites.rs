//! What the web servers serve besides what they answer by themselves.

use std::{
    fs,
    process::Command,
    sync::{Mutex, PoisonError},
};

use rumi_tests::Output;

use crate::world::World;

/// One test makes what several need.
static MAKING: Mutex<()> = Mutex::new(());

/// A repository with one file and one commit.
pub(crate) fn repository(world: &World) {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let bare = world.site().join("git/notes.git");
    if bare.exists() {
        return;
    }
    let work = world.site().join("notes");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&work)
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.args(["-c", "user.name=Ana", "-c", "user.email=ana@example.test"]);
        Output::of(command.args(arguments)).ok();
    };
    fs::create_dir_all(&work).unwrap();
    fs::write(work.join("plan.md"), "# Plan\n").unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "plan.md"]);
    git(&["commit", "--quiet", "--message=The plan"]);
    git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
}

/// An index (PEP 503) with one wheel.
pub(crate) fn packages(world: &World) {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let program = r#"
import hashlib, os, sys, zipfile
site, name = sys.argv[1], "rumi_sample-1.0-py3-none-any.whl"
os.makedirs(f"{site}/wheels", exist_ok=True)
os.makedirs(f"{site}/simple/rumi-sample", exist_ok=True)
info = "rumi_sample-1.0.dist-info"
with zipfile.ZipFile(f"{site}/wheels/{name}", "w") as wheel:
    wheel.writestr("rumi_sample.py", "ANSWER = 42\n")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: rumi-sample\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
digest = hashlib.sha256(open(f"{site}/wheels/{name}", "rb").read()).hexdigest()
with open(f"{site}/simple/rumi-sample/index.html", "w") as page:
    page.write(f'<!DOCTYPE html><a href="/wheels/{name}#sha256={digest}">{name}</a>')
"#;
    let mut python = Command::new("python3");
    Output::of(python.args(["-c", program]).arg(world.site())).ok();
}

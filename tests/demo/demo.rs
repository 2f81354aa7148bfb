//! The demo as a user runs it, and as it goes wrong.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::normal::normal;

/// One place for all, because only the first run there has to build images; and one demo at a time.
const DIRECTORY: &str = "/var/tmp/rumi-demo-test";
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Where cargo puts the programs that belong to this test.
fn programs() -> PathBuf {
    let test = env::current_exe().unwrap();
    let directory = test.ancestors().nth(2).unwrap().to_owned();
    for name in ["rumi-broker", "packctl", "rumi-guest"] {
        assert!(
            directory.join(name).exists(),
            "there is no {name} in {}; run: make test",
            directory.display()
        );
    }
    directory
}

fn demo(bin: &Path) -> Command {
    // A test that runs in the background was told to ignore SIGINT, and a shell that is told
    // so from its start cannot change it.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT")
        .arg(repository().join("tests/demo/run"))
        .args(["--dir", DIRECTORY, "--bin"])
        .arg(bin)
        .env_remove("RUMI_HOME")
        .env_remove("RUMI_STATE")
        .env_remove("RUMI_RUN")
        .stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The demo must leave no process and no container.
fn nothing_is_left() {
    let pid = fs::read_to_string(Path::new(DIRECTORY).join("broker.pid")).unwrap();
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    assert_ne!(name.trim(), "rumi-broker", "the broker still runs");
    let binds = Command::new("docker")
        .args([
            "ps",
            "--all",
            "--format",
            "{{.ID}} {{.Mounts}}",
            "--no-trunc",
        ])
        .output()
        .unwrap();
    assert!(binds.status.success());
    assert!(
        !stdout(&binds).contains(DIRECTORY),
        "containers are left: {}",
        stdout(&binds)
    );
}

#[test]
fn the_demo_shows_what_the_transcript_says() {
    let _guard = alone();
    let output = demo(&programs()).output().unwrap();
    let shown = stdout(&output);
    assert!(output.status.success(), "{shown}\n{}", stderr(&output));
    let shown = normal(&shown, Path::new(DIRECTORY));
    let golden = repository().join("tests/demo/transcript.txt");
    if env::var_os("RUMI_WRITE_TRANSCRIPT").is_some() {
        fs::write(&golden, &shown).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    for (number, (is, should)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(
            is,
            should,
            "line {} of transcript.txt; if that is meant, run the test with RUMI_WRITE_TRANSCRIPT=1",
            number + 1
        );
    }
    assert_eq!(shown.lines().count(), expected.lines().count());
    each_remedy_is_run(&shown);
    nothing_is_left();

    let begun = Instant::now();
    let again = demo(&programs()).output().unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "the second run took {:?}",
        begun.elapsed()
    );
}

fn each_remedy_is_run(shown: &str) {
    let lines: Vec<&str> = shown.lines().collect();
    let mut remedies = 0;
    for (number, line) in lines.iter().enumerate() {
        if let Some(remedy) = line.strip_prefix("remedy: ") {
            remedies += 1;
            let typed = format!("$ {remedy}");
            let later = &lines[number..];
            let at = later.iter().position(|line| *line == typed);
            let at = at.unwrap_or_else(|| panic!("`{remedy}` was not run"));
            let ended = later[at..].iter().find(|line| line.starts_with("[exit"));
            assert_eq!(ended.copied(), Some("[exit code 0, N s]"));
        }
    }
    assert!(remedies > 0, "no remedy was shown");
}

#[test]
fn a_step_that_fails_fails_the_demo() {
    let _guard = alone();
    let bin = tempfile::tempdir().unwrap();
    let real = programs();
    for name in ["rumi-broker", "rumi-guest"] {
        symlink(real.join(name), bin.path().join(name)).unwrap();
    }
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" != 'audit query' ] || {{ echo nothing; exit 0; }}\nexec {}/packctl \"$@\"\n",
        real.display()
    );
    let packctl = bin.path().join("packctl");
    fs::write(&packctl, script).unwrap();
    fs::set_permissions(&packctl, fs::Permissions::from_mode(0o755)).unwrap();
    let output = demo(bin.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for text in [
        "demo: FAILED in step 6 (The audit log)",
        "demo: the command above did not print: ",
        "demo: the last lines of ",
    ] {
        assert!(said.contains(text), "{said}");
    }
    nothing_is_left();
}

#[test]
fn an_interrupt_ends_everything() {
    let _guard = alone();
    let mut child = demo(&programs())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("== 3.") {
        line.clear();
        assert_ne!(shown.read_line(&mut line).unwrap(), 0, "it ended too soon");
    }
    // As Ctrl-C does it: to the whole group.
    let group = format!("-{}", child.id());
    let sent = Command::new("kill")
        .args(["-INT", "--", &group])
        .status()
        .unwrap();
    assert!(sent.success());
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        (status.code(), status.signal()),
        (Some(130), None),
        "{said}"
    );
    assert!(said.contains("demo: interrupted"), "{said}");
    nothing_is_left();
}

#[test]
fn wrong_options_are_explained() {
    let run = repository().join("tests/demo/run");
    for (arguments, said) in [
        (&[][..], "name the directory of the programs with --bin DIR"),
        (&["--bin"], "--bin needs a directory"),
        (&["--frob"], "`--frob` is no option"),
        (
            &["--bin", "/nonexistent"],
            "there is no `/nonexistent/rumi-broker`",
        ),
    ] {
        let output = Command::new(&run).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

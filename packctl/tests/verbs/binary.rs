//! Runs the real binary in a host of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A home, a state and a run directory that go away with the test.
pub(crate) struct Host {
    root: TempDir,
}

/// How one run of packctl ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for directory in [
            "home/docker/packs",
            "home/grants",
            "home/scopes",
            "state",
            "run",
        ] {
            fs::create_dir_all(host.path(directory)).unwrap();
        }
        for permission in ["file_read", "file_write", "env_read", "terminal", "network"] {
            let scope = format!(
                r#"{{"version": "1.0", "description": "{permission}", "default_config": {{}}, "limits": {{}}}}"#
            );
            host.write(&format!("home/scopes/{permission}.json"), &scope);
        }
        host
    }

    /// A path below the root, with symlinks of the temporary directory resolved.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(relative)
    }

    pub(crate) fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, relative: &str, text: &str) {
        fs::write(self.path(relative), text).unwrap();
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    /// packctl with the places of this host.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packctl"));
        command
            .args(args)
            .current_dir(self.root.path())
            .env("RUMI_HOME", self.path("home"))
            .env("RUMI_STATE", self.path("state"))
            .env("RUMI_RUN", self.path("run"))
            .env_remove("RUMI_DOCKER")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let ran = Ran::of(self.command(args).output().unwrap());
        // Whatever a test is about: no terminal was asked for, so nothing may steer one.
        for text in [&ran.stdout, &ran.stderr] {
            let steering = text
                .chars()
                .find(|character| character.is_control() && !"\n\t".contains(*character));
            assert_eq!(steering, None, "{args:?}: {text:?}");
        }
        ran
    }

    /// Runs, and says what was said when the exit code is another.
    pub(crate) fn expect(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "packctl {args:?}: {ran:#?}");
        if code == 1 || code == 2 || code == 4 || code == 5 {
            assert!(
                !ran.stderr.is_empty() || !ran.stdout.is_empty(),
                "{args:?} failed in silence"
            );
        }
        ran
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        assert!(
            self.stderr.contains(part),
            "stderr lacks {part:?}: {self:#?}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn prints(&self, part: &str) -> &Self {
        assert!(
            self.stdout.contains(part),
            "stdout lacks {part:?}: {self:#?}"
        );
        self
    }
}

/// Whether a program is installed.
pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .any(|directory: PathBuf| Path::new(&directory).join(program).is_file())
    })
}

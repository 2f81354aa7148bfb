//! What the tests of the log share: logs to write, and both verifiers to hold against them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use rumi_audit::verify::{Finding, Summary, verify};
use rumi_audit::{Checkpoint, Decision, Log, LogOptions, Outcome, Peer, PublicKey};

pub const POLICY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A directory that holds a log and its key.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub fn root(&self) -> &Path {
        self.0.path()
    }
    pub fn dir(&self) -> PathBuf {
        self.root().join("audit")
    }
    pub fn key(&self) -> PathBuf {
        self.root().join("keys/audit.key")
    }
    pub fn public(&self) -> PathBuf {
        self.root().join("keys/audit.pub")
    }
    pub fn options(&self) -> LogOptions {
        options(self.root())
    }
    pub fn open(&self) -> Log {
        Log::open(self.options()).unwrap()
    }
    /// A second directory with the same files.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for sub in ["audit", "keys"] {
            fs::create_dir_all(copy.root().join(sub)).unwrap();
            for entry in fs::read_dir(self.root().join(sub)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), copy.root().join(sub).join(entry.file_name())).unwrap();
            }
        }
        copy
    }
    pub fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(self.dir())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .collect();
        found.sort();
        found
    }
    pub fn verify(&self, last_known: Option<&Path>) -> Result<Summary, Finding> {
        let key = PublicKey::read(&self.public()).unwrap();
        let last_known = last_known.map(|path| Checkpoint::read(path).unwrap());
        verify(&self.dir(), &key, last_known.as_ref())
    }
    pub fn verify_in_python(&self, last_known: Option<&Path>) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/audit_verify.py");
        Command::new(python())
            .arg(script)
            .arg(self.dir())
            .arg(self.public())
            .args(last_known)
            .output()
            .unwrap()
    }
    /// Both verifiers accept.
    pub fn assert_good(&self) -> Summary {
        let summary = self
            .verify(None)
            .unwrap_or_else(|finding| panic!("{finding}"));
        let output = self.verify_in_python(None);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let counted = format!(
            "ok: {} records in {} segments",
            summary.records, summary.segments
        );
        assert!(said.starts_with(&counted), "{said} instead of {counted}");
        summary
    }
    /// Both verifiers refuse; where a record is given, both name it.
    pub fn assert_bad(&self, what: &str, record: Option<u64>, last_known: Option<&Path>) {
        let finding = match self.verify(last_known) {
            Ok(summary) => panic!("{what}: accepted with {summary:?}"),
            Err(finding) => finding,
        };
        let output = self.verify_in_python(last_known);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
        assert!(said.starts_with("bad: "), "{what}: {said}");
        if let Some(record) = record {
            assert_eq!(finding.seq, Some(record), "{what}: {finding}");
            assert!(
                said.contains(&format!("record {record}: ")),
                "{what}: {said}"
            );
        }
    }
}

pub fn options(root: &Path) -> LogOptions {
    let mut options = LogOptions::new(root.join("audit"), root.join("keys/audit.key"), "rumi/test");
    options.segment_bytes = 128 << 10;
    options.checkpoint_every = Duration::from_millis(50);
    options
}

/// A Python with `cryptography`: the one that is named, the system's, or one made for the tests.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        if let Some(named) = std::env::var_os("RUMI_TEST_PYTHON") {
            return named.into();
        }
        let system = PathBuf::from("python3");
        if has_cryptography(&system) {
            return system;
        }
        // One for each test binary: they run side by side, and half a venv serves nobody.
        let name = format!("python-{}", std::process::id());
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .status();
        assert!(
            made.unwrap().success(),
            "python3 -m venv failed; install python3-venv"
        );
        let python = venv.join("bin/python");
        let installed = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "cryptography"])
            .status();
        assert!(
            installed.unwrap().success(),
            "pip install cryptography failed"
        );
        python
    })
}

fn has_cryptography(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", "import cryptography"])
        .output()
        .is_ok_and(|output| output.status.success())
}

pub fn decision(target: &[u8]) -> Decision<'_> {
    Decision {
        pack: "default",
        component: "default:tool:my_tool",
        container: Some("4f66ad9a1f2c"),
        peer: Peer {
            uid: 200_001,
            pid: 48_211,
        },
        invocation: Some("01jd9y6q8r2c5t7v"),
        permission: "file_read",
        action: "read",
        target,
        grant: Some("default:tool:my_tool.json"),
        policy: POLICY,
        detail: None,
    }
}

/// Writes `count` decisions with their outcomes.
pub async fn fill(log: &Log, count: usize) {
    for number in 0..count {
        let target = format!("/home/user/documents/{number}.txt");
        let recorded = log.record(decision(target.as_bytes()), ()).await.unwrap();
        recorded.finish(Outcome::success(0, 4096)).await.unwrap();
    }
}

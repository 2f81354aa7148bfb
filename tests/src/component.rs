//! A component's own way in: its socket, under its uid, without the SDK.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// Speaks on a component's socket from a process that has the component's uid.
#[derive(Debug, Clone)]
pub struct Component {
    socket: PathBuf,
    uid: u32,
}

/// A status and a body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; 0 where there was none.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
    /// The reason code of a refusal, or nothing.
    #[must_use]
    pub fn reason(&self) -> String {
        let json = self.json();
        let reason = json.pointer("/details/0/debug/reason");
        reason.and_then(Value::as_str).unwrap_or_default().to_owned()
    }
    /// The code of the Connect protocol, or nothing.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Component {
    pub(crate) fn new(socket: PathBuf, uid: u32) -> Self {
        Self { socket, uid }
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }
    /// Its socket, on the host.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The same socket, tried under another uid.
    #[must_use]
    pub fn under(&self, uid: u32) -> Self {
        Self {
            socket: self.socket.clone(),
            uid,
        }
    }

    /// `POST /rumi.v1.Capabilities/METHOD` in the Connect protocol's JSON form.
    pub fn ask(&self, method: &str, message: &Value) -> Answer {
        let url = format!("http://localhost/rumi.v1.Capabilities/{method}");
        self.curl(
            &["-H", "Content-Type: application/json", "--data-binary", "@-", &url],
            message.to_string().as_bytes(),
        )
    }

    /// Any other request that curl can make, with a body on its standard input.
    pub fn curl(&self, arguments: &[&str], body: &[u8]) -> Answer {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--max-time", "60", "--write-out", "\n%{http_code}", "--unix-socket"])
            .arg(&self.socket)
            .args(arguments);
        let output = self.fed(&mut command, body);
        let cut = output.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let (body, status) = output.split_at_checked(cut).unwrap_or((&output, b""));
        let status = String::from_utf8_lossy(status);
        Answer {
            status: status.trim().parse().unwrap_or(0),
            body: body.to_vec(),
        }
    }

    /// Runs a Python program under the component's uid with the socket as its argument, and gives
    /// what it prints.
    pub fn python(&self, program: &str) -> String {
        let mut command = Command::new("python3");
        command.args(["-I", "-c", program]).arg(&self.socket);
        String::from_utf8_lossy(&self.fed(&mut command, b"")).into_owned()
    }

    fn fed(&self, command: &mut Command, input: &[u8]) -> Vec<u8> {
        let mut child = command
            .uid(self.uid)
            .gid(self.uid)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a program that starts");
        let mut stdin = child.stdin.take().expect("its input");
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || {
            // A program that ends early has read what it wanted.
            stdin.write_all(&input).ok();
        });
        let output = child.wait_with_output().expect("its output");
        feeding.join().expect("its input was fed");
        output.stdout
    }
}

//! The home of the measured broker: the shipped settings and scopes, and packs that do little.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    failure::Failure,
    stage,
    web::{self, Web},
};

/// A custom handler that answers with its arguments.
pub const HANDLER: &str = "bench_echo";
const HANDLER_SOURCE: &str = r#"META = {
    "requires_scope": False,
    "supports_modes": ["sandbox"],
    "description": "Answers with its arguments.",
}


def execute(context, args):
    return {"success": True, "data": args}
"#;

/// Answers with its arguments, or with a variable of its environment; or sends the same request again and
/// again for some seconds, over eight connections.
const TOOL: &str = r#"import os
import socket
import threading
import time


def flood(args):
    body = args["body"].encode()
    head = f"POST {args['flood']} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    until = time.monotonic() + args["seconds"]
    counts = []

    def send():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ["RUMI_SOCKET"])
        replies = connection.makefile("rb")
        count = 0
        while time.monotonic() < until:
            connection.sendall(request)
            length = 0
            while (line := replies.readline().lower()) not in (b"\r\n", b""):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            replies.read(length)
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ok": True, "data": {"sent": sum(counts)}}


def run(args):
    if "flood" in args:
        return flood(args)
    if "variable" in args:
        return {"ok": True, "data": os.environ[args["variable"]]}
    return {"ok": True, "data": args}
"#;

/// The pack of the tools in other languages.
pub const RUNNERS: &str = "bench_runners";

/// A tool of that pack.
#[derive(Debug, Clone, Copy)]
pub enum Runner {
    JavaScript,
    Bash,
}

impl Runner {
    const ALL: [Self; 2] = [Self::JavaScript, Self::Bash];

    /// As pack.json names it, its file, and the file that does as much when it is started bare.
    fn files(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::JavaScript => ("javascript", "answer.js", "bare.js"),
            Self::Bash => ("bash", "answer.sh", "bare.sh"),
        }
    }

    fn sources(self) -> (&'static str, &'static str) {
        match self {
            Self::JavaScript => (
                "module.exports.run = async (args) => ({ok: true, data: args});\n",
                "process.stdout.write(JSON.stringify(JSON.parse(process.argv[2])));\n",
            ),
            Self::Bash => (
                "read -r args\nprintf '{\"ok\":true,\"data\":%s}' \"$args\" >&3\n",
                "read -r args\nprintf '%s' \"$args\"\n",
            ),
        }
    }

    /// Its component.
    pub fn component(self) -> String {
        format!("{RUNNERS}:tool:{}", self.files().0)
    }

    /// The command line of its bare start, and what that reads.
    pub fn bare(self) -> (Vec<String>, String) {
        let (_, _, file) = self.files();
        let file = format!("/opt/pack/{file}");
        let answer = stage::answer(1);
        match self {
            Self::JavaScript => (
                vec!["/usr/bin/node".to_owned(), file, answer],
                String::new(),
            ),
            Self::Bash => (vec!["/bin/bash".to_owned(), file], format!("{answer}\n")),
        }
    }
}

/// Lays it out and says how many packs the shipped settings start at once.
pub fn make(
    repository: &Path,
    home: &Path,
    data: &[&Path],
    packs: usize,
    web: &Web,
) -> Result<u64, Failure> {
    for directory in [
        "docker/packs",
        "docker/sandbox",
        "docker/handlers",
        "grants",
        "scopes",
    ] {
        directory_at(&home.join(directory))?;
    }
    for file in ["docker/config.json", "docker/seccomp.json"] {
        copy(&repository.join(file), &home.join(file))?;
    }
    let scopes = repository.join("scopes");
    for scope in fs::read_dir(&scopes).map_err(Failure::file(&scopes))? {
        let scope = scope.map_err(Failure::file(&scopes))?;
        copy(&scope.path(), &home.join("scopes").join(scope.file_name()))?;
    }
    for number in 0..packs {
        pack(home, number)?;
    }
    runners(home)?;
    let handler = home.join(format!("docker/handlers/{HANDLER}.py"));
    write(&handler, HANDLER_SOURCE)?;
    let files = json!({"enabled": true, "directories": data});
    let passed = json!({"enabled": true, "directories": data, "passthrough": true});
    let network = json!({"enabled": true, "allowed_domains": [web::NAME]});
    let first = json!({
        "file_read": files, "file_write": files, "network": network, HANDLER: {"enabled": true},
    });
    grant(home, 0, &first)?;
    let second = json!({
        "file_read": passed, "file_write": files, "network": network, HANDLER: {"enabled": true},
        "env_read": {"enabled": true, "allowed_keys": ["RUMI_BENCH"]},
        "terminal": {"enabled": true, "directories": data, "allowed_commands": ["true"]},
    });
    grant(home, stage::SECOND, &second)?;
    let mut config = config(home)?;
    web.configure(config.get_mut("network").unwrap_or(&mut Value::Null));
    write(&home.join("docker/config.json"), &config.to_string())?;
    let missing =
        || Failure::Unexpected("docker/config.json has no `start.concurrency`".to_owned());
    let at_once = config.pointer("/start/concurrency").and_then(Value::as_u64);
    at_once.ok_or_else(missing)
}

fn grant(home: &Path, number: usize, permissions: &Value) -> Result<(), Failure> {
    let component = stage::component(number);
    let grant = json!({"component_id": component, "permissions": permissions});
    let name = format!("grants/{component}.json");
    write(&home.join(name), &grant.to_string())
}

/// What is changed in the shipped settings.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many packs are started at once.
    pub at_once: u64,
    /// Processor time of a pack, where it is not as shipped: what a pack may use of it is a limit
    /// and no cost, and a program beside which one is compared has no limit.
    pub processors: Option<usize>,
}

/// Changes the settings of the broker that is started next.
pub fn set(home: &Path, settings: Settings) -> Result<(), Failure> {
    let mut config = config(home)?;
    if let Some(setting) = config.pointer_mut("/start/concurrency") {
        *setting = settings.at_once.into();
    }
    if let (Some(setting), Some(processors)) =
        (config.pointer_mut("/pack/cpus"), settings.processors)
    {
        *setting = processors.into();
    }
    write(&home.join("docker/config.json"), &config.to_string())
}

fn config(home: &Path) -> Result<Value, Failure> {
    let path = home.join("docker/config.json");
    let bytes = fs::read(&path).map_err(Failure::file(&path))?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn pack(home: &Path, number: usize) -> Result<(), Failure> {
    let id = stage::pack(number);
    let directory = home.join("docker/packs").join(&id);
    directory_at(&directory)?;
    let manifest = json!({
        "id": id,
        "version": "1.0.0",
        "description": "Answers with its arguments.",
        "components": [{
            "id": stage::component(number),
            "name": "answer",
            "runner": "python",
            "entry": "answer.py",
            "description": "Answers with its arguments.",
        }],
        "requests": {},
    });
    write(&directory.join("pack.json"), &manifest.to_string())?;
    // Each a little different, so that each pack has an image of its own.
    write(&directory.join("answer.py"), &format!("# {id}\n{TOOL}"))
}

fn runners(home: &Path) -> Result<(), Failure> {
    let directory = home.join("docker/packs").join(RUNNERS);
    directory_at(&directory)?;
    let mut components = Vec::new();
    for runner in Runner::ALL {
        let (name, entry, bare) = runner.files();
        let (source, bare_source) = runner.sources();
        write(&directory.join(entry), source)?;
        write(&directory.join(bare), bare_source)?;
        components.push(json!({
            "id": runner.component(),
            "name": name,
            "runner": name,
            "entry": entry,
            "description": "Answers with its arguments.",
        }));
    }
    let manifest = json!({
        "id": RUNNERS,
        "version": "1.0.0",
        "description": "Answers with its arguments.",
        "components": components,
        "requests": {},
    });
    write(&directory.join("pack.json"), &manifest.to_string())
}

fn directory_at(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(Failure::file(path))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(Failure::file(from))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::file(path))
}

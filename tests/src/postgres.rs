//! A PostgreSQL server of a test's own: its own data, its own user, its own address.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{Authority, Output, within};

/// The server refuses to run as root, and wants a user that the system knows by name.
const NOBODY: u32 = 65_534;
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves until the test binary ends.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
}

impl Postgres {
    /// The password of the user `rumi`.
    pub const PASSWORD: &str = "correct horse battery staple";
    /// The port that everybody knows.
    pub const PORT: u16 = 5432;

    /// Starts one below `directory`, with TLS for `name`; who comes without TLS is served as well.
    #[must_use]
    pub fn start(directory: &Path, address: Ipv4Addr, authority: &Authority, name: &str) -> Self {
        let server = Self {
            programs: programs(),
            directory: directory.to_owned(),
        };
        fs::create_dir_all(directory).expect("mkdir");
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("chown");
        let identity = authority.identity(&[name]);
        let certificate = server.file("server.crt", &identity.certificate_pem());
        let key = server.file("server.key", &identity.key_pem());
        let password = server.file("password", Self::PASSWORD);
        let data = directory.join("data");
        let mut initdb = server.program("initdb");
        initdb.args([
            "--username=rumi",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]);
        initdb.args(["--encoding=UTF8", "--no-locale", "--no-sync"]);
        initdb.arg(format!("--pwfile={}", password.display()));
        Output::of(initdb.arg("--pgdata").arg(&data)).ok();
        let mut postgres = server.program("postgres");
        postgres.arg("-D").arg(&data);
        for setting in [
            format!("listen_addresses={address}"),
            format!("port={}", Self::PORT),
            format!("unix_socket_directories={}", directory.display()),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
            "ssl=on".to_owned(),
            // What is lost with this machine's power is no matter here.
            "fsync=off".to_owned(),
            "log_connections=on".to_owned(),
        ] {
            postgres.args(["-c", &setting]);
        }
        let log = fs::File::create(directory.join("log")).expect("a log");
        postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        start(postgres);
        within(PATIENCE, "PostgreSQL answers", || {
            server.psql("select 1").code == 0
        });
        server
    }

    /// Runs a statement as the admin; what it printed.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        self.psql(statement).ok().stdout.trim().to_owned()
    }

    /// What the server wrote down.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn psql(&self, statement: &str) -> Output {
        let mut psql = self.program("psql");
        psql.env("PGCONNECT_TIMEOUT", "10");
        psql.args(["--username=rumi", "--dbname=postgres", "--no-psqlrc", "-At"]);
        Output::of(
            psql.arg("--host")
                .arg(&self.directory)
                .args(["-c", statement]),
        )
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
        path
    }

    /// One of the server's programs, which ends when its parent does: nothing runs destructors at the end of a
    /// test binary.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig=QUIT", "--clear-groups"])
            .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
            .arg(self.programs.join(name))
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC");
        command
    }
}

/// The kernel counts the thread that started a process as its parent, so that thread must stay.
fn start(mut command: Command) {
    let (started, wait) = mpsc::channel();
    thread::spawn(move || {
        let child = command.spawn();
        let mut child = child.expect("PostgreSQL; install it by docker/setup --tests");
        started.send(()).ok();
        let ended = child.wait();
        eprintln!("PostgreSQL ended: {ended:?}");
    });
    wait.recv().expect("PostgreSQL");
}

/// Debian keeps the programs of each version apart; the newest is taken.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let number = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok())
    };
    let newest = versions.map(|entry| entry.path()).max_by_key(number);
    let newest = newest.expect("there is no PostgreSQL; install it by docker/setup --tests");
    newest.join("bin")
}

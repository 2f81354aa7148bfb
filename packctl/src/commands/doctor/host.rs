//! What can be said about this host without the broker.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    process::geteuid,
};

use super::Finding;

const ENGINE_SOCKET: &str = "/var/run/docker.sock";
/// An engine that needs longer for a ping will not start containers either.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory below which packs of the default size are likely to be killed.
const LITTLE_MEMORY_MIB: u64 = 512;
/// Watches below which the policy directories of a busy host may get none.
const FEW_WATCHES: u64 = 8192;

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![root(), engine(), beneath(), cgroups(), landlock()];
    findings.extend(memory());
    findings.extend(watches());
    findings
}

fn root() -> Finding {
    if geteuid().is_root() {
        Finding::ok("root", "packctl runs as root")
    } else {
        Finding::warning(
            "root",
            "packctl does not run as root",
            "the broker must be started as root; packctl itself may be a member of the group `rumi`",
        )
    }
}

fn engine() -> Finding {
    let socket =
        env::var_os("RUMI_DOCKER").map_or_else(|| PathBuf::from(ENGINE_SOCKET), PathBuf::from);
    match ping(&socket) {
        Ok(true) => Finding::ok(
            "engine",
            format!("Docker answers on `{}`", socket.display()),
        ),
        Ok(false) => Finding::error(
            "engine",
            format!("`{}` answers, but not as Docker does", socket.display()),
            "restart the engine: systemctl restart docker",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::error(
            "engine",
            format!("no access to `{}`", socket.display()),
            "run as root",
        ),
        Err(error) => Finding::error(
            "engine",
            format!("Docker does not answer on `{}`: {error}", socket.display()),
            "install and start it: apt-get install docker.io && systemctl start docker",
        ),
    }
}

fn ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ENGINE_TIMEOUT))?;
    stream.set_write_timeout(Some(ENGINE_TIMEOUT))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 200"))
}

/// Files are opened beneath granted directories with this call and no other.
fn beneath() -> Finding {
    let opened = openat2(
        CWD,
        "/",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        Ok(_) => Finding::ok("openat2", "the kernel opens files beneath a directory"),
        Err(error) => Finding::error(
            "openat2",
            format!("the kernel cannot open files beneath a directory: {error}"),
            "use Linux 5.6 or newer, and a container engine that allows openat2",
        ),
    }
}

fn cgroups() -> Finding {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        Finding::ok("cgroups", "version 2")
    } else if root.join("unified").is_dir() {
        Finding::ok("cgroups", "hybrid of versions 1 and 2")
    } else if root.join("memory").is_dir() {
        Finding::ok("cgroups", "version 1")
    } else {
        Finding::error(
            "cgroups",
            "no hierarchy is mounted on `/sys/fs/cgroup`",
            "mount one: calls could not be limited or ended without it",
        )
    }
}

fn landlock() -> Finding {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if modules.split(',').any(|module| module.trim() == "landlock") {
        Finding::ok("landlock", "the kernel has it")
    } else {
        Finding::warning(
            "landlock",
            "the kernel does not have it, or does not say: processes of one component may signal each other",
            "use a kernel with `landlock` in its `lsm=` list; packs stay separated without it",
        )
    }
}

fn memory() -> Option<Finding> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        / 1024;
    Some(if available < LITTLE_MEMORY_MIB {
        Finding::warning(
            "memory",
            format!("only {available} MiB are available"),
            "stop packs with `packctl down PACK`, or lower `memory_limit` in docker/config.json",
        )
    } else {
        Finding::ok("memory", format!("{available} MiB are available"))
    })
}

fn watches() -> Option<Finding> {
    let path = "/proc/sys/fs/inotify/max_user_watches";
    let most: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (most < FEW_WATCHES).then(|| {
        Finding::warning(
            "inotify",
            format!("only {most} watches a user are allowed; changed grants may be noticed late"),
            format!("raise it: sysctl fs.inotify.max_user_watches={FEW_WATCHES}"),
        )
    })
}

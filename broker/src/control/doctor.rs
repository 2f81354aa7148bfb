//! `packctl doctor`: what a person should look at, each with its remedy.

use std::{fs, path::Path};

use rumi_policy::{PackId, manifest::Base};
use rumi_proto::v1;

use super::{ControlService, packs::said, status::unloaded};
use crate::{
    broker::Broker,
    exec::LibrariesState,
    filesystem::DEVICE,
    packs::{Pack, Phase, StartError},
};

/// Less free memory than this makes the kernel end processes, in bytes.
const LITTLE_MEMORY: u64 = 512 * 1024 * 1024;
/// Less free disk than this endangers the log, in bytes.
const LITTLE_DISK: u64 = 512 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Findings(Vec<v1::Finding>);

impl Findings {
    fn add(&mut self, level: &str, subject: &str, message: String, remedy: &str) {
        self.0.push(v1::Finding {
            level: level.to_owned(),
            subject: subject.to_owned(),
            message,
            remedy: remedy.to_owned(),
        });
    }
    pub(super) fn ok(&mut self, subject: &str, message: String) {
        self.add("ok", subject, message, "");
    }
    pub(super) fn warning(&mut self, subject: &str, message: String, remedy: &str) {
        self.add("warning", subject, message, remedy);
    }
    pub(super) fn error(&mut self, subject: &str, message: String, remedy: &str) {
        self.add("error", subject, message, remedy);
    }
}

impl ControlService {
    pub(super) async fn examine(&self) -> v1::DoctorResponse {
        let broker = self.packs.broker();
        let mut findings = Findings::default();
        engine(broker, &mut findings).await;
        audit(broker, &mut findings);
        policy(broker, &mut findings);
        secrets(broker, &mut findings);
        self.pack_findings(&mut findings).await;
        self.handler_findings(&mut findings);
        self.code_finding(&mut findings);
        host(broker, &mut findings);
        v1::DoctorResponse {
            findings: findings.0,
        }
    }

    async fn pack_findings(&self, findings: &mut Findings) {
        match Pack::all(&self.packs.broker().layout().packs()) {
            Ok(ids) => {
                for id in ids {
                    self.pack_finding(&id, findings).await;
                }
            }
            Err(error) => findings.error(
                "packs",
                format!("cannot list docker/packs: {error}"),
                "give the broker a --home that holds docker/packs",
            ),
        }
        let wanted = self.packs.broker().engine().runtime();
        for shown in self.packs.shown(&[]) {
            if let Some(running) = &shown.running {
                under(&shown.id, &running.runtime, wanted, findings);
            }
            match shown.phase {
                Phase::Failed => findings.error(
                    "pack",
                    format!("`{}` failed: {}", shown.id, shown.message),
                    &format!("packctl up {}", shown.id),
                ),
                Phase::Running if shown.pools.iter().any(|pool| !pool.status().attached) => {
                    findings.warning(
                        "pack",
                        format!("`{}` runs, but a worker of it is not attached", shown.id),
                        &format!("packctl logs {}", shown.id),
                    );
                }
                Phase::Running if shown.pools.iter().any(|pool| unloaded(pool).is_some()) => {
                    for message in shown.pools.iter().filter_map(|pool| unloaded(pool)) {
                        let remedy = "correct its file, or its requirements, then bring the pack up again; each call says the same";
                        findings.warning("pack", message, remedy);
                    }
                }
                Phase::Running => findings.ok("pack", format!("`{}` runs", shown.id)),
                Phase::Starting | Phase::Stopped => {}
            }
        }
    }

    /// Whether ad-hoc code has the libraries that it is to find.
    fn code_finding(&self, findings: &mut Findings) {
        let libraries = &self.exec.broker().config().exec.requirements.python;
        let named = libraries.text().lines().collect::<Vec<_>>().join(", ");
        match self.exec.libraries() {
            LibrariesState::None => {}
            LibrariesState::Built(image) => {
                findings.ok("code image", format!("{image} has {named}"));
            }
            LibrariesState::Pending => findings.warning(
                "code image",
                format!("the image with {named} is being built, and code waits for it"),
                "wait, then packctl doctor again; packctl exec waits by itself",
            ),
            LibrariesState::Failed(error) => {
                let whole = error.to_string();
                let (message, remedy) = whole.split_once("; remedy: ").unwrap_or((&whole, ""));
                let then = "packctl exec tries again after a minute, and a changed docker/config.json takes effect when the broker starts anew";
                let remedy = [remedy, then].into_iter().filter(|part| !part.is_empty());
                let remedy = remedy.collect::<Vec<_>>().join("; ");
                findings.error("code image", message.to_owned(), &remedy);
            }
        }
    }

    /// Whether a pack is sound, approved and granted anything.
    async fn pack_finding(&self, id: &PackId, findings: &mut Findings) {
        let source = match self.packs.read(id).await {
            Ok(source) => source,
            Err(error) => return pack_error(&error, "correct its pack.json", findings),
        };
        match self.packs.is_approved(&source) {
            Ok(true) => {}
            Ok(false) => findings.warning(
                "approval",
                format!("`{id}` is not approved as it is, and is not started anew"),
                &format!("packctl approve {id} --show"),
            ),
            Err(error) => pack_error(&error, "see the broker's log", findings),
        }
        let policy = self.packs.broker().policy().current();
        for component in &source.pack.manifest.components {
            if policy.set.grant(&component.id).is_none() {
                findings.warning(
                    "grant",
                    format!(
                        "`{}` has no valid grant and is denied everything",
                        component.id
                    ),
                    &format!("packctl grant add {} PERMISSION VALUE", component.id),
                );
            }
        }
    }
}

/// What a container really runs under. One that was adopted may be older than the configuration.
fn under(pack: &PackId, found: &str, wanted: &str, findings: &mut Findings) {
    if found == wanted {
        findings.ok("runtime", format!("`{pack}` runs under `{found}`"));
    } else {
        findings.error(
            "runtime",
            format!("`{pack}` runs under `{found}`, and what is started now under `{wanted}`"),
            &format!("packctl down {pack} && packctl up {pack}"),
        );
    }
}

fn pack_error(error: &StartError, otherwise: &str, findings: &mut Findings) {
    let (message, remedy) = said(error);
    let remedy = Some(remedy.as_str()).filter(|remedy| !remedy.is_empty());
    findings.error("pack", message, remedy.unwrap_or(otherwise));
}

async fn engine(broker: &Broker, findings: &mut Findings) {
    match broker.engine().ping().await {
        Ok(()) => {
            let facts = broker.engine().facts();
            findings.ok(
                "engine",
                format!(
                    "Docker {}, API {}, cgroup v{} ({}), {} in {}; containers run under `{}`",
                    facts.engine_version,
                    facts.api_version,
                    facts.cgroup_version,
                    facts.cgroup_driver,
                    facts.storage_driver,
                    facts.root_dir,
                    broker.engine().runtime()
                ),
            );
            for warning in &facts.warnings {
                findings.warning(
                    "engine",
                    warning.clone(),
                    "see the engine's documentation; limits that rest on it do not hold",
                );
            }
            if !facts.seccomp {
                findings.error(
                    "engine",
                    "the engine has no seccomp".to_owned(),
                    "use an engine and a kernel built with seccomp",
                );
            }
        }
        Err(error) => findings.error("engine", error.to_string(), "systemctl start docker"),
    }
    match broker.base_image(Base::Base).await {
        Ok(image) => findings.ok("base image", image.to_string()),
        Err(error) => findings.error("base image", error.to_string(), "make base"),
    }
}

fn audit(broker: &Broker, findings: &mut Findings) {
    match broker.audit().health() {
        Ok(health) => findings.ok(
            "audit log",
            format!("{} records, {} signed", health.records, health.signed),
        ),
        Err(error) => findings.error(
            "audit log",
            format!("it cannot be written, so every request is denied: {error}"),
            "make room or mend the disk, then start the broker again",
        ),
    }
    let lost = broker.executions().lost();
    if lost > 0 {
        findings.warning(
            "executions",
            format!("{lost} lines of executions.jsonl could not be written"),
            "make room on the disk of the state directory",
        );
    }
    let refused = broker.counters().refused();
    if refused > 0 {
        findings.warning(
            "connections",
            format!("{refused} connections were refused because a pack held too many"),
            "stop the pack that opens so many, or raise `requests.connections` in docker/config.json",
        );
    }
}

fn policy(broker: &Broker, findings: &mut Findings) {
    let policy = broker.policy().current();
    for problem in policy.set.problems() {
        // The remedy has a place of its own.
        let whole = problem.to_string();
        let message = whole
            .trim_end_matches(problem.remedy.as_str())
            .trim_end_matches("; ");
        findings.error("policy", message.to_owned(), &problem.remedy);
    }
    if policy.set.problems().is_empty() {
        findings.ok("policy", format!("{} is in force", policy.hash()));
    }
}

fn secrets(broker: &Broker, findings: &mut Findings) {
    match broker.secrets().examine() {
        Ok(count) => findings.ok("secrets", format!("{count} secrets, sealed")),
        Err(error) => {
            let whole = error.to_string();
            let (message, remedy) = whole
                .split_once("; remedy: ")
                .unwrap_or((&whole, "see the broker's log"));
            findings.error("secrets", message.to_owned(), remedy);
        }
    }
    let plain = broker.layout().plain_secrets();
    if plain.exists() {
        findings.error(
            "secrets",
            format!("`{}` holds secrets in the open and is not used", plain.display()),
            "see the broker's log for why it was not taken over; keep each with packctl secret set NAME, then remove the file",
        );
    }
    let policy = broker.policy().current();
    let Ok(kept) = broker.secrets().entries() else {
        return;
    };
    for component in policy.set.components() {
        let Some(grant) = policy.set.grant(component) else {
            continue;
        };
        for name in grant
            .used_secrets()
            .filter(|name| !kept.contains_key(*name))
        {
            findings.warning(
                "secrets",
                format!("the grant of `{component}` uses the secret `{name}`, which has no value"),
                &format!("packctl secret set {name}"),
            );
        }
    }
}

fn host(broker: &Broker, findings: &mut Findings) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (major, minor) = version(&kernel);
    if (major, minor) < (5, 6) {
        findings.error(
            "kernel",
            format!("{} has no openat2", kernel.trim()),
            "run Linux 5.6 or later",
        );
    } else if (major, minor) < (6, 12) {
        findings.warning(
            "kernel",
            format!("{} has no Landlock signal scopes: a call may signal other processes of its own component", kernel.trim()),
            "run Linux 6.12 or later",
        );
    } else {
        findings.ok("kernel", kernel.trim().to_owned());
    }
    files(broker, (major, minor), findings);
    match available_memory() {
        Some(bytes) if bytes < LITTLE_MEMORY => findings.warning(
            "memory",
            format!("only {} MB are available", bytes / (1024 * 1024)),
            "stop packs that are not needed: packctl down PACK",
        ),
        Some(bytes) => findings.ok("memory", format!("{} MB available", bytes / (1024 * 1024))),
        None => {}
    }
    let free = rustix::fs::statvfs(broker.layout().state())
        .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        .unwrap_or(u64::MAX);
    if free < LITTLE_DISK {
        findings.warning(
            "disk",
            format!(
                "only {} MB are left for the audit log",
                free / (1024 * 1024)
            ),
            "make room on the disk of the state directory; a full disk denies every request",
        );
    }
}

/// What `/files` needs of the host; everything else works without.
fn files(broker: &Broker, kernel: (u32, u32), findings: &mut Findings) {
    if !Path::new(DEVICE).exists() {
        findings.warning(
            "files",
            format!("there is no {DEVICE}, so packs have no /files; everything else works"),
            "modprobe fuse, then packctl down and up each pack",
        );
    } else if !broker.files_guard().is_able() {
        findings.warning(
            "files",
            "the kernel's FUSE connections cannot be seen: a broker that hangs would hang whoever waits for /files".to_owned(),
            "mount -t fusectl none /sys/fs/fuse/connections, then start the broker again",
        );
    } else if kernel < (6, 9) {
        findings.ok(
            "files",
            "`passthrough` in a grant has no effect before Linux 6.9: files are copied".to_owned(),
        );
    }
}

fn version(release: &str) -> (u32, u32) {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// `MemAvailable` of proc(5), in bytes.
fn available_memory() -> Option<u64> {
    fs::read_to_string("/proc/meminfo")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

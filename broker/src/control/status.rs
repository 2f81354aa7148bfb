//! `ps`, `stats` and the broker's own state.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_policy::{ComponentId, HandlerName, PackId, Usage};
use rumi_proto::v1;
use tonic::Status;

use super::{ControlService, pack_id};
use crate::{
    container::{ContainerCgroup, Running},
    packs::Shown,
    workers::Pool,
};

impl ControlService {
    pub(super) fn state(&self) -> v1::StatusResponse {
        let broker = self.packs.broker();
        v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix: unix(self.started),
            policy: broker.policy().current().hash().to_owned(),
            home: broker.layout().home().display().to_string(),
            state: broker.layout().state().display().to_string(),
            pid: std::process::id(),
        }
    }

    pub(super) fn list(&self, names: &[String]) -> Result<v1::PsResponse, Status> {
        let wanted = self.known(names)?;
        let packs = self
            .packs
            .shown(&wanted)
            .into_iter()
            .map(|shown| {
                let components = shown.pools.iter().map(|pool| {
                    let status = pool.status();
                    v1::ComponentStatus {
                        component_id: pool.component().to_string(),
                        uid: uid_of(shown.running.as_ref(), pool.component()),
                        worker_attached: status.attached,
                        spares: u32::try_from(status.spares).unwrap_or(u32::MAX),
                        calls: status.calls,
                        service: status.service.map(|state| v1::ServiceStatus {
                            running: state.running,
                            starts: state.starts,
                            ended: state.ended,
                        }),
                    }
                });
                v1::PackStatus {
                    pack: shown.id.to_string(),
                    state: shown.phase.as_str().to_owned(),
                    components: components.collect(),
                    message: message(&shown),
                    waits_for_approval: shown.waits,
                    container_id: text(shown.running.as_ref().map(|r| &r.container)),
                    image_id: text(shown.running.as_ref().map(|r| &r.image)),
                    started: shown
                        .running
                        .as_ref()
                        .map(|r| r.started.clone())
                        .unwrap_or_default(),
                }
            })
            .collect();
        Ok(v1::PsResponse { packs })
    }

    pub(super) fn usage(&self, names: &[String]) -> Result<v1::StatsResponse, Status> {
        let wanted = self.known(names)?;
        let packs = self
            .packs
            .shown(&wanted)
            .into_iter()
            .filter_map(|shown| {
                let running = shown.running?;
                let usage = ContainerCgroup::of_init(running.pid()?)
                    .and_then(|cgroup| cgroup.usage())
                    .ok()?;
                Some(v1::PackStats {
                    pack: shown.id.to_string(),
                    memory_bytes: usage.memory_bytes,
                    memory_limit_bytes: usage.memory_limit.unwrap_or(0),
                    memory_peak_bytes: usage.memory_peak.unwrap_or(0),
                    cpu_usage_ns: usage.cpu_usec.unwrap_or(0).saturating_mul(1000),
                    pids: usage.pids,
                    pids_limit: usage.pids_limit.unwrap_or(0),
                })
            })
            .collect();
        Ok(v1::StatsResponse { packs })
    }

    /// Whoever may write something or has something is shown.
    pub(super) fn spent(&self) -> v1::QuotasResponse {
        let broker = self.packs.broker();
        let policy = broker.policy().current();
        let mut accounts: BTreeMap<ComponentId, Option<Usage>> = policy
            .set
            .components()
            .filter(|component| policy.set.quota(component).is_some())
            .map(|component| (component.clone(), Some(Usage::default())))
            .collect();
        let spent = broker.quotas().list().into_iter();
        accounts.extend(spent.map(|spent| (spent.component, spent.usage)));
        let components = accounts.into_iter().map(|(component, usage)| {
            let quota = policy.set.quota(&component);
            v1::QuotaStatus {
                component_id: component.to_string(),
                readable: usage.is_some(),
                bytes: usage.unwrap_or_default().bytes,
                files: usage.unwrap_or_default().files,
                quota_bytes: quota.map_or(0, |quota| quota.bytes),
                quota_files: quota.map_or(0, |quota| quota.files),
            }
        });
        v1::QuotasResponse {
            components: components.collect(),
        }
    }

    /// Parses names and refuses those that nobody knows.
    fn known(&self, names: &[String]) -> Result<Vec<PackId>, Status> {
        let wanted: Vec<PackId> = names
            .iter()
            .map(|name| pack_id(name))
            .collect::<Result<_, _>>()?;
        for pack in &wanted {
            if self.packs.shown(std::slice::from_ref(pack)).is_empty() {
                return Err(Status::not_found(format!(
                    "`{pack}` was never started here; remedy: packctl up {pack}"
                )));
            }
        }
        Ok(wanted)
    }
}

/// Nobody brought the pack of a handler up; what it is should be said.
fn message(shown: &Shown) -> String {
    if shown.waits {
        let pack = &shown.id;
        return format!("not approved as it is; see: packctl approve {pack} --show");
    }
    if !shown.message.is_empty() {
        return shown.message.clone();
    }
    let broken = shown.pools.iter().find_map(|pool| unloaded(pool));
    let handler = || {
        Some(format!(
            "custom handler `{}`",
            HandlerName::of_pack(&shown.id)?
        ))
    };
    broken.or_else(handler).unwrap_or_default()
}

/// That a tool does not load, and why.
pub(super) fn unloaded(pool: &Pool) -> Option<String> {
    let why = pool.status().broken?;
    Some(format!("`{}` does not load: {why}", pool.component()))
}

fn uid_of(running: Option<&Running>, component: &rumi_policy::ComponentId) -> u32 {
    running
        .and_then(|running| {
            running
                .components
                .iter()
                .find(|c| c.component == *component)
        })
        .map_or(0, |user| user.uid)
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

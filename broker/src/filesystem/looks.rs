//! Looking: what a path is, decided like any request and recorded in sums. A program that walks a
//! directory looks thousands of times a second, and one record each would bury the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rumi_audit::{Outcome, Recorded};
use rumi_policy::{
    AbsPath, Denial, Existing, FileKind, FileRead, FileReadAction, FileReadAsk, FileReadFound,
    FileWrite, FileWriteAction, FileWriteAsk, FileWriteFound, Permit,
};
use rustix::fs::Stat;

use super::{
    answer::Trouble,
    asker::{Asker, Asking},
    view::{Standing, View},
};
use crate::{
    broker::Broker,
    handlers::{find, find_itself, root_failure},
    pipeline::{self, Context},
    policy_store,
    refusal::Refusal,
};

/// How long looks are summed into one record.
const SUMMED: Duration = Duration::from_secs(1);
/// Records that are open at once for one component; when there are more, all are closed.
const OPEN_SUMS: usize = 64;

/// The sums of one component, one for each granted directory that it looks into, and for each file
/// that is granted by itself.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<AbsPath, Sum>>);

#[derive(Debug)]
struct Sum {
    /// The decision on the first look, which stands for those that follow.
    recorded: Evidence,
    looks: u64,
}

#[derive(Debug)]
enum Evidence {
    Read(Recorded<Permit<FileRead>>),
    Write(Recorded<Permit<FileWrite>>),
}

impl Evidence {
    async fn finish(self, outcome: Outcome<'_>) {
        let written = match self {
            Self::Read(recorded) => recorded.finish(outcome).await,
            Self::Write(recorded) => recorded.finish(outcome).await,
        };
        if let Err(error) = written {
            // The next look finds the log closed, and is refused.
            tracing::error!(%error, "a sum of looks could not be recorded");
        }
    }
}

impl Sum {
    async fn close(self) {
        let detail = serde_json::json!({"looks": self.looks});
        let outcome = Outcome {
            detail: Some(&detail),
            ..Outcome::success(0, 0)
        };
        self.recorded.finish(outcome).await;
    }
}

impl Looks {
    fn sums(&self) -> std::sync::MutexGuard<'_, HashMap<AbsPath, Sum>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a look where a record for its directory is open.
    fn count(&self, directory: &AbsPath) -> bool {
        match self.sums().get_mut(directory) {
            Some(sum) => {
                sum.looks += 1;
                true
            }
            None => false,
        }
    }

    async fn begin(&self, directory: &AbsPath, recorded: Evidence) {
        let sum = Sum { recorded, looks: 1 };
        let crowded: Vec<Sum> = {
            let mut sums = self.sums();
            let mut out = Vec::new();
            if sums.len() >= OPEN_SUMS {
                out.extend(sums.drain().map(|(_, sum)| sum));
            }
            out.extend(sums.insert(directory.clone(), sum));
            out
        };
        for sum in crowded {
            sum.close().await;
        }
    }

    async fn end(&self, directory: &AbsPath) {
        let sum = self.sums().remove(directory);
        if let Some(sum) = sum {
            sum.close().await;
        }
    }
}

/// What a look saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) stat: Stat,
    pub(super) kind: FileKind,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) passthrough: bool,
}

/// Looks at a path on behalf of a component.
///
/// # Errors
/// When policy denies it, it is not there, or the log cannot take it.
pub(super) async fn look(
    broker: &Arc<Broker>,
    asker: &Arc<Asker>,
    asking: Asking,
    path: &AbsPath,
    trouble: &Trouble,
) -> Result<Seen, Refusal> {
    let policy = broker.policy().current();
    let caller = asker.summed_caller(asking);
    let context = Context {
        broker,
        policy: &policy,
        caller: &caller,
    };
    let looking = Looking {
        context,
        asker,
        asking,
        path,
        trouble,
    };
    match View::of(&policy.set, asker.component(), policy_store::now()).standing(path) {
        Standing::Write => looking.as_writer().await,
        _ => looking.as_reader().await,
    }
}

/// Where a symlink leads, as long as that stays below the granted directory and is allowed.
///
/// # Errors
/// When policy denies it, it leads nowhere, or the log cannot take it.
pub(super) async fn follow(
    broker: &Arc<Broker>,
    asker: &Arc<Asker>,
    asking: Asking,
    path: &AbsPath,
    trouble: &Trouble,
) -> Result<AbsPath, Refusal> {
    let policy = broker.policy().current();
    let caller = asker.summed_caller(asking);
    let looking = Looking {
        context: Context {
            broker,
            policy: &policy,
            caller: &caller,
        },
        asker,
        asking,
        path,
        trouble,
    };
    looking.follow().await
}

#[derive(Clone, Copy)]
struct Looking<'a> {
    context: Context<'a>,
    asker: &'a Arc<Asker>,
    asking: Asking,
    path: &'a AbsPath,
    trouble: &'a Trouble,
}

impl Looking<'_> {
    async fn as_reader(self) -> Result<Seen, Refusal> {
        let ask = FileReadAsk {
            path: self.path.clone(),
            action: FileReadAction::Stat,
        };
        let set = &self.context.policy.set;
        let component = self.asker.component();
        let permit =
            rumi_policy::decide::<FileRead>(set, component, ask.clone(), policy_store::now());
        let permit = match permit {
            Ok(permit) => permit,
            Err(denial) => return Err(self.refuse(ask, denial).await),
        };
        let root = permit.terms().root().clone();
        let relative = permit.terms().relative().to_owned();
        let passthrough = permit.terms().passthrough();
        let granted = permit.terms().granted().clone();
        self.record(&granted, permit, Evidence::Read).await?;
        let found = self.find(&root, &relative)?;
        let facts = FileReadFound {
            kind: found.kind,
            size: size(&found.stat),
            real_root: root,
            real_path: self.path.clone(),
            links: found.stat.st_nlink,
        };
        // The first permit went into the record; this one is for what was found.
        let again =
            rumi_policy::decide::<FileRead>(set, component, ask.clone(), policy_store::now());
        if let Err(denial) = again.and_then(|permit| permit.confirm(&facts)) {
            return Err(self.deny::<FileRead>(&ask, denial).await);
        }
        Ok(Seen {
            readable: true,
            writable: self.may_write(),
            passthrough: passthrough && found.kind == FileKind::File,
            ..found
        })
    }

    async fn as_writer(self) -> Result<Seen, Refusal> {
        let ask = FileWriteAsk {
            path: self.path.clone(),
            action: FileWriteAction::Look,
            bytes: 0,
        };
        let set = &self.context.policy.set;
        let component = self.asker.component();
        let permit =
            rumi_policy::decide::<FileWrite>(set, component, ask.clone(), policy_store::now());
        let permit = match permit {
            Ok(permit) => permit,
            Err(denial) => return Err(self.deny::<FileWrite>(&ask, denial).await),
        };
        let root = permit.terms().root().clone();
        let relative = permit.terms().relative().to_owned();
        let granted = permit.terms().granted().clone();
        self.record(&granted, permit, Evidence::Write).await?;
        let found = self.find(&root, &relative)?;
        let facts = FileWriteFound {
            existing: Some(Existing {
                kind: found.kind,
                size: size(&found.stat),
                links: found.stat.st_nlink,
            }),
            real_root: root,
            real_path: self.path.clone(),
            to: None,
            usage: None,
            missing: 0,
            in_place: false,
        };
        let again =
            rumi_policy::decide::<FileWrite>(set, component, ask.clone(), policy_store::now());
        if let Err(denial) = again.and_then(|permit| permit.confirm(&facts)) {
            return Err(self.deny::<FileWrite>(&ask, denial).await);
        }
        Ok(Seen {
            writable: true,
            ..found
        })
    }

    /// What a refusal is about decides which command would help: a grant of the directory itself,
    /// or of the one that a file is in. Nothing was looked at yet, so the name has to tell.
    async fn refuse(self, ask: FileReadAsk, denial: Denial) -> Refusal {
        let name = self.path.file_name().unwrap_or_default();
        if name.trim_start_matches('.').contains('.') {
            return self.deny::<FileRead>(&ask, denial).await;
        }
        let listed = FileReadAsk {
            action: FileReadAction::List,
            ..ask.clone()
        };
        let set = &self.context.policy.set;
        let again = rumi_policy::decide::<FileRead>(
            set,
            self.asker.component(),
            listed,
            policy_store::now(),
        );
        let denial = again.err().unwrap_or(denial);
        self.deny::<FileRead>(&ask, denial).await
    }

    /// Refusals are recorded one by one, each with the call it belongs to.
    async fn deny<C: rumi_policy::Capability>(self, ask: &C::Ask, denial: Denial) -> Refusal {
        let caller = self.asker.caller(self.asking);
        let context = Context {
            caller: &caller,
            ..self.context
        };
        pipeline::deny::<C>(context, ask, denial).await
    }

    async fn follow(self) -> Result<AbsPath, Refusal> {
        let ask = FileReadAsk {
            path: self.path.clone(),
            action: FileReadAction::Stat,
        };
        let (set, component) = (&self.context.policy.set, self.asker.component());
        let decide =
            || rumi_policy::decide::<FileRead>(set, component, ask.clone(), policy_store::now());
        let permit = match decide() {
            Ok(permit) => permit,
            Err(denial) => return Err(self.deny::<FileRead>(&ask, denial).await),
        };
        let root = permit.terms().root().clone();
        let relative = permit.terms().relative().to_owned();
        let granted = permit.terms().granted().clone();
        self.record(&granted, permit, Evidence::Read).await?;
        let opened = self.context.policy.roots.get(&root);
        let opened = opened.map_err(|error| root_failure(&error))?;
        let found = find(&opened, &relative)
            .map_err(|error| self.trouble.note(self.path.as_str(), &error))?;
        let facts = FileReadFound {
            kind: found.kind(),
            size: found.size(),
            real_root: root,
            real_path: found.real_path().clone(),
            links: found.links(),
        };
        match decide().and_then(|permit| permit.confirm(&facts)) {
            Ok(_) => Ok(found.real_path().clone()),
            Err(denial) => Err(self.deny::<FileRead>(&ask, denial).await),
        }
    }

    fn may_write(self) -> bool {
        let ask = FileWriteAsk {
            path: self.path.clone(),
            action: FileWriteAction::Look,
            bytes: 0,
        };
        let set = &self.context.policy.set;
        rumi_policy::decide::<FileWrite>(set, self.asker.component(), ask, policy_store::now())
            .is_ok()
    }

    /// One decision stands in the log before anything below the directory is looked at, and its
    /// outcome says how often that happened in the second that followed.
    async fn record<C: rumi_policy::Capability>(
        self,
        granted: &AbsPath,
        permit: Permit<C>,
        evidence: impl FnOnce(Recorded<Permit<C>>) -> Evidence,
    ) -> Result<(), Refusal> {
        if self.asker.looks.count(granted) {
            return Ok(());
        }
        let recorded = pipeline::record_sum(self.context, permit, "look", granted.as_str()).await?;
        self.asker.looks.begin(granted, evidence(recorded)).await;
        let asker = Arc::clone(self.asker);
        let directory = granted.clone();
        self.context.broker.background().spawn(async move {
            tokio::time::sleep(SUMMED).await;
            asker.looks.end(&directory).await;
        });
        Ok(())
    }

    fn find(self, root: &AbsPath, relative: &str) -> Result<Seen, Refusal> {
        let opened = self.context.policy.roots.get(root);
        let opened = opened.map_err(|error| root_failure(&error))?;
        let found = find_itself(&opened, relative)
            .map_err(|error| self.trouble.note(self.path.as_str(), &error))?;
        Ok(Seen {
            stat: found.stat,
            kind: found.kind(),
            readable: false,
            writable: false,
            passthrough: false,
        })
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

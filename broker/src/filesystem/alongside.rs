//! The reading half of a file that is opened for both reading and writing.

use std::io;

use rumi_audit::Recorded;
use rumi_policy::{
    AbsPath, Confirmed, FileRead, FileReadAction, FileReadAsk, FileReadFound, Permission, Permit,
};

use super::{held, reading::id_of, writing::Ready};
use crate::{
    broker::Broker,
    caller::Caller,
    handlers::{Found, find_itself, root_failure},
    lease::Lease,
    pipeline::{self, Context, Handler, Performed},
    policy_store,
    refusal::Refusal,
};

fn ask(path: AbsPath) -> FileReadAsk {
    FileReadAsk {
        path,
        action: FileReadAction::Read {
            offset: 0,
            length: 0,
        },
    }
}

/// Whether reading would be allowed, before anything is made. A refusal is recorded.
///
/// # Errors
/// When it would not.
pub(super) async fn may(broker: &Broker, caller: &Caller, path: &AbsPath) -> Result<(), Refusal> {
    let policy = broker.policy().current();
    let context = Context {
        broker,
        policy: &policy,
        caller,
    };
    let ask = ask(path.clone());
    let now = policy_store::now();
    match rumi_policy::decide::<FileRead>(&policy.set, caller.component(), ask.clone(), now) {
        Ok(permit) => {
            // The use itself is counted when the reading half is decided.
            let usages = broker.usages();
            let permission = Permission::FileRead.into();
            let checked = usages.check(caller.component(), &permission, permit.conditions(), now);
            match checked {
                Ok(()) => Ok(()),
                Err(denial) => Err(pipeline::deny::<FileRead>(context, &ask, denial).await),
            }
        }
        Err(denial) => Err(pipeline::deny::<FileRead>(context, &ask, denial).await),
    }
}

/// The request to read what is being opened for writing.
pub(super) struct Alongside {
    ready: Ready,
}

impl Alongside {
    pub(super) async fn run(
        context: Context<'_>,
        path: AbsPath,
        ready: Ready,
    ) -> Result<(), Refusal> {
        let handler = Self { ready };
        pipeline::run(context.broker, context.caller, ask(path), handler).await
    }
}

impl Handler<FileRead> for Alongside {
    type Handle = ();
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, ()), Refusal> {
        let terms = permit.get().terms();
        let root = context.policy.roots.get(terms.root());
        let root = root.map_err(|error| root_failure(&error))?;
        let path = permit.get().ask().path.as_str();
        let trouble = self.ready.opening.answer.trouble();
        let same = |found: Found| -> io::Result<Found> {
            match id_of(&found) == self.ready.id()? {
                true => Ok(found),
                false => Err(rustix::io::Errno::STALE.into()),
            }
        };
        let found = find_itself(&root, terms.relative())
            .and_then(same)
            .map_err(|error| trouble.note(path, &error))?;
        let facts = FileReadFound {
            kind: found.kind(),
            size: found.size(),
            real_root: root.path().clone(),
            real_path: found.real_path().clone(),
            links: found.links(),
        };
        Ok((facts, ()))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileRead>>,
        (): (),
    ) -> Performed<()> {
        let trouble = self.ready.opening.answer.trouble().clone();
        let shared = std::sync::Arc::clone(&self.ready.opening.shared);
        let open = match self.ready.tell() {
            Ok(open) => open,
            Err(error) => {
                let path = permit.get().ask().path.as_str();
                return Performed::plain(Err(trouble.note(path, &error)));
            }
        };
        let lease = Lease::<FileRead>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.get().ask().clone(),
        );
        let result = held::until_closed(&shared, &open, lease).await;
        Performed {
            bytes_out: open.counted().1,
            ..Performed::plain(result)
        }
    }
}

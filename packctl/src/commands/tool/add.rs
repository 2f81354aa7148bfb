//! `packctl tool add NAME [CODE]`

use rumi_policy::PackId;
use serde::Serialize;

use super::{
    manifest::{Made, Said},
    name::ToolName,
    place::{self, Before, Place},
    start,
};
use crate::{
    broker::{self, Client},
    commands::review::Shown,
    context::Context,
    failure::{Exit, Failure},
};

/// Make a tool of one file, approve it and start it
///
/// The tool becomes a pack of its own, docker/packs/tool-NAME, with a container of its own and
/// no grants. Adding it approves it as it is, under your name in the audit log. Should it not
/// come up, nothing of it is left, and what it would have replaced goes on.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Add {
    /// Name of the tool, which is then called as tool-NAME:tool:NAME
    name: ToolName,

    /// File with the code, or - for standard input
    #[arg(value_name = "FILE|-", group = "source")]
    file: Option<String>,

    /// The code itself
    #[arg(
        short = 'c',
        long = "code",
        value_name = "CODE",
        group = "source",
        allow_hyphen_values = true
    )]
    code: Option<String>,

    #[command(flatten)]
    said: Said,

    /// Replace the tool of this name; its grants stay
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    component: String,
    pack: String,
    digest: String,
    /// The audit record of the approval.
    record: String,
    replaced: bool,
}

impl Add {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let made = self.said.manifest(&self.name)?;
        let code = place::code(self.file.as_deref(), self.code.as_deref())?;
        let place = Place::new(context, &self.name)?;
        let exists = place.exists();
        if exists && !self.replace {
            return Err(Failure::Failed {
                message: format!(
                    "there is a tool `{}` already; nothing was changed",
                    self.name
                ),
                hint: "choose another name, or replace it with --replace".to_owned(),
            });
        }
        if exists {
            // What somebody put there by hand is not replaced.
            place.read()?;
        }
        broker::converse(context, async move |client, context| {
            let row = self
                .add(client, context, &place, &made, &code, exists)
                .await?;
            context.out.one(&row, |row| {
                let verb = if row.replaced { "replaced" } else { "added" };
                vec![
                    format!(
                        "{verb} {} (approved {}, record {})",
                        row.component, row.digest, row.record
                    ),
                    format!("packctl call {} --args '{{…}}'", row.component),
                ]
            })
        })
    }

    async fn add(
        &self,
        mut client: Client,
        context: &Context,
        place: &Place,
        made: &Made,
        code: &[u8],
        exists: bool,
    ) -> Result<Row, Failure> {
        let pack = self.name.pack();
        let old = if exists {
            Some(Old::ask(&mut client, pack).await?)
        } else {
            None
        };
        let before = place.put(&made.text, &made.entry, code, exists)?;
        let written = (made.text.len() + code.len(), 2);
        match self.start(&mut client, context, written).await {
            Ok((digest, record)) => Ok(Row {
                name: self.name.to_string(),
                component: self.name.component().to_string(),
                pack: pack.to_string(),
                digest,
                record,
                replaced: exists,
            }),
            Err(failure) => {
                let undone = self.undo(&mut client, context, before, old).await;
                let console = context.console;
                console.error(&format!(
                    "the tool `{}` is not {}",
                    self.name,
                    if exists { "replaced" } else { "added" }
                ));
                if let Err(left) = undone {
                    console.warning(&format!("not everything is as it was before: {left}"));
                }
                Err(failure)
            }
        }
    }

    /// Approves what was written and nothing else, and starts it.
    async fn start(
        &self,
        client: &mut Client,
        context: &Context,
        (bytes, files): (usize, u64),
    ) -> Result<(String, String), Failure> {
        let pack = self.name.pack();
        let review = start::review(client, pack).await?;
        if review.extent() != (files, u64::try_from(bytes).unwrap_or(u64::MAX)) {
            return Err(Failure::Failed {
                message: format!("somebody else changes `docker/packs/{pack}`"),
                hint: "see who does, and add the tool again".to_owned(),
            });
        }
        // Grants are by name: a tool of this name may have been given something before.
        for line in review.grants() {
            context.console.warning(&line);
        }
        let record = start::approve(client, pack, review.digest()).await?;
        start::up(client, context.console, pack).await?;
        // It is there all the same: what it lacks while it loads may be a grant that it will be given.
        if let Some(why) = start::unloaded(client, pack).await? {
            context.console.warning(&why);
            context.console.hint(
                "correct the code and add it with --replace; until then each call says the same",
            );
        }
        Ok((review.digest().to_owned(), record))
    }

    /// Makes everything as it was before.
    async fn undo(
        &self,
        client: &mut Client,
        context: &Context,
        before: Before,
        old: Option<Old>,
    ) -> Result<(), Failure> {
        let pack = self.name.pack();
        before.put_back()?;
        let Some(old) = old else {
            // One that was never known need not be forgotten.
            return match start::down(client, pack).await {
                Err(failure) if failure.exit() == Exit::NotFound => Ok(()),
                down => down,
            };
        };
        if old.review.is_approved() {
            start::approve(client, pack, old.review.digest()).await?;
        }
        if old.running {
            // Goes on where it still runs.
            start::up(client, context.console, pack).await?;
        }
        Ok(())
    }
}

/// What is to be replaced.
#[derive(Debug)]
struct Old {
    review: Shown,
    running: bool,
}

impl Old {
    async fn ask(client: &mut Client, pack: &PackId) -> Result<Self, Failure> {
        Ok(Self {
            review: start::review(client, pack).await?,
            running: start::runs(client, pack).await?,
        })
    }
}

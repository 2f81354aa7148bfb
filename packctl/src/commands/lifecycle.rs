//! What `build`, `up` and `down` share: a stream of progress about many packs.

use std::collections::BTreeMap;

use rumi_policy::PackId;
use rumi_proto::v1::{
    PackFailed, PacksRequest, Progress as Event, Review, progress::Result as Ending,
};
use serde::Serialize;
use tonic::Streaming;

use super::review::Shown;
use crate::{
    broker,
    console::Console,
    context::Context,
    failure::{Exit, Failure},
    output::Table,
    progress::Progress,
};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Verb {
    Build,
    Up,
    Down,
}

impl Verb {
    /// What the pack is afterwards, and when there was nothing to do.
    fn states(self) -> (&'static str, &'static str) {
        match self {
            Self::Build => ("built", "unchanged"),
            Self::Up => ("up", "up already"),
            Self::Down => ("down", "down already"),
        }
    }

    fn failure(self) -> &'static str {
        match self {
            Self::Build => "could not be built",
            Self::Up => "did not come up",
            Self::Down => "could not be stopped",
        }
    }
}

/// How it ended for one pack.
#[derive(Debug, Serialize)]
struct Row {
    pack: String,
    state: &'static str,
    changed: bool,
    image: String,
    container: String,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What was shown instead of doing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<Shown>,
}

/// Of a pack that nothing was done with, because it is not what was approved.
const NOT_APPROVED: &str = "not_approved";

/// Asks the broker for it and shows what happens until the end.
pub(crate) fn run(
    context: &mut Context,
    verb: Verb,
    packs: &[PackId],
    approve: bool,
) -> Result<(), Failure> {
    let named: Vec<String> = packs.iter().map(ToString::to_string).collect();
    broker::converse(context, async move |mut client, context| {
        let request = PacksRequest {
            packs: named.clone(),
            approve,
        };
        let events = match verb {
            Verb::Build => client.build(request).await,
            Verb::Up => client.up(request).await,
            Verb::Down => client.down(request).await,
        }
        .map_err(|status| broker::refused(&status))?
        .into_inner();
        follow(context, verb, &named, events).await
    })
}

async fn follow(
    context: &mut Context,
    verb: Verb,
    named: &[String],
    mut events: Streaming<Event>,
) -> Result<(), Failure> {
    let mut progress = Progress::new(context.console);
    let mut rows = BTreeMap::new();
    let mut failed = Vec::new();
    let broken = loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => break None,
            Err(status) => break Some(broker::refused(&status)),
        };
        match event.result {
            None => progress.step(&event.pack, &event.message),
            Some(Ending::Done(done)) => {
                let (changed, unchanged) = verb.states();
                let state = if done.changed { changed } else { unchanged };
                let text = format!("{state} ({})", took(done.duration_ms));
                progress.end(&event.pack, "✓", &text);
                rows.insert(
                    event.pack.clone(),
                    Row {
                        pack: event.pack,
                        state,
                        changed: done.changed,
                        image: done.image_id,
                        container: done.container_id,
                        duration_ms: done.duration_ms,
                        error: None,
                        review: None,
                    },
                );
            }
            Some(Ending::NotApproved(review)) => {
                progress.end(&event.pack, "✗", "not approved");
                rows.insert(event.pack.clone(), unapproved_row(&event.pack, review));
            }
            Some(Ending::Failed(failure)) => {
                progress.end(&event.pack, "✗", verb.failure());
                rows.insert(event.pack.clone(), failed_row(&event.pack, &failure));
                failed.push((event.pack, failure));
            }
        }
    };
    progress.close();
    for (pack, failure) in &failed {
        explain(context.console, verb, pack, failure);
    }
    let rows: Vec<Row> = rows.into_values().collect();
    context.out.list(&rows, table)?;
    // Last, so that the command that approves it is what a person sees last.
    for review in rows.iter().filter_map(|row| row.review.as_ref()) {
        let what = verb.failure();
        let console = context.console;
        console.error(&format!(
            "pack `{}` {what}: {}",
            review.pack(),
            review.state()
        ));
        review.lines().iter().for_each(|line| console.say(line));
        console.hint(&review.command());
    }
    if let Some(broken) = broken {
        return Err(broken);
    }
    conclude(context, verb, named, &rows)
}

/// Whether every pack that was asked for had a good end.
fn conclude(context: &Context, verb: Verb, named: &[String], rows: &[Row]) -> Result<(), Failure> {
    let silent: Vec<_> = named
        .iter()
        .filter(|pack| !rows.iter().any(|row| row.pack == **pack))
        .map(|pack| format!("`{pack}`"))
        .collect();
    if !silent.is_empty() {
        return Err(Failure::Failed {
            message: format!(
                "the broker ended without saying how it went for {}",
                silent.join(", ")
            ),
            hint: "look at `packctl ps` and try again".to_owned(),
        });
    }
    if rows.is_empty() {
        context.console.say(match verb {
            Verb::Down => "nothing is up",
            Verb::Build | Verb::Up => "there are no packs",
        });
        if !matches!(verb, Verb::Down) {
            context
                .console
                .hint("`packctl init PACK` writes the skeleton of one");
        }
    }
    let failed = |row: &Row| row.error.is_some() && row.state != NOT_APPROVED;
    if rows.iter().any(failed) {
        return Err(Failure::Said(Exit::Failed));
    }
    if rows.iter().any(|row| row.error.is_some()) {
        return Err(Failure::Said(Exit::Denied));
    }
    Ok(())
}

fn failed_row(pack: &str, failure: &PackFailed) -> Row {
    undone(pack, "failed", failure.message.clone(), None)
}

fn unapproved_row(pack: &str, review: Review) -> Row {
    let review = Shown::from(review);
    undone(pack, NOT_APPROVED, review.state(), Some(review))
}

fn undone(pack: &str, state: &'static str, error: String, review: Option<Shown>) -> Row {
    Row {
        pack: pack.to_owned(),
        state,
        changed: false,
        image: String::new(),
        container: String::new(),
        duration_ms: 0,
        error: Some(error),
        review,
    }
}

fn explain(console: Console, verb: Verb, pack: &str, failure: &PackFailed) {
    console.error(&format!(
        "pack `{pack}` {}: {}",
        verb.failure(),
        failure.message
    ));
    for line in &failure.last_lines {
        console.say(&format!("  | {line}"));
    }
    if !failure.remedy.is_empty() {
        console.hint(&failure.remedy);
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["pack", "state", "image", "container", "took"]);
    for row in rows {
        table.row([
            row.pack.clone(),
            row.state.to_owned(),
            short(&row.image),
            short(&row.container),
            if row.error.is_some() {
                String::new()
            } else {
                took(row.duration_ms)
            },
        ]);
    }
    table
}

/// The first twelve digits of an id, as the engine itself shows them.
pub(crate) fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

fn took(ms: u64) -> String {
    if ms < 1000 {
        format!("{ms} ms")
    } else {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    }
}

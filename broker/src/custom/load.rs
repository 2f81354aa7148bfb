//! From a file to a handler that can be called: its pack is built, and its META is read where
//! the file may run, which is in its own container.

use std::{sync::Arc, time::Duration};

use rumi_policy::{HandlerMeta, MAX_META_BYTES};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    generated::Generated,
    registry::{Entry, Live, NotLive, Ready, State},
    scan::Source,
};
use crate::{
    caller::Invocation,
    container::BuildError,
    packs::{Packs, Schema, StartError, Word},
};

/// How long a handler may take to say what it is, once it is loaded.
const DESCRIBE: Duration = Duration::from_secs(10);
/// Longest complaint of a handler that is shown, in characters.
const SHOWN: usize = 300;

/// Why a file is no handler.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// It may be better the next time although the file is the same.
    pub(super) passing: bool,
}

impl Trouble {
    fn lasting(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            passing: false,
        }
    }
}

impl From<NotLive> for Trouble {
    fn from(error: NotLive) -> Self {
        Self {
            why: match error {
                NotLive::Anew => "its image was made anew meanwhile".to_owned(),
                NotLive::Failed(why) => why,
            },
            passing: true,
        }
    }
}

impl From<StartError> for Trouble {
    fn from(error: StartError) -> Self {
        let lasting = matches!(
            &error,
            StartError::Load(_)
                | StartError::Build(
                    BuildError::Requirements { .. }
                        | BuildError::NotAllowed { .. }
                        | BuildError::Failed { .. }
                        | BuildError::Wheels { .. }
                        | BuildError::Context(_)
                )
        );
        Self {
            why: excerpt(&error.to_string()),
            passing: !lasting,
        }
    }
}

/// What a tool answers, as far as it must be known here.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    error: Option<AnswerError>,
}

#[derive(Debug, Deserialize)]
struct AnswerError {
    message: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Loads a file under the handler's name. Until the new image is built, the handler before it
/// answers on; calls that run then are waited for, and later ones wait for the new one.
pub(super) async fn load(
    packs: &Packs,
    entry: &Entry,
    generated: &Generated,
    source: &Source,
) -> Result<(), Trouble> {
    let pack = entry.name.pack();
    generated.write(source).map_err(|error| Trouble {
        why: format!("its pack cannot be written to the state directory: {error}"),
        passing: true,
    })?;
    let content = packs.build(&pack, Word::Own, &mut |_| {}).await?.content;
    if let State::Ready(ready) = &*entry.state.borrow()
        && ready.content == content
    {
        return Ok(());
    }
    let _turn = entry.gate.write().await;
    let swapped = swap(packs, entry, generated, &content).await;
    if let Err(trouble) = &swapped {
        // Before the next call is let in: what runs now is not what was judged.
        entry
            .state
            .send_replace(State::Refused(trouble.why.clone()));
    }
    swapped
}

/// Puts the new image in the place of what ran before, and lets it be called.
async fn swap(
    packs: &Packs,
    entry: &Entry,
    generated: &Generated,
    content: &str,
) -> Result<(), Trouble> {
    let ran = packs.running(&entry.name.pack());
    let known = generated.recall(content);
    let fresh = ran.as_ref().is_none_or(|ran| ran.content != content);
    let ready = match known {
        Some(meta) => judge(&meta, content)?,
        None => {
            *entry.live() = None;
            let live = start(packs, entry, content).await?;
            let meta = describe(&live).await?;
            let ready = judge(&meta, content)?;
            generated.remember(content, &meta);
            ready
        }
    };
    if ran.is_none() {
        // It was only asked; its first call starts it again.
        down(packs, entry).await;
    } else if fresh {
        *entry.live() = None;
        start(packs, entry, content).await?;
    }
    entry.state.send_replace(State::Ready(Arc::new(ready)));
    tracing::info!(handler = %entry.name, %content, "handler loaded");
    Ok(())
}

/// Brings its container up.
///
/// # Errors
/// When it does not come up, or is made of something else than `content` by now.
pub(super) async fn start(packs: &Packs, entry: &Entry, content: &str) -> Result<Live, NotLive> {
    let pack = entry.name.pack();
    let up = packs
        .up(&pack, Word::Own, &mut |_| {})
        .await
        .map_err(|error| NotLive::Failed(excerpt(&error.to_string())))?;
    if up.running.content != content {
        let loaded =
            |state: &State| matches!(state, State::Ready(ready) if ready.content == content);
        entry.state.send_if_modified(|state| {
            let stale = loaded(state);
            if stale {
                *state = State::Loading;
            }
            stale
        });
        entry.again.notify_one();
        return Err(NotLive::Anew);
    }
    let found = packs.find(&entry.name.component());
    let ended = || NotLive::Failed("its container ended as soon as it was started".to_owned());
    let (_, pool, container) = found.ok_or_else(ended)?;
    let live = Live { pool, container };
    *entry.live() = Some(live.clone());
    Ok(live)
}

/// Takes its container down, if there is one.
pub(super) async fn down(packs: &Packs, entry: &Entry) {
    *entry.live() = None;
    if let Err(error) = packs.down(&entry.name.pack()).await {
        tracing::error!(handler = %entry.name, %error, "cannot stop a handler's container");
    }
}

/// Asks the handler for its META.
async fn describe(live: &Live) -> Result<String, Trouble> {
    let question = RawValue::from_string(r#"{"describe":true}"#.to_owned())
        .map_err(|error| Trouble::lasting(error.to_string()))?;
    let invocation = Arc::new(Invocation::new());
    let report = live.pool.call(invocation, question, Some(DESCRIBE)).await;
    if report.result.len() > MAX_META_BYTES * 2 {
        return Err(Trouble::lasting(format!(
            "its META is larger than {MAX_META_BYTES} bytes of JSON"
        )));
    }
    let answer: Answer<'_> = serde_json::from_str(&report.result)
        .map_err(|_| Trouble::lasting("it does not say what it is"))?;
    match answer {
        Answer {
            ok: true,
            data: Some(meta),
            ..
        } => Ok(meta.get().to_owned()),
        Answer {
            error: Some(error), ..
        } => Err(Trouble::lasting(excerpt(&format!(
            "{}: {}",
            error.kind, error.message
        )))),
        _ => Err(Trouble::lasting("it does not say what it is")),
    }
}

fn judge(meta: &str, content: &str) -> Result<Ready, Trouble> {
    let meta = HandlerMeta::parse(meta)
        .map_err(|error| Trouble::lasting(format!("its META is not valid: {error}")))?;
    let schema = meta.schema.as_ref().map(Schema::compile).transpose();
    let schema = schema.map_err(|error| {
        Trouble::lasting(excerpt(&format!(
            "`schema` of its META is no JSON Schema: {error}"
        )))
    })?;
    Ok(Ready {
        meta,
        schema,
        content: content.to_owned(),
    })
}

/// What a handler's own code may have written, made safe to show.
fn excerpt(text: &str) -> String {
    let one_line = text.replace('\n', " | ");
    let mut shown: String = one_line
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if one_line.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

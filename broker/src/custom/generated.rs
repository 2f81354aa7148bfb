//! The pack that is made of a handler, and what is remembered of it: all of it lies in the
//! state directory, where only root may write.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rumi_policy::HandlerName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::scan::Source;

/// What every handler is loaded and called by.
const ADAPTER: &str = include_str!("adapter.py");
const ENTRY: &str = "execute.py";
const REQUIREMENTS: &str = "requirements.txt";
/// Work area of a handler; it is code that answers, and keeps nothing by itself.
const WORKSPACE_MB: u32 = 8;

/// What a handler's container said of it, kept so that a restart need not ask again.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    content: String,
    meta: String,
}

/// The files of one handler in the state directory.
#[derive(Debug)]
pub(super) struct Generated {
    pack: PathBuf,
    remembered: PathBuf,
    handler: HandlerName,
}

impl Generated {
    pub(super) fn new(packs: &Path, handler: &HandlerName) -> Self {
        let id = handler.pack();
        Self {
            pack: packs.join(id.as_str()),
            remembered: packs.join(format!("{id}.meta.json")),
            handler: handler.clone(),
        }
    }

    /// Writes the pack anew. Each file is replaced in one step, and the manifest is last.
    pub(super) fn write(&self, source: &Source) -> io::Result<()> {
        let code = self.pack.join("handler");
        let directory = |path: &Path| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
        };
        directory(&code)?;
        replace(&code.join(format!("{}.py", self.handler)), &source.code)?;
        replace(&self.pack.join(ENTRY), ADAPTER.as_bytes())?;
        let requirements = self.pack.join(REQUIREMENTS);
        match &source.requirements {
            Some(lines) => replace(&requirements, lines)?,
            None => removed(fs::remove_file(requirements))?,
        }
        let manifest = self.manifest(source.requirements.is_some());
        replace(
            &self.pack.join("pack.json"),
            manifest.to_string().as_bytes(),
        )
    }

    fn manifest(&self, requirements: bool) -> serde_json::Value {
        let mut manifest = json!({
            "id": self.handler.pack(),
            "version": "1",
            "description": format!("The custom handler `{}`.", self.handler),
            "limits": {"workspace_mb": WORKSPACE_MB},
            "components": [{
                "id": self.handler.component(), "name": "execute", "runner": "python",
                "entry": ENTRY, "description": "What calls of the handler run.",
            }],
        });
        if requirements && let Some(fields) = manifest.as_object_mut() {
            fields.insert("requirements".to_owned(), REQUIREMENTS.into());
        }
        manifest
    }

    /// What was remembered for this very content.
    pub(super) fn recall(&self, content: &str) -> Option<String> {
        let bytes = fs::read(&self.remembered).ok()?;
        let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
        (remembered.content == content).then_some(remembered.meta)
    }

    /// Keeps what was said; one that is lost is only asked again.
    pub(super) fn remember(&self, content: &str, meta: &str) {
        let remembered = Remembered {
            content: content.to_owned(),
            meta: meta.to_owned(),
        };
        let written = serde_json::to_vec(&remembered)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&self.remembered, &bytes));
        if let Err(error) = written {
            tracing::warn!(handler = %self.handler, %error, "what a handler said of itself is not kept");
        }
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> io::Result<()> {
        removed(fs::remove_file(&self.remembered))?;
        removed(fs::remove_dir_all(&self.pack))
    }
}

/// Handlers of which something is left in the state directory.
pub(super) fn left(packs: &Path) -> Vec<HandlerName> {
    let entries = fs::read_dir(packs).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| HandlerName::of_pack(&entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn removed(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

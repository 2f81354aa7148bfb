//! One run of the engine's builder: the archive it gets, and the image it gives.

use std::{
    collections::HashMap,
    io::{self, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bollard::{body_try_stream, query_parameters::BuildImageOptions};
use futures_util::StreamExt as _;
use tokio_util::io::ReaderStream;

use super::{
    build_output::{Tail, plain},
    context::{Context, Entry, append},
    engine::{Engine, ImageId},
    error::EngineError,
    image::BuildError,
};

/// Memory of one step of a build.
const BUILD_MEMORY: i32 = 1 << 30;
/// How often a build is tried whose cache is taken away under it.
const ATTEMPTS: u32 = 4;
/// Bytes handed to the engine at a time.
const CHUNK: usize = 256 << 10;

/// One run of the engine's builder.
#[derive(Debug, Default)]
pub(super) struct Recipe {
    pub(super) dockerfile: String,
    pub(super) files: Vec<(String, Entry)>,
    /// The pack's files, and where in the context they go.
    pub(super) pack: Option<(Context, &'static str)>,
    /// A directory of wheels, which can be too large for memory.
    pub(super) wheels: Option<PathBuf>,
    pub(super) tag: Option<String>,
    pub(super) labels: HashMap<String, String>,
    pub(super) networked: bool,
}

/// A name that no pack's file has, because it is written last and wins.
const DOCKERFILE: &str = ".rumi.Dockerfile";

impl Recipe {
    /// The archive for the engine, in a file without a name.
    fn archive(&self) -> io::Result<std::fs::File> {
        // Wheels can be larger than /tmp, where that is memory; beside them there is room.
        let file = match self.wheels.as_deref().and_then(Path::parent) {
            Some(beside) => tempfile::tempfile_in(beside)?,
            None => tempfile::tempfile()?,
        };
        let mut archive = tar::Builder::new(io::BufWriter::new(file));
        if let Some((context, prefix)) = &self.pack {
            context.append(&mut archive, prefix)?;
        }
        for (name, entry) in &self.files {
            append(&mut archive, name, entry)?;
        }
        if let Some(directory) = &self.wheels {
            Self::append_wheels(&mut archive, directory)?;
        }
        let dockerfile = Entry::File {
            executable: false,
            content: self.dockerfile.clone().into_bytes(),
        };
        append(&mut archive, DOCKERFILE, &dockerfile)?;
        // The engine would leave out what this file of the pack's names, and with it the above.
        let ignore = Entry::File {
            executable: false,
            content: Vec::new(),
        };
        append(&mut archive, ".dockerignore", &ignore)?;
        let mut file = archive
            .into_inner()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }

    fn append_wheels(
        archive: &mut tar::Builder<impl io::Write>,
        directory: &Path,
    ) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let mut file = std::fs::File::open(directory.join(&name))?;
            let mut header = tar::Header::new_gnu();
            header.set_size(file.metadata()?.len());
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            archive.append_data(&mut header, Path::new("wheels").join(&name), &mut file)?;
        }
        Ok(())
    }

    fn options(&self) -> BuildImageOptions {
        let proxies = ["http_proxy", "https_proxy", "no_proxy"];
        let proxies = proxies
            .iter()
            .flat_map(|name| [(*name).to_owned(), name.to_uppercase()]);
        let arguments =
            proxies.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value)));
        BuildImageOptions {
            dockerfile: DOCKERFILE.to_owned(),
            t: self.tag.clone(),
            rm: true,
            forcerm: true,
            memory: Some(BUILD_MEMORY),
            memswap: Some(BUILD_MEMORY),
            networkmode: (!self.networked).then(|| "none".to_owned()),
            buildargs: self.networked.then(|| arguments.collect()),
            labels: Some(self.labels.clone()),
            ..BuildImageOptions::default()
        }
    }
}

/// Runs the engine's builder and gives the image it made.
///
/// The engine's cache names images of earlier builds, and one of them may be removed by
/// somebody else between being named and being used. That is no fault of the pack: such a
/// build is run again.
pub(super) async fn run_build(
    engine: &Engine,
    recipe: Recipe,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<ImageId, BuildError> {
    let recipe = Arc::new(recipe);
    let mut attempt = 1;
    loop {
        let built = run_once(engine, &recipe, progress).await;
        let vanished =
            matches!(&built, Err(BuildError::Failed { output }) if cache_vanished(output));
        if !vanished || attempt == ATTEMPTS {
            return built;
        }
        attempt += 1;
        progress("an image of the cache is gone; building again");
    }
}

/// Whether the engine missed an image that it had named itself.
fn cache_vanished(output: &str) -> bool {
    let last = output.lines().next_back().unwrap_or_default();
    let last = last.to_ascii_lowercase();
    [
        "unable to find image \"sha256:",
        "no such image: sha256:",
        "failed to get digest sha256:",
    ]
    .iter()
    .any(|complaint| last.contains(complaint))
}

async fn run_once(
    engine: &Engine,
    recipe: &Arc<Recipe>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<ImageId, BuildError> {
    let body = body(Arc::clone(recipe)).await?;
    let mut tail = Tail::default();
    let mut image = None;
    let mut answers = std::pin::pin!(engine.docker().build_image(
        recipe.options(),
        None,
        Some(body_try_stream(body))
    ));
    while let Some(answer) = answers.next().await {
        let failure = match answer {
            Ok(info) => {
                if let Some(text) = info.stream.or(info.status) {
                    tail.add(&text, progress);
                }
                image = info.aux.and_then(|aux| aux.id).or(image);
                info.error_detail
                    .map(|detail| detail.message.unwrap_or_default())
            }
            Err(bollard::errors::Error::DockerStreamError { error }) => Some(error),
            Err(error) => return Err(EngineError::call("build", "image")(error).into()),
        };
        if let Some(failure) = failure {
            tail.add(&plain(&failure), progress);
            return Err(BuildError::Failed {
                output: tail.text(),
            });
        }
    }
    image
        .map(|id| ImageId::new(&id))
        .ok_or_else(|| BuildError::Failed {
            output: tail.text(),
        })
}

/// The archive as a stream.
async fn body(recipe: Arc<Recipe>) -> Result<ReaderStream<tokio::fs::File>, BuildError> {
    let cache = |source| BuildError::Cache {
        path: std::env::temp_dir(),
        source,
    };
    let archive = tokio::task::spawn_blocking(move || recipe.archive())
        .await
        .map_err(|error| cache(io::Error::other(error)))?
        .map_err(cache)?;
    let file = tokio::fs::File::from_std(archive);
    Ok(ReaderStream::with_capacity(file, CHUNK))
}

#[cfg(test)]
mod tests {
    use super::cache_vanished;

    #[test]
    fn only_an_image_that_the_engine_named_itself_is_a_reason_to_build_again() {
        for (output, again) in [
            ("Step 3/12\nunable to find image \"sha256:1b49d8\"", true),
            ("Step 3/12\nNo such image: sha256:1b49d8", true),
            (
                "failed to get digest sha256:1b: open /…: no such file",
                true,
            ),
            ("unable to find image \"sha256:1b49d8\"\nexit code 1", false),
            ("pull access denied for nothing", false),
            ("", false),
        ] {
            assert_eq!(cache_vanished(output), again, "{output}");
        }
    }
}

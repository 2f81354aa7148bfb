//! The files that a run leaves, fetched when nothing of the run lives any more.

use std::time::Duration;

use super::{
    frame::{self, FrameError, Said, Wanted},
    program::DIRECTORY,
    request::{InputFile, MOST_FILES, unfit},
};
use crate::{vetting::Mask, workers::Keeper};

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One file that came out.
#[derive(Debug)]
pub(super) struct OutputFile {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// Files, and how many there were besides.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) files: Vec<OutputFile>,
    pub(super) left_out: u32,
}

impl Collected {
    /// The same without the credentials that were written into it.
    pub(super) fn masked(self, mask: &Mask) -> Self {
        let masked = |file: OutputFile| OutputFile {
            name: mask.text(&file.name),
            content: mask.whole(&file.content),
        };
        Self {
            files: self.files.into_iter().map(masked).collect(),
            ..self
        }
    }
}

/// Fetches what lies in the working directory and was not put there as it is.
pub(super) async fn collect(
    mut keeper: Keeper,
    known: &[InputFile],
    most: usize,
) -> Result<Collected, FrameError> {
    let collecting = tokio::time::timeout(PATIENCE, fetch(&mut keeper, most)).await;
    keeper.end().await;
    let mut collected =
        collecting.map_err(|late| FrameError::Closed(std::io::Error::from(late)))??;
    collected.files.retain(|file| {
        let as_given = |other: &InputFile| other.name == file.name && other.content == file.content;
        !known.iter().any(as_given)
    });
    Ok(collected)
}

async fn fetch(keeper: &mut Keeper, most: usize) -> Result<Collected, FrameError> {
    let (stream, _) = keeper.parts();
    let wanted = Wanted {
        directory: DIRECTORY,
        files: u64::try_from(MOST_FILES).unwrap_or(u64::MAX),
        bytes: u64::try_from(most).unwrap_or(u64::MAX),
    };
    frame::collect(stream, &wanted).await?;
    let mut collected = Collected::default();
    let mut room = most;
    loop {
        match frame::read(stream).await? {
            // The guest keeps to what it was told; the code's user could take its place.
            Said::File(name) if unfit(&name).is_none() && collected.files.len() < MOST_FILES => {
                let content = Vec::new();
                collected.files.push(OutputFile { name, content });
            }
            Said::Data(bytes) => {
                room = room.checked_sub(bytes.len()).ok_or(FrameError::Nonsense)?;
                let file = collected.files.last_mut().ok_or(FrameError::Nonsense)?;
                file.content.extend_from_slice(&bytes);
            }
            Said::End(end) => {
                collected.left_out = end.left_out;
                return Ok(collected);
            }
            _ => return Err(FrameError::Nonsense),
        }
    }
}

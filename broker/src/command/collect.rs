//! Everything that a command says, kept until it ends: for those who want one answer.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Input, Lines, Output};

/// Both streams of a command, as far as they were passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
}

/// Gives the command all of its input and keeps all of its output, until it ends.
pub async fn collect(lines: Lines, stdin: Bytes) -> Collected {
    let (output, ()) = tokio::join!(keep(lines.output), give(lines.input, stdin));
    output
}

async fn keep(mut output: mpsc::Receiver<Output>) -> Collected {
    let mut collected = Collected::default();
    while let Some(piece) = output.recv().await {
        match piece {
            Output::Stdout(bytes) => collected.stdout.extend_from_slice(&bytes),
            Output::Stderr(bytes) => collected.stderr.extend_from_slice(&bytes),
        }
    }
    collected
}

async fn give(input: mpsc::Sender<Input>, stdin: Bytes) {
    let pieces = (!stdin.is_empty()).then_some(Input::Data(stdin));
    for piece in pieces.into_iter().chain([Input::End]) {
        if input.send(piece).await.is_err() {
            // The command has ended without it.
            return;
        }
    }
}

//! `TerminalStream`: the messages of gRPC, to a session and from one.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream};
use rumi_policy::{Denial, Reason};
use rumi_proto::v1::{self, terminal_input::Message, terminal_output};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Connection,
    commands::{Said, size},
};
use crate::{
    command::{Input, Output, Signal},
    refusal::Refusal,
};

/// How long a caller may take to say what is to run.
const FIRST: Duration = Duration::from_secs(10);

/// Replies of one stream.
pub(super) type Replies = Pin<Box<dyn Stream<Item = Result<v1::TerminalOutput, Status>> + Send>>;

impl Connection {
    pub(super) async fn stream(
        &self,
        mut messages: Streaming<v1::TerminalInput>,
    ) -> Result<Replies, Status> {
        let first = tokio::time::timeout(FIRST, messages.message()).await;
        let start = match first {
            Ok(Ok(Some(v1::TerminalInput {
                message: Some(Message::Start(start)),
            }))) => start,
            Ok(Err(status)) => return Err(status),
            Ok(Ok(_)) | Err(_) => return Err(self.unstarted().await.into()),
        };
        let session = self.start_command(start).await?;
        tokio::spawn(pass_on(messages, session.input()));
        Ok(Box::pin(stream::unfold(session, |mut session| async {
            let said = session.next().await?;
            Some((reply(said), session))
        })))
    }

    /// Records that a stream did not say what is to run.
    pub async fn unstarted(&self) -> Refusal {
        let denial = Denial::new(
            Reason::BadRequest,
            "the first message of a terminal must say what is to run, within 10 s",
        );
        self.malformed("terminal", "run", denial).await
    }
}

/// Until the caller ends his side, the command ends, or the caller says what makes no sense.
async fn pass_on(mut messages: Streaming<v1::TerminalInput>, input: mpsc::Sender<Input>) {
    while let Ok(Some(v1::TerminalInput { message })) = messages.message().await {
        let sent = match message {
            Some(Message::Stdin(bytes)) => input.send(Input::Data(bytes)).await,
            Some(Message::End(_)) => input.send(Input::End).await,
            Some(Message::Resize(wanted)) => input.send(Input::Resize(size(&wanted))).await,
            Some(Message::Signal(number)) => match signal(number) {
                Some(signal) => input.send(Input::Signal(signal)).await,
                None => return,
            },
            Some(Message::Start(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn signal(number: i32) -> Option<Signal> {
    u8::try_from(number).ok().and_then(Signal::from_number)
}

fn reply(said: Result<Said, Refusal>) -> Result<v1::TerminalOutput, Status> {
    use terminal_output::Message;
    let message = match said? {
        Said::Output(Output::Stdout(bytes)) => Message::Stdout(bytes),
        Said::Output(Output::Stderr(bytes)) => Message::Stderr(bytes),
        Said::Taken(bytes) => Message::Taken(bytes),
        Said::Exit(exit) => Message::Exit(exit),
    };
    Ok(v1::TerminalOutput {
        message: Some(message),
    })
}

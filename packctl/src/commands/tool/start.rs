//! What the broker is asked for when a tool was added: to look, to approve, to start.

use std::time::{Duration, Instant};

use rumi_policy::PackId;
use rumi_proto::v1::{
    ApproveRequest, PacksRequest, PsRequest, ReviewRequest, progress::Result as Ending,
};

use crate::{
    broker::{self, Client},
    commands::review::Shown,
    console::Console,
    failure::Failure,
    progress::Progress,
};

/// How long a tool that was added is watched while it loads, and how often it is looked.
const LOADING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// What the broker reads there, as an admin is shown it.
pub(super) async fn review(client: &mut Client, pack: &PackId) -> Result<Shown, Failure> {
    let packs = vec![pack.to_string()];
    let question = broker::question(ReviewRequest { packs });
    let reply = client.review(question).await;
    let reviews = reply.map_err(|status| broker::refused(&status))?;
    let mut reviews = reviews.into_inner().reviews.into_iter();
    reviews
        .next()
        .map(Shown::from)
        .ok_or_else(|| Failure::Failed {
            message: format!("the broker said nothing of `{pack}`"),
            hint: "packctl and rumi-broker may be of different versions".to_owned(),
        })
}

/// Whether it runs now.
pub(super) async fn runs(client: &mut Client, pack: &PackId) -> Result<bool, Failure> {
    let packs = vec![pack.to_string()];
    let reply = client.ps(broker::question(PsRequest { packs })).await;
    match reply {
        Ok(reply) => {
            let packs = reply.into_inner().packs;
            Ok(packs.iter().any(|pack| pack.state == "running"))
        }
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(broker::refused(&status)),
    }
}

/// Why its tool does not load, where it says so soon. Loading may take as long as it likes.
pub(super) async fn unloaded(
    client: &mut Client,
    pack: &PackId,
) -> Result<Option<String>, Failure> {
    let begun = Instant::now();
    loop {
        let packs = vec![pack.to_string()];
        let reply = client.ps(broker::question(PsRequest { packs })).await;
        let reply = reply.map_err(|status| broker::refused(&status))?;
        let status = reply
            .into_inner()
            .packs
            .into_iter()
            .next()
            .unwrap_or_default();
        if !status.message.is_empty() {
            return Ok(Some(status.message));
        }
        let loaded = status
            .components
            .iter()
            .any(|component| component.spares > 0);
        if loaded || begun.elapsed() > LOADING {
            return Ok(None);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Approves it under this digest; the id of the record.
pub(super) async fn approve(
    client: &mut Client,
    pack: &PackId,
    digest: &str,
) -> Result<String, Failure> {
    let question = broker::question(ApproveRequest {
        pack: pack.to_string(),
        digest: digest.to_owned(),
    });
    let reply = client.approve(question).await;
    let reply = reply.map_err(|status| broker::refused(&status))?;
    Ok(reply.into_inner().record)
}

/// Builds and starts it.
pub(super) async fn up(
    client: &mut Client,
    console: Console,
    pack: &PackId,
) -> Result<(), Failure> {
    let request = PacksRequest {
        packs: vec![pack.to_string()],
        approve: false,
    };
    let reply = client.up(request).await;
    let mut events = reply
        .map_err(|status| broker::refused(&status))?
        .into_inner();
    let mut progress = Progress::new(console);
    let ended = loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => break Err(silent(pack)),
            Err(status) => break Err(broker::refused(&status)),
        };
        match event.result {
            None => progress.step(&event.pack, &event.message),
            Some(Ending::Done(_)) => {
                progress.end(&event.pack, "✓", "up");
                break Ok(());
            }
            Some(Ending::NotApproved(_)) => {
                break Err(Failure::Failed {
                    message: format!(
                        "the files of `{pack}` were changed by somebody else meanwhile"
                    ),
                    hint: format!("packctl approve {pack} --show"),
                });
            }
            Some(Ending::Failed(failure)) => {
                progress.end(&event.pack, "✗", "did not come up");
                for line in &failure.last_lines {
                    console.say(&format!("  | {line}"));
                }
                break Err(Failure::Failed {
                    message: failure.message,
                    hint: failure.remedy,
                });
            }
        }
    };
    progress.close();
    ended
}

/// Ends it; a pack whose directory is gone is forgotten.
pub(super) async fn down(client: &mut Client, pack: &PackId) -> Result<(), Failure> {
    let request = PacksRequest {
        packs: vec![pack.to_string()],
        approve: false,
    };
    let reply = client.down(request).await;
    let mut events = reply
        .map_err(|status| broker::refused(&status))?
        .into_inner();
    loop {
        let event = events.message().await;
        match event.map_err(|status| broker::refused(&status))? {
            None => return Err(silent(pack)),
            Some(event) => match event.result {
                Some(Ending::Done(_)) => return Ok(()),
                Some(Ending::Failed(failure)) => {
                    return Err(Failure::Failed {
                        message: failure.message,
                        hint: failure.remedy,
                    });
                }
                Some(Ending::NotApproved(_)) | None => {}
            },
        }
    }
}

fn silent(pack: &PackId) -> Failure {
    Failure::Failed {
        message: format!("the broker ended without saying how it went for `{pack}`"),
        hint: "look at `packctl ps` and try again".to_owned(),
    }
}

//! `packctl approve PACK… [--digest DIGEST] [--show]`

use rumi_policy::PackId;
use rumi_proto::v1::{ApproveRequest, ReviewRequest};
use serde::Serialize;

use super::review::Shown;
use crate::{
    broker::{self, Client},
    context::Context,
    failure::{Exit, Failure},
    output::{Format, Table},
};

/// Show what packs are and what changed, and approve them as they are
///
/// What is approved is what is shown: every file of the pack to the byte, with
/// its name and whether it can be executed. Requirements are approved as lines;
/// the image that a pack stands on is the host's. A pack whose files change is
/// not started until it is approved again; what runs goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// Packs to approve
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<PackId>,

    /// Approve only if the pack is still what was shown under this digest
    #[arg(long, value_name = "DIGEST", value_parser = digest, conflicts_with = "show")]
    digest: Option<String>,

    /// Show it and approve nothing
    #[arg(long)]
    show: bool,
}

/// One pack, and what was done.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    review: Shown,
    /// The audit record; none where nothing was approved now.
    record: Option<String>,
}

impl Approve {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.digest.is_some() && self.packs.len() > 1 {
            return Err(Failure::Usage {
                message: "`--digest` is of one pack, and several are named".to_owned(),
                hint: "approve them one by one".to_owned(),
            });
        }
        let packs: Vec<String> = self.packs.iter().map(ToString::to_string).collect();
        broker::converse(context, async move |mut client, context| {
            let question = broker::question(ReviewRequest { packs });
            let reviews = client.review(question).await;
            let reviews = reviews.map_err(|status| broker::refused(&status))?;
            let mut rows = Vec::new();
            for review in reviews.into_inner().reviews {
                let row = self.one(&mut client, context, Shown::from(review)).await?;
                rows.push(row);
            }
            match context.out.format() {
                Format::Table => Ok(()),
                Format::Json | Format::Jsonl => context.out.list(&rows, |_| Table::new(&[])),
            }
        })
    }

    async fn one(
        &self,
        client: &mut Client,
        context: &mut Context,
        review: Shown,
    ) -> Result<Row, Failure> {
        say(
            context,
            &format!("pack `{}`: {}", review.pack(), review.state()),
        )?;
        for line in review.lines() {
            say(context, &line)?;
        }
        if let Some(wanted) = &self.digest
            && wanted != review.digest()
        {
            return Err(Failure::Broker {
                exit: Exit::Denied,
                message: format!(
                    "the files of `{}` are not those that were shown; nothing was approved",
                    review.pack()
                ),
                hint: Some(format!("if these are right: {}", review.command())),
            });
        }
        let record = if self.show {
            if !review.is_settled() {
                say(context, &review.command())?;
            }
            None
        } else if review.is_settled() {
            None
        } else {
            let request = broker::question(ApproveRequest {
                pack: review.pack().to_owned(),
                digest: review.digest().to_owned(),
            });
            let reply = client.approve(request).await;
            let reply = reply.map_err(|status| broker::refused(&status))?;
            let record = reply.into_inner().record;
            say(
                context,
                &format!("approved {} (record {record})", review.digest()),
            )?;
            say(context, &format!("packctl up {}", review.pack()))?;
            Some(record)
        };
        Ok(Row { review, record })
    }
}

/// A line for people. It is out before anything is approved.
fn say(context: &mut Context, line: &str) -> Result<(), Failure> {
    if !matches!(context.out.format(), Format::Table) {
        return Ok(());
    }
    context.out.line(line)?;
    context.out.flush()
}

fn digest(text: &str) -> Result<String, String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(hex) {
        Ok(text.to_owned())
    } else {
        Err("it must be the 64 digits that were shown".to_owned())
    }
}

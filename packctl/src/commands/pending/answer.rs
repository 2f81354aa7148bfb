//! `packctl pending allow ID`, `packctl pending deny ID`

use rumi_policy::{ComponentId, PermissionName, SpellingError, edit};
use rumi_proto::v1::AnswerPendingRequest;

use super::row::{self, Row};
use crate::{
    broker::{self, Client},
    commands::grant::change,
    context::Context,
    failure::{Exit, Failure},
};

/// Allow one request that waits
///
/// It is done once, and only what was shown: the policy is asked again before, and a
/// grant that was taken away meanwhile still refuses.
#[derive(Debug, clap::Args)]
pub(crate) struct Allow {
    /// The request, as `packctl pending` names it
    #[arg(value_name = "ID")]
    id: String,

    /// Keep it in the grant's `always`, so that exactly this request is not asked about any more
    #[arg(long)]
    always: bool,
}

/// Deny requests that wait
///
/// Nothing is done, and the component is told `approval_refused`.
#[derive(Debug, clap::Args)]
pub(crate) struct Deny {
    /// The requests, as `packctl pending` names them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Allow {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let Self { id, always } = self;
        let row = broker::converse(context, async move |mut client, context| {
            if always {
                // Before the answer, so that what cannot be kept is still there to be allowed once.
                let rows = row::waiting(&mut client).await?;
                if let Some(row) = rows.iter().find(|row| row.id == id && row.may_be_kept) {
                    change::check(context, &component(row)?, |before| kept(row, before))?;
                }
            }
            let row = answer(&mut client, &id, true, always).await?;
            let text = format!("allowed `{id}` of `{}`: {}", row.component, row.request);
            context.console.say(&text);
            Ok(row)
        })?;
        if !always {
            return Ok(());
        }
        change::apply(context, &component(&row)?, |before| kept(&row, before)).inspect_err(|_| {
            let text = format!("`{}` was allowed this once, and is not kept", row.id);
            context.console.warning(&text);
        })
    }
}

impl Deny {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let mut failed = None;
            for id in &self.ids {
                match answer(&mut client, id, false, false).await {
                    Ok(row) => {
                        let text = format!("denied `{id}` of `{}`: {}", row.component, row.request);
                        context.console.say(&text);
                    }
                    // The others are denied all the same.
                    Err(failure) if self.ids.len() > 1 => {
                        failure.report(&context.console);
                        failed = Some(failure.exit());
                    }
                    Err(failure) => return Err(failure),
                }
            }
            match failed {
                Some(exit) => Err(Failure::Said(exit)),
                None => Ok(()),
            }
        })
    }
}

async fn answer(client: &mut Client, id: &str, allow: bool, always: bool) -> Result<Row, Failure> {
    let request = AnswerPendingRequest {
        id: id.to_owned(),
        allow,
        always,
    };
    let reply = client
        .answer_pending(broker::question(request))
        .await
        .map_err(|status| broker::refused(&status))?
        .into_inner();
    reply.request.map(Row::of).ok_or_else(|| Failure::Broker {
        exit: Exit::Failed,
        message: "the broker does not say what was answered".to_owned(),
        hint: None,
    })
}

/// The grant with the very line that was shown.
fn kept(row: &Row, before: Option<&[u8]>) -> Result<edit::Edited, Failure> {
    let permission: PermissionName = row.permission.parse().map_err(strange)?;
    edit::keep_request(before, &component(row)?, &permission, &row.request)
        .map_err(|error| change::refused(&error))
}

fn component(row: &Row) -> Result<ComponentId, Failure> {
    row.component.parse().map_err(strange)
}

fn strange(error: SpellingError) -> Failure {
    Failure::Failed {
        message: format!("the broker names what cannot be: {error}"),
        hint: "packctl and rumi-broker may be of different versions".to_owned(),
    }
}

//! `packctl pending --watch`

use std::{collections::HashSet, time::Duration};

use super::row::{self, Row};
use crate::{
    broker, context::Context, failure::Failure, json_text::Layout, moment::Moment, output::Format,
};

/// Often enough to feel immediate, seldom enough to cost nothing.
const POLL: Duration = Duration::from_millis(200);

/// Shows each request once, until it is ended or the broker is.
pub(super) fn run(context: &mut Context, json: bool) -> Result<(), Failure> {
    let json = json || context.out.format() != Format::Table;
    broker::converse(context, async move |mut client, context| {
        let mut seen = HashSet::new();
        loop {
            let rows = row::waiting(&mut client).await?;
            for row in rows.iter().filter(|row| !seen.contains(&row.id)) {
                if json {
                    context.out.json(row, Layout::Compact)?;
                } else {
                    context.out.line(&line(row))?;
                }
            }
            context.out.flush()?;
            // Ids are used once, so that what is gone need not be remembered.
            seen = rows.into_iter().map(|row| row.id).collect();
            tokio::time::sleep(POLL).await;
        }
    })
}

fn line(row: &Row) -> String {
    let waits = row.waits(Moment::now());
    format!(
        "{}  {}  {}  {waits}  {}",
        row.id, row.component, row.permission, row.request
    )
}

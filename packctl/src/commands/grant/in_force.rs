//! Waits until the broker has taken a change up, so that what is asked next is
//! decided by it.

use std::{path::Path, time::Duration};

use rumi_proto::v1::StatusRequest;
use tokio::time::{sleep, timeout};

use crate::{broker, context::Context, failure::Failure, policy_files};

/// How long a change may take; it is promised within a second.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Says nothing where no broker answers: grants are edited without one too.
pub(super) fn wait(context: &mut Context) {
    let taken_up = broker::converse(context, async |client, context| {
        Ok(timeout(PATIENCE, taken_up(client, context)).await)
    });
    match taken_up {
        Ok(Ok(Ok(()))) | Err(_) => {}
        Ok(Ok(Err(_)) | Err(_)) => {
            context
                .console
                .warning("the broker has not taken up the change yet");
            context
                .console
                .hint("`packctl doctor` says what it has in force");
        }
    }
}

async fn taken_up(mut client: broker::Client, context: &Context) -> Result<(), Failure> {
    loop {
        let status = client
            .status(broker::question(StatusRequest {}))
            .await
            .map_err(|status| broker::refused(&status))?
            .into_inner();
        // Another broker's policy is made of other files.
        if Path::new(&status.home) != context.home()? {
            return Ok(());
        }
        // Read anew each time: somebody else may be editing as well.
        if policy_files::load(context)?.hash().hex() == status.policy {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

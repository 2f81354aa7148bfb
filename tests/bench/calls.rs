//! A tool call, broker included, beside the engine's own ways to run the same small program.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rumi_proto::v1;

use crate::{
    client::Way,
    engine,
    failure::Failure,
    figure::Figure,
    reads::Ground,
    sample::Sample,
    stage::{self, Stage},
};

/// Long enough for a spare to be made and warmed after a call.
pub const PAUSE: Duration = Duration::from_millis(40);

/// Calls of a handler that are not counted: its container starts with the first.
const WARM_UP: usize = 5;

/// Calls with a spare waiting, calls that must wait for one, and the engine's ways.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let (calls, runs) = if quick { (20, 2) } else { (300, 15) };
    called(stage, 5, PAUSE).await?;
    let preforked = called(stage, calls, PAUSE).await?;
    let forked = called(stage, calls, Duration::ZERO).await?;
    let custom = Ground::of(stage, quick).await?.alone(
        Path::new(""),
        Way::Custom,
        (0, WARM_UP, calls + WARM_UP),
    )?;
    let (exec, run) = engine::peers(runs)?;
    let milliseconds = |name, sample: &Sample| {
        Figure::new(name, "ms", sample.n, sample.p50 / 1e6).p99(sample.p99 / 1e6)
    };
    Ok(vec![
        milliseconds("tool_call_preforked", &preforked).beside("docker exec", exec.p50 / 1e6),
        milliseconds("tool_call_forked", &forked).beside("docker run", run.p50 / 1e6),
        milliseconds("custom_call", &custom).beside("tool call", preforked.p50 / 1e6),
        milliseconds("docker_exec", &exec),
        milliseconds("docker_run", &run),
    ])
}

async fn called(stage: &Stage, calls: usize, pause: Duration) -> Result<Sample, Failure> {
    let mut control = stage.control().await?;
    let mut times = Vec::with_capacity(calls);
    for n in 0..calls {
        tokio::time::sleep(pause).await;
        let request = v1::CallRequest {
            component_id: stage::component(0),
            args_json: format!(r#"{{"n": {n}}}"#),
            timeout_ms: 0,
        };
        let started = Instant::now();
        let reply = control.call(request).await?.into_inner();
        times.push(started.elapsed());
        if !reply.result_json.contains(&format!(r#""n": {n}"#))
            && !reply.result_json.contains(&format!(r#""n":{n}"#))
        {
            return Err(Failure::Unexpected(format!(
                "a call answered {}",
                reply.result_json
            )));
        }
    }
    Sample::of(times).ok_or_else(|| Failure::Unexpected("no call was made".to_owned()))
}

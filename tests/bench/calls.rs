//! A tool call, broker included, beside the engine's own ways to run the same small program.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rumi_proto::v1::{self, control_client::ControlClient};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::transport::Channel;

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

/// How many calls are under way where it is counted how many are answered.
const IN_FLIGHT: usize = 4;

/// Calls with a spare waiting, calls that must wait for one, as many as can be, and the engine's ways.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let (calls, runs, span) = if quick {
        (20, 2, Duration::from_millis(300))
    } else {
        (300, 15, Duration::from_secs(5))
    };
    let component = stage::component(0);
    called(stage, &component, 5, PAUSE).await?;
    let preforked = called(stage, &component, calls, PAUSE).await?;
    let forked = called(stage, &component, calls, Duration::ZERO)
        .await?
        .client;
    let sustained = sustained(stage, span).await?;
    let custom = Ground::of(stage, quick).await?.alone(
        Path::new(""),
        Way::Custom,
        (0, WARM_UP, calls + WARM_UP),
    )?;
    let (exec, run) = engine::peers(runs)?;
    let milliseconds = |name, sample: &Sample| {
        Figure::new(name, "ms", sample.n, sample.p50 / 1e6).p99(sample.p99 / 1e6)
    };
    let Times { client, worker } = preforked;
    Ok(vec![
        milliseconds("tool_call_at_worker", &worker),
        milliseconds("tool_call_preforked", &client),
        Figure::new(
            "tool_calls_sustained",
            "/s",
            sustained.answered,
            sustained.rate,
        ),
        milliseconds("tool_call_forked", &forked).beside("docker run", run.p50 / 1e6),
        milliseconds("custom_call", &custom).beside("tool call", client.p50 / 1e6),
        milliseconds("docker_exec", &exec).beside("tool call", client.p50 / 1e6),
        milliseconds("docker_run", &run),
    ])
}

/// The same calls as packctl sees them, and from the call's frame to its answer.
pub struct Times {
    /// From the request to the answer.
    pub client: Sample,
    worker: Sample,
}

/// Calls of a tool that answers with its arguments, one after the other.
pub async fn called(
    stage: &Stage,
    component: &str,
    calls: usize,
    pause: Duration,
) -> Result<Times, Failure> {
    let mut control = stage.control().await?;
    let (mut client, mut worker) = (Vec::new(), Vec::new());
    for n in 0..calls {
        tokio::time::sleep(pause).await;
        let started = Instant::now();
        worker.push(answered(&mut control, component, n).await?);
        client.push(started.elapsed());
    }
    let none = || Failure::Unexpected("no call was made".to_owned());
    Ok(Times {
        client: Sample::of(client).ok_or_else(none)?,
        worker: Sample::of(worker).ok_or_else(none)?,
    })
}

/// One call, which must answer with its arguments; how long it took at the worker.
async fn answered(
    control: &mut ControlClient<Channel>,
    component: &str,
    n: usize,
) -> Result<Duration, Failure> {
    let request = v1::CallRequest {
        component_id: component.to_owned(),
        args_json: format!(r#"{{"n": {n}}}"#),
        timeout_ms: 0,
    };
    let reply = control.call(request).await?.into_inner();
    let result: Value = serde_json::from_str(&reply.result_json)?;
    if result.pointer("/data/n") != Some(&n.into()) {
        let said = format!("a call answered {}", reply.result_json);
        return Err(Failure::Unexpected(said));
    }
    Ok(Duration::from_micros(reply.duration_us))
}

struct Sustained {
    answered: usize,
    /// A second.
    rate: f64,
}

/// As many calls as are answered while a few callers never rest.
async fn sustained(stage: &Stage, span: Duration) -> Result<Sustained, Failure> {
    let mut callers = JoinSet::new();
    let started = Instant::now();
    for caller in 0..IN_FLIGHT {
        let mut control = stage.control().await?;
        callers.spawn(async move {
            let mut calls = 0;
            let component = stage::component(0);
            while started.elapsed() < span {
                answered(&mut control, &component, caller * 1_000_000 + calls).await?;
                calls += 1;
            }
            Ok::<_, Failure>(calls)
        });
    }
    let mut answered = 0;
    while let Some(ended) = callers.join_next().await {
        let broken = |error| Failure::Unexpected(format!("a caller failed: {error}"));
        answered += ended.map_err(broken)??;
    }
    let rate = answered as f64 / started.elapsed().as_secs_f64();
    Ok(Sustained { answered, rate })
}

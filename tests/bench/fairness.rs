//! What a quiet pack feels of one that asks without end, beside what it feels alone.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};

use rumi_proto::v1;
use serde_json::{Value, json};

use crate::{
    bare::SMALL,
    client::Way,
    failure::Failure,
    figure::Figure,
    home::HANDLER,
    reads::{Ground, fill},
    sample::{Sample, median},
    stage::{self, SECOND, Stage},
    web,
};

/// Requests of the quiet pack that are not counted.
const WARM_UP: usize = 50;
/// Until all connections of the flood are busy.
const SWELL: Duration = Duration::from_millis(500);
/// Commands run as the owner of their directory, who may not be root.
const OWNER: u32 = 12_345;

/// One flood a handler, and one of refusals; two packs are up, under the shipped limits.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let (rounds, requests) = if quick { (1, 200) } else { (3, 2_000) };
    let ground = Ground::of(stage, quick).await?;
    let small = stage.data().join("small");
    fill(&small, SMALL)?;
    let floods = floods(stage)?;
    let mut figures = Vec::new();
    for (name, method, body) in &floods {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(quiet(&ground, &small, requests)?);
            let flood = begin(stage, method, body, requests).await?;
            tokio::time::sleep(SWELL).await;
            beside.push(quiet(&ground, &small, requests)?);
            flood.end().await?;
        }
        let p99 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p99 / 1e3));
        let n = rounds * requests;
        let figure = Figure::new(&format!("beside_{name}"), "us", n, p99(&beside));
        figures.push(figure.beside("p99 alone", p99(&alone)));
    }
    Ok(figures)
}

fn quiet(ground: &Ground, file: &Path, requests: usize) -> Result<Sample, Failure> {
    ground.alone(file, Way::Quiet, (SMALL, WARM_UP, requests))
}

/// Name, method and body of what is asked again and again.
fn floods(stage: &Stage) -> Result<Vec<(&'static str, &'static str, Value)>, Failure> {
    let work = stage.data().join("work");
    fs::create_dir_all(&work).map_err(Failure::file(&work))?;
    chown(&work, Some(OWNER), Some(OWNER)).map_err(Failure::file(&work))?;
    let private = stage.path().join("private");
    fill(&private, SMALL)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o644))
        .map_err(Failure::file(&private))?;
    let page = format!("https://{}{}", web::NAME, web::PATH);
    let written = json!({"path": stage.memory().join("flood"), "data": "eA=="});
    Ok(vec![
        (
            "reads",
            "FileRead",
            json!({"path": stage.data().join("small")}),
        ),
        ("refusals", "FileRead", json!({ "path": private })),
        ("writes", "FileWrite", written),
        ("env_reads", "EnvRead", json!({"key": "RUMI_BENCH"})),
        (
            "commands",
            "TerminalRun",
            json!({"argv": ["true"], "directory": work}),
        ),
        (
            "fetches",
            "NetworkFetch",
            json!({"method": "GET", "url": page}),
        ),
        (
            "custom_calls",
            "CustomCall",
            json!({"permission": HANDLER, "argsJson": "{}"}),
        ),
    ])
}

/// A flood that has begun.
struct Flood(tokio::task::JoinHandle<Result<String, tonic::Status>>);

async fn begin(
    stage: &Stage,
    method: &str,
    body: &Value,
    requests: usize,
) -> Result<Flood, Failure> {
    let mut control = stage.control().await?;
    // As long as the quiet one needs even where it is held up; the rest is waited for.
    let seconds = 1 + requests / 250;
    let arguments = json!({
        "flood": format!("/rumi.v1.Capabilities/{method}"),
        "body": body.to_string(),
        "seconds": seconds,
    });
    let request = v1::CallRequest {
        component_id: stage::component(SECOND),
        args_json: arguments.to_string(),
        timeout_ms: 0,
    };
    Ok(Flood(tokio::spawn(async move {
        let reply = control.call(request).await?;
        Ok(reply.into_inner().result_json)
    })))
}

impl Flood {
    /// It must have been one: a request that is never answered floods nobody.
    async fn end(self) -> Result<(), Failure> {
        let answered = self.0.await;
        let answered = answered.map_err(|error| Failure::Unexpected(error.to_string()))??;
        let answer: Value = serde_json::from_str(&answered)?;
        match answer.pointer("/data/sent").and_then(Value::as_u64) {
            Some(sent) if sent > 0 => Ok(()),
            _ => Err(Failure::Unexpected(format!("a flood answered {answer}"))),
        }
    }
}

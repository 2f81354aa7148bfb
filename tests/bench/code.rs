//! Ad-hoc code from the containers that wait, beside `docker run` and the package llm-sandbox.

use std::time::{Duration, Instant};

use rumi_proto::v1::{self, exec_request::What};

use crate::{
    engine,
    failure::Failure,
    figure::Figure,
    llm_sandbox,
    sample::{Sample, real},
    stage::Stage,
};

/// Long enough for a container to be made after each run.
const PAUSE: Duration = Duration::from_millis(1500);

/// Runs with a container waiting, and runs one after the other, which is how fast containers are made.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let (runs, in_a_row, plain) = if quick { (2, 3, 2) } else { (30, 40, 10) };
    for _ in 0..3 {
        run(stage).await?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        tokio::time::sleep(PAUSE).await;
        times.push(run(stage).await?);
    }
    let waiting =
        Sample::of(times).ok_or_else(|| Failure::Unexpected("no code was run".to_owned()))?;
    let started = Instant::now();
    for _ in 0..in_a_row {
        run(stage).await?;
    }
    let rate = real(in_a_row) / started.elapsed().as_secs_f64();
    let (_, docker_run) = engine::peers(plain)?;
    let ready = |name| Figure::new(name, "ms", waiting.n, waiting.p50 / 1e6).p99(waiting.p99 / 1e6);
    let mut figures = vec![
        ready("exec_ready").beside("docker run", docker_run.p50 / 1e6),
        Figure::new("exec_refill", "1/s", in_a_row, rate),
    ];
    // It is installed from the registry of Python packages, which takes longer than a short run may.
    if !quick {
        match llm_sandbox::warm(stage.path(), runs) {
            Ok(peer) => figures
                .push(ready("exec_beside_llm_sandbox").beside("llm-sandbox, warm", peer.p50 / 1e6)),
            Err(error) => eprintln!("rumi-bench: llm-sandbox: {}", error.in_full()),
        }
    }
    Ok(figures)
}

async fn run(stage: &Stage) -> Result<Duration, Failure> {
    let mut control = stage.control().await?;
    let request = v1::ExecRequest {
        what: Some(What::Spec(v1::ExecSpec {
            code: "print(6 * 7)".to_owned(),
            language: "python".to_owned(),
            ..v1::ExecSpec::default()
        })),
    };
    let started = Instant::now();
    let reply = control.exec(request).await?.into_inner();
    let took = started.elapsed();
    if &reply.stdout[..] == b"42\n" {
        return Ok(took);
    }
    Err(Failure::Unexpected(format!("code answered {reply:?}")))
}

//! Starting packs, and the memory they and the broker need.

use std::time::Duration;

use crate::{
    bare::Bare,
    engine,
    failure::Failure,
    figure::Figure,
    home::Settings,
    processes,
    sample::median,
    stage::{self, Stage, Step},
};

/// Starts at once that are compared; the shipped configuration names one of them.
const CONCURRENCIES: [u64; 3] = [1, 2, 4];
/// After this long what starting needed for a moment has been given back.
const SETTLED: Duration = Duration::from_secs(2);

/// Memory of a broker that has nothing to do yet; it has just been started.
pub async fn idle(stage: &Stage) -> Result<Figure, Failure> {
    let bare = Bare::start(stage.path().join("idle.sock"))?;
    tokio::time::sleep(SETTLED).await;
    let resident = processes::resident(stage.broker_pid()?)?;
    let peer = processes::resident(bare.pid())?;
    Ok(Figure::new("broker_memory_idle", "MB", 1, resident).beside("bare tonic", peer))
}

/// All packs up at each concurrency; the broker and no pack run afterwards.
pub async fn figures(stage: &mut Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let rounds = if quick { 1 } else { 3 };
    stage.each(Step::Build, &stage.packs()).await?;
    let mut figures = Vec::new();
    let mut memory = Vec::new();
    for at_once in CONCURRENCIES {
        stage.stop()?;
        let settings = Settings {
            at_once,
            ..stage.shipped()
        };
        stage.start(settings).await?;
        let mut times = Vec::new();
        let mut bare = Vec::new();
        for _ in 0..rounds {
            let packs = stage.packs();
            let threads = usize::try_from(at_once).unwrap_or(1);
            bare.push(engine::bare_starts(packs.len(), threads)?.as_secs_f64());
            times.push(stage.each(Step::Up, &packs).await?.as_secs_f64());
            if at_once == stage.shipped_concurrency() {
                tokio::time::sleep(SETTLED).await;
                memory.push(processes::proportional(&engine::shims(
                    stage.containers(),
                )?)?);
            }
            stage.each(Step::Down, &packs).await?;
        }
        let mut names = vec![format!("packs_up_{at_once}_at_once")];
        if at_once == stage.shipped_concurrency() {
            names.push("packs_up".to_owned());
        }
        for name in names {
            let up = Figure::new(&name, "s", rounds, median(times.clone()));
            figures.push(up.beside("bare containers", median(bare.clone())));
        }
    }
    figures.push(Figure::new(
        "packs_memory",
        "MB",
        memory.len(),
        median(memory),
    ));
    Ok(figures)
}

/// How many packs a run starts.
pub fn count(quick: bool) -> usize {
    if quick { 2 } else { stage::PACKS }
}

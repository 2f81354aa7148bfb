//! A million requests, and a million that make no sense, and what they leave in the broker's memory.

use std::path::Path;

use crate::{
    bare::SMALL,
    client::Way,
    failure::Failure,
    figure::Figure,
    processes,
    reads::{Ground, fill},
    stage::Stage,
};

/// Parts of the whole. What the first of them needs stays, and is not counted.
const PARTS: usize = 11;

/// Growth by either kind; the first pack of the stage is up.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let part = if quick { 1_024 } else { 102_400 };
    let file = stage.data().join("soaked");
    fill(&file, SMALL)?;
    let ground = Ground::of(stage, quick).await?;
    let broker = stage.broker_pid()?;
    Ok(vec![
        grown("soak_growth", &ground, broker, (&file, Way::Soak, part))?,
        grown(
            "nonsense_growth",
            &ground,
            broker,
            (&file, Way::Nonsense, part),
        )?,
    ])
}

fn grown(
    name: &str,
    ground: &Ground,
    broker: u32,
    (file, way, part): (&Path, Way, usize),
) -> Result<Figure, Failure> {
    let mut curve = Vec::with_capacity(PARTS);
    for _ in 0..PARTS {
        ground.alone(file, way, (SMALL, 0, part))?;
        curve.push(processes::resident(broker)?);
    }
    let points: Vec<String> = curve.iter().map(|point| format!("{point:.1}")).collect();
    eprintln!("rumi-bench: {name}, megabytes: {}", points.join(" "));
    let first = curve.first().copied().unwrap_or(f64::NAN);
    let most = curve.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(Figure::new(name, "MB", part * (PARTS - 1), most - first))
}

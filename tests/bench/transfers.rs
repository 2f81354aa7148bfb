//! Large files both ways, and large directories.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::{
    client::Way,
    failure::Failure,
    figure::Figure,
    processes,
    reads::{Ground, fill, rates},
    stage::Stage,
};

/// Entries of a page.
const PAGE: usize = 1_000;

/// Downloads and uploads beside a bare stream, and what listing takes; the first pack is up.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let ground = Ground::of(stage, quick).await?;
    let bytes = if quick { 32 } else { 1024 } * 1024 * 1024;
    let large = stage.memory().join("large");
    fill(&large, bytes)?;
    let mut figures = Vec::new();
    for (name, way) in [
        ("download_get", Way::Download),
        ("download_grpc", Way::Stream),
        ("upload_put", Way::Upload),
        ("upload_grpc", Way::UploadStream),
    ] {
        let rounds = ground.rounds(&large, bytes, way, false)?;
        figures.push(rates(name, "GB/s", 1e9, &rounds));
    }
    for left in [&large, &large.with_extension("bare")] {
        fs::remove_file(left).map_err(Failure::file(left))?;
    }
    figures.extend(listed(stage, &ground, quick)?);
    Ok(figures)
}

/// How fast a large directory is paged through, and how much more memory that takes at most.
fn listed(stage: &Stage, ground: &Ground, quick: bool) -> Result<Vec<Figure>, Failure> {
    let entries = if quick { 10_000 } else { 1_000_000 };
    let directory = stage.memory().join("many");
    fs::create_dir(&directory).map_err(Failure::file(&directory))?;
    for number in 0..entries {
        let path = directory.join(format!("entry-{number:07}"));
        File::create(&path).map_err(Failure::file(&path))?;
    }
    // What was needed before, the small page that warms up included, is no matter.
    list(ground, &stage.memory(), fs_entries(&stage.memory())?)?;
    let broker = stage.broker_pid()?;
    let before = processes::resident(broker)?;
    processes::forget_peak(broker)?;
    let sample = list(ground, &directory, entries)?;
    let peak = processes::peak(broker)? - before;
    fs::remove_dir_all(&directory).map_err(Failure::file(&directory))?;
    Ok(vec![
        Figure::new("listing_peak", "MB", entries, peak.max(0.0)),
        Figure::new("listing_entries", "k/s", entries, sample / 1e3),
    ])
}

fn list(ground: &Ground, directory: &Path, entries: usize) -> Result<f64, Failure> {
    let sample = ground.alone(directory, Way::List, (entries, 1, PAGE))?;
    Ok(sample.per_second)
}

fn fs_entries(directory: &Path) -> Result<usize, Failure> {
    let listed = fs::read_dir(directory).map_err(Failure::file(directory))?;
    Ok(listed.count())
}

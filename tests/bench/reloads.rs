//! Decisions while the policy changes without pause, beside decisions while it rests, in turns.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    bare::SMALL,
    client::Way,
    failure::Failure,
    figure::Figure,
    reads::{Ground, fill},
    sample::median,
    stage::Stage,
};

/// Requests under way at once, so that it is the broker that decides how many there are a second.
const IN_FLIGHT: usize = 64;
/// Time between two changes. Each is another policy.
const PAUSE: Duration = Duration::from_millis(2);

/// Reads a second in a storm of reloads, beside those without; the first pack of the stage is up.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let file = stage.data().join("stormy");
    fill(&file, SMALL)?;
    let ground = Ground::of(stage, quick).await?;
    let (mut calm, mut stormy) = (Vec::new(), Vec::new());
    for turn in 0..if quick { 1 } else { 4 } {
        // Taking turns at going first keeps a drift of the machine from favouring a side.
        for in_storm in [turn % 2 == 0, turn % 2 != 0] {
            let storm = in_storm.then(|| Storm::start(stage.path()));
            let rounds = ground.rounds(&file, SMALL, Way::InFlight(IN_FLIGHT), false)?;
            let rate = median(rounds.iter().map(|round| round.broker.per_second));
            match storm {
                None => calm.push(rate),
                Some(storm) => {
                    storm.end()?;
                    stormy.push(rate);
                }
            }
        }
    }
    let ratio = median(calm.iter().zip(&stormy).map(|(calm, stormy)| stormy / calm));
    let thousands = |rates: &[f64]| median(rates.iter().map(|rate| rate / 1e3));
    let figure = Figure::new("reload_storm", "k/s", stormy.len(), thousands(&stormy));
    Ok(vec![figure.beside_in_rounds(
        "the same without reloads",
        thousands(&calm),
        ratio,
    )])
}

/// A grant of nobody's that is renamed into its place again and again.
#[derive(Debug)]
struct Storm {
    over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Storm {
    fn start(stage: &Path) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let grants = stage.join("home/grants");
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || blow(&grants, &seen));
        Self { over, thread }
    }

    fn end(self) -> Result<(), Failure> {
        self.over.store(true, Ordering::Release);
        let ended = self.thread.join();
        let ended =
            ended.map_err(|_panic| Failure::Unexpected("the storm broke off".to_owned()))?;
        ended.map_err(Failure::file("a grant"))
    }
}

fn blow(grants: &Path, over: &AtomicBool) -> std::io::Result<()> {
    let place: PathBuf = grants.join("storm:tool:changes.json");
    let half = grants.join(".storm");
    let mut number = 0_u64;
    while !over.load(Ordering::Acquire) {
        number += 1;
        let text = format!(
            r#"{{"component_id": "storm:tool:changes", "permissions": {{"env_read": {{"enabled": true, "allowed_keys": [], "max_bytes": {number}}}}}}}"#
        );
        fs::write(&half, text)?;
        fs::rename(&half, &place)?;
        std::thread::sleep(PAUSE);
    }
    fs::remove_file(place)
}

//! Reading a file through the broker beside the bare server.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    bare::{Bare, SMALL},
    client::{Job, Round, Way},
    failure::Failure,
    figure::Figure,
    ours, processes,
    sample::{Sample, median},
    stage::Stage,
};

const BARE: &str = "bare tonic";

/// What all comparisons share.
#[derive(Debug)]
pub struct Ground {
    broker_pid: u32,
    bare: Bare,
    socket: PathBuf,
    uid: u32,
    all: Vec<usize>,
    quick: bool,
}

/// Small reads; the first pack of the stage is up.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let small = stage.data().join("small");
    fill(&small, SMALL)?;
    Ground::of(stage, quick).await?.small(&small)
}

pub fn fill(path: &Path, bytes: usize) -> Result<(), Failure> {
    std::fs::write(path, vec![b'x'; bytes]).map_err(Failure::file(path))
}

impl Ground {
    /// A bare server beside the stage's broker.
    pub async fn of(stage: &Stage, quick: bool) -> Result<Self, Failure> {
        Ok(Self {
            broker_pid: stage.broker_pid()?,
            bare: Bare::start(stage.path().join("bare.sock"))?,
            socket: stage.component_socket(),
            uid: stage.component_uid(0).await?,
            all: processes::processors()?,
            quick,
        })
    }

    fn small(&self, file: &Path) -> Result<Vec<Figure>, Failure> {
        let pinned = self.rounds(file, SMALL, Way::Grpc, true)?;
        let free = self.rounds(file, SMALL, Way::Grpc, false)?;
        let busy = self.rounds(file, SMALL, Way::InFlight(64), true)?;
        let busy_free = self.rounds(file, SMALL, Way::InFlight(64), false)?;
        let json = self.rounds(file, SMALL, Way::Json, true)?;
        Ok(vec![
            times("file_read_pinned_p50", &pinned, |sample| sample.p50),
            times("file_read_pinned_mean", &pinned, |sample| sample.mean),
            times("file_read_unpinned_p50", &free, |sample| sample.p50),
            times("file_read_unpinned_mean", &free, |sample| sample.mean),
            rates("file_read_64_in_flight", "k/s", 1e3, &busy),
            rates("file_read_64_in_flight_unpinned", "k/s", 1e3, &busy_free),
            times("file_read_json_pinned_p50", &json, |sample| sample.p50),
        ])
    }

    pub fn rounds(
        &self,
        file: &Path,
        bytes: usize,
        way: Way,
        pinned: bool,
    ) -> Result<Vec<Round>, Failure> {
        // The last processor: interrupts tend to go to the first.
        let last = self.all.last().copied().into_iter().collect();
        let processors = if pinned { last } else { self.all.clone() };
        processes::pin(self.broker_pid, &processors)?;
        processes::pin(self.bare.pid(), &processors)?;
        let large = way.is_large();
        let job = Job {
            broker: self.socket.clone(),
            bare: self.bare.socket().to_owned(),
            file: file.to_owned(),
            bytes,
            way,
            processors,
            rounds: match (self.quick, large) {
                (true, _) => 3,
                (false, true) => 7,
                (false, false) => 41,
            },
            requests: if self.quick { 256 } else { 1024 },
        };
        let rounds = self.ask(&job)?;
        processes::pin(self.broker_pid, &self.all)?;
        Ok(rounds)
    }

    /// What only the broker can do: `bytes`, `rounds` and `requests` mean what the way says.
    pub fn alone(
        &self,
        file: &Path,
        way: Way,
        (bytes, rounds, requests): (usize, usize, usize),
    ) -> Result<Sample, Failure> {
        let job = Job {
            broker: self.socket.clone(),
            bare: self.bare.socket().to_owned(),
            file: file.to_owned(),
            bytes,
            way,
            processors: self.all.clone(),
            rounds,
            requests,
        };
        let rounds = self.ask(&job)?;
        let round = rounds.into_iter().next();
        let none = || Failure::Unexpected("nothing was measured".to_owned());
        Ok(round.ok_or_else(none)?.broker)
    }

    /// The client is this program once more, under the component's uid.
    fn ask(&self, job: &Job) -> Result<Vec<Round>, Failure> {
        let job = serde_json::to_string(job)?;
        let ran = Command::new(ours())
            .args(["--client", &job])
            .uid(self.uid)
            .gid(self.uid)
            .output();
        let ran = ran.map_err(|source| Failure::Program {
            program: "rumi-bench --client".to_owned(),
            source,
        })?;
        if !ran.status.success() {
            return Err(Failure::Ended {
                program: format!("rumi-bench --client {job}"),
                said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
            });
        }
        Ok(serde_json::from_slice(&ran.stdout)?)
    }
}

/// A figure of times, in microseconds; its ratio is the median of the rounds' ratios.
fn times(name: &str, rounds: &[Round], of: fn(&Sample) -> f64) -> Figure {
    let n = rounds.iter().map(|round| round.broker.n).sum();
    let ratio = median(
        rounds
            .iter()
            .map(|round| of(&round.broker) / of(&round.bare)),
    );
    let bare = median(rounds.iter().map(|round| of(&round.bare) / 1e3));
    Figure::new(
        name,
        "us",
        n,
        median(rounds.iter().map(|round| of(&round.broker) / 1e3)),
    )
    .p99(median(rounds.iter().map(|round| round.broker.p99 / 1e3)))
    .beside_in_rounds(BARE, bare, ratio)
}

/// A figure of rates, in units of `scale` a second.
pub fn rates(name: &str, unit: &str, scale: f64, rounds: &[Round]) -> Figure {
    let of = |sample: &Sample| sample.per_second / scale;
    let ratio = median(
        rounds
            .iter()
            .map(|round| of(&round.broker) / of(&round.bare)),
    );
    let bare = median(rounds.iter().map(|round| of(&round.bare)));
    Figure::new(
        name,
        unit,
        rounds.len(),
        median(rounds.iter().map(|round| of(&round.broker))),
    )
    .beside_in_rounds(BARE, bare, ratio)
}

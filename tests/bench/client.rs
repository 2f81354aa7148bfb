//! The measuring client, in a process of its own that runs as the component.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rumi_proto::v1::{self, capabilities_client::CapabilitiesClient};
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use crate::{
    failure::Failure,
    plain::Plain,
    processes,
    sample::{Sample, real},
    socket,
};

/// What is asked, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// One small read after another, by gRPC on both sides.
    Grpc,
    /// Small reads with this many in flight, by gRPC on both sides.
    InFlight(usize),
    /// One small read after another, as JSON from the broker and by gRPC from the peer.
    Json,
    /// A large file, as a plain body from the broker and by gRPC from the peer.
    Download,
    /// A large file, by gRPC on both sides.
    Stream,
}

/// One comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The component's socket.
    pub broker: PathBuf,
    /// The bare server's.
    pub bare: PathBuf,
    /// What is read.
    pub file: PathBuf,
    /// How large that is.
    pub bytes: usize,
    /// How it is asked.
    pub way: Way,
    /// Processors to stay on.
    pub processors: Vec<usize>,
    /// How often both sides are measured.
    pub rounds: usize,
    /// Requests a side and round.
    pub requests: usize,
}

/// Both sides of one round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Round {
    /// The broker's.
    pub broker: Sample,
    /// The bare server's.
    pub bare: Sample,
}

/// One side, as the way demands.
enum End {
    Grpc(CapabilitiesClient<Channel>),
    Plain(Plain),
}

/// Runs a job and returns its rounds.
pub fn run(job: &Job) -> Result<Vec<Round>, Failure> {
    processes::pin_self(&job.processors)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(Failure::file("a runtime"))?;
    runtime.block_on(async {
        let mut bare = End::Grpc(capabilities(&job.bare).await?);
        let mut broker = match job.way {
            Way::Json | Way::Download => End::Plain(Plain::connect(&job.broker)?),
            _ => End::Grpc(capabilities(&job.broker).await?),
        };
        // What is cold at first is not what is measured.
        measure(job, &mut broker).await?;
        measure(job, &mut bare).await?;
        let mut rounds = Vec::with_capacity(job.rounds);
        for round in 0..job.rounds {
            // Taking turns at going first keeps a drift of the machine from favouring a side.
            let sides = if round % 2 == 0 {
                let broker = measure(job, &mut broker).await?;
                (broker, measure(job, &mut bare).await?)
            } else {
                let bare = measure(job, &mut bare).await?;
                (measure(job, &mut broker).await?, bare)
            };
            let (broker, bare) = sides;
            rounds.push(Round { broker, bare });
        }
        Ok(rounds)
    })
}

async fn capabilities(path: &Path) -> Result<CapabilitiesClient<Channel>, Failure> {
    Ok(CapabilitiesClient::new(socket::channel(path).await?))
}

fn request(job: &Job) -> v1::FileReadRequest {
    let length = match job.way {
        // The bare server knows no file, so it is told how much to send.
        Way::Download | Way::Stream => u64::try_from(job.bytes).unwrap_or(u64::MAX),
        _ => 0,
    };
    v1::FileReadRequest {
        path: job.file.to_string_lossy().into_owned(),
        offset: 0,
        length,
    }
}

async fn measure(job: &Job, end: &mut End) -> Result<Sample, Failure> {
    match (job.way, end) {
        (Way::InFlight(width), End::Grpc(client)) => in_flight(job, client, width).await,
        (Way::Download | Way::Stream, End::Grpc(client)) => stream(job, client).await,
        (_, End::Grpc(client)) => {
            let mut times = Vec::with_capacity(job.requests);
            for _ in 0..job.requests {
                let request = request(job);
                let started = Instant::now();
                let reply = client.file_read(request).await?.into_inner();
                times.push(started.elapsed());
                whole(job, reply.data.len())?;
            }
            sample(times)
        }
        (Way::Download, End::Plain(plain)) => {
            let started = Instant::now();
            whole(job, plain.download(&job.file)?)?;
            Ok(Sample::rate(real(job.bytes), started.elapsed()))
        }
        (_, End::Plain(plain)) => {
            let mut times = Vec::with_capacity(job.requests);
            for _ in 0..job.requests {
                let started = Instant::now();
                let length = plain.read(&job.file)?;
                times.push(started.elapsed());
                if length < job.bytes {
                    return Err(short(length));
                }
            }
            sample(times)
        }
    }
}

async fn in_flight(
    job: &Job,
    client: &CapabilitiesClient<Channel>,
    width: usize,
) -> Result<Sample, Failure> {
    let each = job.requests / width;
    let started = Instant::now();
    let asking: Vec<_> = (0..width)
        .map(|_| {
            let (mut client, request) = (client.clone(), request(job));
            tokio::spawn(async move {
                for _ in 0..each {
                    client.file_read(request.clone()).await?;
                }
                Ok::<_, tonic::Status>(())
            })
        })
        .collect();
    for task in asking {
        task.await
            .map_err(|error| Failure::Unexpected(error.to_string()))??;
    }
    Ok(Sample::rate(real(each * width), started.elapsed()))
}

async fn stream(job: &Job, client: &mut CapabilitiesClient<Channel>) -> Result<Sample, Failure> {
    let started = Instant::now();
    let mut chunks = client.file_read_stream(request(job)).await?.into_inner();
    let mut length = 0;
    while let Some(chunk) = chunks.message().await? {
        length += chunk.data.len();
    }
    let elapsed = started.elapsed();
    whole(job, length)?;
    Ok(Sample::rate(real(job.bytes), elapsed))
}

fn sample(times: Vec<Duration>) -> Result<Sample, Failure> {
    Sample::of(times).ok_or_else(|| Failure::Unexpected("no request was made".to_owned()))
}

fn whole(job: &Job, length: usize) -> Result<(), Failure> {
    if length == job.bytes {
        Ok(())
    } else {
        Err(short(length))
    }
}

fn short(length: usize) -> Failure {
    Failure::Unexpected(format!("an answer has {length} bytes"))
}

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

/// Bytes of one chunk of an upload.
const CHUNK: usize = 1024 * 1024;

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
    /// A large file the other way, as a plain body to the broker and by gRPC to the peer.
    Upload,
    /// A large file the other way, by gRPC on both sides.
    UploadStream,
    /// A large directory, page by page; the broker only.
    List,
    /// One small read now and then; the broker only.
    Quiet,
    /// Requests that make no sense, one after another; the broker only.
    Nonsense,
    /// Many small reads with 64 in flight; the broker only.
    Soak,
    /// A custom handler that answers with its arguments; the broker only.
    Custom,
}

impl Way {
    /// Whether one request takes long enough to be measured by itself.
    pub fn is_large(self) -> bool {
        matches!(
            self,
            Self::Download | Self::Stream | Self::Upload | Self::UploadStream
        )
    }
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
        let alone = match job.way {
            Way::List => Some(list(job).await?),
            Way::Custom => Some(custom(job).await?),
            Way::Quiet => Some(quiet(job).await?),
            Way::Nonsense => Some(nonsense(job)?),
            Way::Soak => Some(in_flight(job, &capabilities(&job.broker).await?, 64).await?),
            _ => None,
        };
        if let Some(broker) = alone {
            let bare = broker;
            return Ok(vec![Round { broker, bare }]);
        }
        let mut bare = End::Grpc(capabilities(&job.bare).await?);
        let mut broker = match job.way {
            Way::Json | Way::Download | Way::Upload => End::Plain(Plain::connect(&job.broker)?),
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
        (Way::Upload | Way::UploadStream, End::Grpc(client)) => upload(job, client).await,
        (Way::Upload, End::Plain(plain)) => {
            let started = Instant::now();
            plain.upload(&job.file, job.bytes)?;
            Ok(Sample::rate(real(job.bytes), started.elapsed()))
        }
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

async fn upload(job: &Job, client: &mut CapabilitiesClient<Channel>) -> Result<Sample, Failure> {
    let data = bytes::Bytes::from(vec![b'x'; CHUNK]);
    let path = job.file.to_string_lossy().into_owned();
    let chunks = (0..job.bytes / CHUNK).map(move |number| v1::FileWriteChunk {
        path: if number == 0 {
            path.clone()
        } else {
            String::new()
        },
        data: data.clone(),
        ..v1::FileWriteChunk::default()
    });
    let started = Instant::now();
    let written = client.file_write_stream(tokio_stream::iter(chunks)).await?;
    let elapsed = started.elapsed();
    whole(job, usize::try_from(written.into_inner().size).unwrap_or(0))?;
    Ok(Sample::rate(real(job.bytes), elapsed))
}

/// Entries in a second; `bytes` of the job is how many there are, `requests` how many a page has.
async fn list(job: &Job) -> Result<Sample, Failure> {
    let mut client = capabilities(&job.broker).await?;
    let (mut entries, mut page_token) = (0, String::new());
    let started = Instant::now();
    loop {
        let request = v1::FileListRequest {
            path: job.file.to_string_lossy().into_owned(),
            page_size: u32::try_from(job.requests).unwrap_or(0),
            page_token,
        };
        let page = client.file_list(request).await?.into_inner();
        entries += page.entries.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    whole(job, entries)?;
    Ok(Sample::rate(real(entries), started.elapsed()))
}

fn nonsense(job: &Job) -> Result<Sample, Failure> {
    let mut plain = Plain::connect(&job.broker)?;
    let started = Instant::now();
    for number in 0..job.requests {
        plain.nonsense(number)?;
    }
    Ok(Sample::rate(real(job.requests), started.elapsed()))
}

/// Time between two reads of somebody who has little to do.
const REST: Duration = Duration::from_millis(1);

/// Small reads with a rest after each; `requests` says how many, and those that warm up come before.
async fn quiet(job: &Job) -> Result<Sample, Failure> {
    let mut client = capabilities(&job.broker).await?;
    let mut times = Vec::with_capacity(job.requests);
    for number in 0..job.requests + job.rounds {
        tokio::time::sleep(REST).await;
        let request = request(job);
        let started = Instant::now();
        let reply = client.file_read(request).await?.into_inner();
        let elapsed = started.elapsed();
        whole(job, reply.data.len())?;
        if number >= job.rounds {
            times.push(elapsed);
        }
    }
    sample(times)
}

/// Calls with a pause between them, in which a spare is made.
async fn custom(job: &Job) -> Result<Sample, Failure> {
    let mut client = capabilities(&job.broker).await?;
    let mut times = Vec::with_capacity(job.requests);
    for n in 0..job.requests {
        tokio::time::sleep(crate::calls::PAUSE).await;
        let request = v1::CustomCallRequest {
            permission: crate::home::HANDLER.to_owned(),
            args_json: format!(r#"{{"n": {n}}}"#),
        };
        let started = Instant::now();
        let answer = client.custom_call(request).await?.into_inner().result_json;
        times.push(started.elapsed());
        if !answer.contains(&n.to_string()) {
            return Err(Failure::Unexpected(format!("a handler answered {answer}")));
        }
    }
    // The first calls begin the handler's container.
    let warm = times.split_off(times.len().min(job.rounds));
    sample(warm)
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

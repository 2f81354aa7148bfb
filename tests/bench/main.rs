//! `rumi-bench`: what rumi costs, beside what does without it, in one run.

mod bare;
mod calls;
mod client;
mod code;
mod decisions;
mod engine;
mod failure;
mod fairness;
mod figure;
mod goal;
mod home;
mod llm_sandbox;
mod mounted;
mod packs;
mod plain;
mod processes;
mod proxied;
mod reads;
mod records;
mod reloads;
mod runners;
mod sample;
mod soak;
mod socket;
mod stage;
mod transfers;
mod visitor;
mod web;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, ValueEnum};

use crate::{
    client::Job,
    failure::Failure,
    figure::{Figure, Report},
    home::Settings,
    stage::{SECOND, Stage, Step},
    web::Web,
};

/// Measures rumi against bare peers, or checks what an earlier run wrote.
#[derive(Debug, Parser)]
#[command(name = "rumi-bench")]
struct Args {
    /// Directory of rumi-broker and rumi-guest.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["check", "serve", "client", "visit", "starts"])]
    bin: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench.json")]
    out: PathBuf,
    /// A short run that proves nothing but that the bench works.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Exit non-zero when this file of an earlier run misses a goal, and name it.
    #[arg(long, value_name = "FILE", conflicts_with = "bin")]
    check: Option<PathBuf>,
    /// Be the bare server on this socket.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
    /// Be the measuring client of this job.
    #[arg(long, hide = true)]
    client: Option<String>,
    /// Be the measuring client of an HTTPS server.
    #[arg(long, hide = true)]
    visit: Option<String>,
    /// Be the process that starts a runtime again and again.
    #[arg(long, hide = true)]
    starts: Option<String>,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Decisions,
    Audit,
    Image,
    Packs,
    Reads,
    Fairness,
    Soak,
    Reloads,
    Transfers,
    Mounted,
    Proxied,
    Calls,
    Code,
    Runners,
}

/// This very program, which the component's uid may not be able to reach by its path.
fn ours() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// Where the shipped scopes and settings lie.
fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rumi-bench: {}", error.in_full());
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    if let Some(socket) = &args.serve {
        bare::serve(socket)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(job) = &args.client {
        let job: Job = serde_json::from_str(job)?;
        println!("{}", serde_json::to_string(&client::run(&job)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(visit) = &args.visit {
        let sample = visitor::run(&serde_json::from_str(visit)?)?;
        println!("{}", serde_json::to_string(&sample)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(starts) = &args.starts {
        let sample = runners::run(&serde_json::from_str(starts)?)?;
        println!("{}", serde_json::to_string(&sample)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &args.check {
        return check(file);
    }
    let binaries = args.bin.clone().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(Failure::file("a runtime"))?;
    let web = Arc::new(Web::start()?);
    let report = runtime.block_on(measure(&args, &binaries, Arc::clone(&web)))?;
    print!("{}", report.table());
    report.write(&args.out)?;
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check(file: &Path) -> Result<ExitCode, Failure> {
    let misses = Report::read(file)?.misses();
    for miss in &misses {
        eprintln!("rumi-bench: {miss}");
    }
    if misses.is_empty() {
        println!("every goal is met");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

async fn measure(args: &Args, binaries: &Path, web: Arc<Web>) -> Result<Report, Failure> {
    let mut report = Report {
        processors: processes::processors()?.len(),
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        quick: args.quick,
        ..Report::default()
    };
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    if wanted(Part::Decisions) {
        let measured = decisions::figures(repository(), args.quick);
        report.take("decisions", measured);
    }
    if wanted(Part::Audit) {
        report.take("audit", records::figures(args.quick).await);
    }
    if wanted(Part::Image) {
        report.take("image", engine::base_image().map(|figure| vec![figure]));
    }
    if [
        Part::Packs,
        Part::Reads,
        Part::Fairness,
        Part::Soak,
        Part::Reloads,
        Part::Transfers,
        Part::Mounted,
        Part::Proxied,
        Part::Calls,
        Part::Code,
        Part::Runners,
    ]
    .into_iter()
    .any(wanted)
    {
        let mut stage = Stage::new(repository(), binaries, packs::count(args.quick), web)?;
        if let Err(error) = live(args, &mut stage, &mut report).await {
            report.failed.push(error.in_full());
        }
    }
    Ok(report)
}

/// All that needs a broker.
async fn live(args: &Args, stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let shipped = stage.shipped();
    stage.start(shipped).await?;
    if wanted(Part::Packs) {
        report.take(
            "broker",
            packs::idle(stage).await.map(|figure| vec![figure]),
        );
        report.take("packs", packs::figures(stage, args.quick).await);
    }
    if wanted(Part::Fairness) {
        let two = [stage::pack(0), stage::pack(SECOND)];
        stage.each(Step::Up, &two).await?;
        report.take("fairness", fairness::figures(stage, args.quick).await);
        stage.each(Step::Down, &two).await?;
    }
    stage.stop()?;
    let unlimited = Settings {
        processors: Some(processes::processors()?.len()),
        ..shipped
    };
    stage.start(unlimited).await?;
    let first = [stage::pack(0)];
    stage.each(Step::Up, &first).await?;
    if wanted(Part::Reads) {
        report.take("reads", reads::figures(stage, args.quick).await);
    }
    if wanted(Part::Soak) {
        report.take("soak", soak::figures(stage, args.quick).await);
    }
    if wanted(Part::Reloads) {
        report.take("reloads", reloads::figures(stage, args.quick).await);
    }
    if wanted(Part::Transfers) {
        report.take("transfers", transfers::figures(stage, args.quick).await);
    }
    if wanted(Part::Proxied) {
        report.take("proxied", proxied::figures(stage, args.quick).await);
    }
    if wanted(Part::Calls) {
        report.take("calls", calls::figures(stage, args.quick).await);
    }
    if wanted(Part::Code) {
        report.take("code", code::figures(stage, args.quick).await);
    }
    // The last two, because they begin other packs.
    if wanted(Part::Mounted) {
        report.take("mounted", mounted::figures(stage, args.quick).await);
    }
    if wanted(Part::Runners) {
        report.take("runners", runners::figures(stage, args.quick).await);
    }
    stage.each(Step::Down, &first).await?;
    Ok(())
}

impl Report {
    /// Takes in what a part found, or that it found nothing.
    fn take(&mut self, part: &str, measured: Result<Vec<Figure>, Failure>) {
        match measured {
            Ok(figures) => {
                for figure in &figures {
                    eprintln!("rumi-bench: {}", figure.name);
                }
                self.figures.extend(figures);
            }
            Err(error) => {
                eprintln!("rumi-bench: {part}: {}", error.in_full());
                self.failed.push(format!("{part}: {}", error.in_full()));
            }
        }
    }
}

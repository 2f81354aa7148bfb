//! How long a decision takes with 1,000 components of 5 grants each, under the shipped scopes.
//! Prints one JSON object a line: `{"name", "median_ns", "n"}`.

use std::hint::black_box;
use std::time::Instant;

use rumi_policy::{
    ComponentId, EnvRead, EnvReadAsk, FileRead, FileReadAction, FileReadAsk, Network, NetworkAsk,
    PolicySet, PolicySource, SourceFile, UnixMillis, decide,
};

const COMPONENTS: usize = 1000;
const ROUNDS: usize = 2001;
const BATCH: usize = 100;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let prefix = policy("")?;
    let globs = policy(
        r#", "patterns": ["**/*.md", "reports/*.txt"], "exclude": ["**/draft-*", "private"]"#,
    )?;
    let callers = callers()?;
    let read = |caller: usize| -> Result<FileReadAsk, Failure> {
        let path = format!("/srv/data/{caller}/reports/2024/summary.md").parse()?;
        Ok(FileReadAsk {
            action: FileReadAction::Read {
                offset: 0,
                length: 0,
            },
            path,
        })
    };
    let reads: Vec<_> = (0..COMPONENTS).map(read).collect::<Result<_, _>>()?;
    measure("decide_prefix", &callers, &reads, |caller, ask| {
        decide::<FileRead>(&prefix, caller, ask, UnixMillis(0)).is_ok()
    });
    measure("decide_glob", &callers, &reads, |caller, ask| {
        decide::<FileRead>(&globs, caller, ask, UnixMillis(0)).is_ok()
    });
    let key = EnvReadAsk::One("API_KEY".parse()?);
    measure("decide_env", &callers, &[key], |caller, ask| {
        decide::<EnvRead>(&prefix, caller, ask, UnixMillis(0)).is_ok()
    });
    let fetch = NetworkAsk::parse("GET", "https://api.example.com/v1/items?page=2")?;
    measure("decide_network", &callers, &[fetch], |caller, ask| {
        decide::<Network>(&prefix, caller, ask, UnixMillis(0)).is_ok()
    });
    let begin = Instant::now();
    black_box(policy("")?);
    println!(
        r#"{{"name": "compile_1000_components", "median_ns": {}, "n": 1}}"#,
        begin.elapsed().as_nanos()
    );
    Ok(())
}

/// Each round asks for [`BATCH`] different callers, so that no answer is hot from the one before.
/// Requests are made before the clock starts, as the broker has parsed them by then.
fn measure<A: Clone>(
    name: &str,
    callers: &[ComponentId],
    asks: &[A],
    decide: impl Fn(&ComponentId, A) -> bool,
) {
    let mut order = 1_usize;
    let mut times: Vec<u128> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut batch = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            order = order
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let index = (order >> 33) % callers.len();
            if let (Some(caller), Some(ask)) = (callers.get(index), asks.get(index % asks.len())) {
                batch.push((caller, ask.clone()));
            }
        }
        let asked = batch.len();
        let begin = Instant::now();
        let allowed: usize = batch
            .into_iter()
            .map(|(caller, ask)| usize::from(black_box(decide(caller, ask))))
            .sum();
        times.push(begin.elapsed().as_nanos() / asked.max(1) as u128);
        assert_eq!(allowed, asked, "every request of the bench is allowed");
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    println!(
        r#"{{"name": "{name}", "median_ns": {median}, "n": {}}}"#,
        ROUNDS * BATCH
    );
}

fn callers() -> Result<Vec<ComponentId>, Failure> {
    (0..COMPONENTS)
        .map(|n| Ok(format!("pack-{}:tool:tool_{n}", n / 10).parse()?))
        .collect()
}

fn policy(patterns: &str) -> Result<PolicySet, Failure> {
    let mut source = PolicySource::default();
    for (n, caller) in callers()?.iter().enumerate() {
        let text = format!(
            r#"{{"component_id": "{caller}", "permissions": {{
            "file_read": {{"enabled": true, "directories": ["/srv/data/{n}", "/srv/shared"]{patterns}}},
            "file_write": {{"enabled": true, "directories": ["/srv/out/{n}"]}},
            "env_read": {{"enabled": true, "allowed_keys": ["API_KEY", "OTHER_KEY"]}},
            "terminal": {{"enabled": true, "directories": ["/srv/work/{n}"], "allowed_commands": ["git", "ls"]}},
            "network": {{"enabled": true, "allowed_domains": ["api.example.com", "*.example.org"]}}}}}}"#
        );
        source.grants.push(SourceFile {
            name: caller.grant_file(),
            bytes: text.into_bytes(),
        });
    }
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scopes"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        source.scopes.push(SourceFile {
            name,
            bytes: std::fs::read(entry.path())?,
        });
    }
    let set = PolicySet::compile(source);
    match set.problems().first() {
        None => Ok(set),
        Some(problem) => Err(problem.to_string().into()),
    }
}

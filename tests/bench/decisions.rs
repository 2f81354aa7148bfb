//! How long a decision takes with 1,000 components of five grants each, under the shipped scopes.

use std::{fs, hint::black_box, path::Path, time::Instant};

use rumi_policy::{
    ComponentId, FileRead, FileReadAction, FileReadAsk, PolicySet, PolicySource, SourceFile,
    UnixMillis, decide,
};

use crate::{
    failure::Failure,
    figure::Figure,
    sample::{median, nanoseconds, real},
};

const COMPONENTS: usize = 1000;
const BATCH: usize = 100;
const GLOBS: &str =
    r#", "patterns": ["**/*.md", "reports/*.txt"], "exclude": ["**/draft-*", "private"]"#;

/// Both kinds of rule.
pub fn figures(repository: &Path, quick: bool) -> Result<Vec<Figure>, Failure> {
    let rounds = if quick { 101 } else { 2001 };
    let callers = callers()?;
    let asks = callers.iter().enumerate().map(|(n, _)| ask(n));
    let asks = asks.collect::<Result<Vec<_>, _>>()?;
    let mut figures = Vec::new();
    for (name, patterns) in [("decision_prefix", ""), ("decision_glob", GLOBS)] {
        let policy = policy(repository, &callers, patterns)?;
        figures.push(measure(name, &policy, &callers, &asks, rounds)?);
    }
    Ok(figures)
}

fn callers() -> Result<Vec<ComponentId>, Failure> {
    (0..COMPONENTS)
        .map(|n| Ok(format!("pack-{}:tool:tool_{n}", n / 10).parse()?))
        .collect()
}

fn ask(n: usize) -> Result<FileReadAsk, Failure> {
    Ok(FileReadAsk {
        action: FileReadAction::Read {
            offset: 0,
            length: 0,
        },
        path: format!("/srv/data/{n}/reports/2024/summary.md").parse()?,
    })
}

/// Each batch asks for other callers, so that no answer is warm from the one before.
/// Requests are made before the clock starts, as the broker has parsed them by then.
fn measure(
    name: &str,
    policy: &PolicySet,
    callers: &[ComponentId],
    asks: &[FileReadAsk],
    rounds: usize,
) -> Result<Figure, Failure> {
    let mut order = (0..COMPONENTS).map(|n| n * 7919 % COMPONENTS).cycle();
    let mut means = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let batch: Vec<_> = order
            .by_ref()
            .take(BATCH)
            .filter_map(|n| Some((callers.get(n)?, asks.get(n)?.clone())))
            .collect();
        let asked = batch.len();
        let started = Instant::now();
        let allowed = batch
            .into_iter()
            .filter_map(|(caller, ask)| {
                black_box(decide::<FileRead>(policy, caller, ask, UnixMillis(0))).ok()
            })
            .count();
        means.push(nanoseconds(&started.elapsed()) / real(asked));
        if allowed != asked {
            return Err(Failure::Unexpected(
                "a request of the bench was denied".to_owned(),
            ));
        }
    }
    means.sort_unstable_by(f64::total_cmp);
    let p99 = means.get(rounds * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok(Figure::new(name, "ns", rounds * BATCH, median(means)).p99(p99))
}

fn policy(
    repository: &Path,
    callers: &[ComponentId],
    patterns: &str,
) -> Result<PolicySet, Failure> {
    let mut source = PolicySource::default();
    for (n, caller) in callers.iter().enumerate() {
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
    let scopes = repository.join("scopes");
    for entry in fs::read_dir(&scopes).map_err(Failure::file(&scopes))? {
        let path = entry.map_err(Failure::file(&scopes))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        source.scopes.push(SourceFile {
            name: name.into_owned(),
            bytes: fs::read(&path).map_err(Failure::file(&path))?,
        });
    }
    let set = PolicySet::compile(source);
    match set.problems().first() {
        None => Ok(set),
        Some(problem) => Err(Failure::Unexpected(problem.to_string())),
    }
}

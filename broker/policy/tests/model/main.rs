//! `decide` and `confirm` against a model of the documentation that was written apart from them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in the functions it calls as well"
)]

mod compare;
mod dice;
mod faults;
mod generate;
mod naive;
mod real;
mod request;
mod world;

use std::collections::BTreeMap;

use compare::{disagreement, report};
use request::{Answer, Case};
use world::World;

const SEED: u64 = 0x7275_6d69;
/// Each part has a seed of its own, so that all processors take part and the cases stay the same.
const PARTS: u64 = 4;
const WORLDS: usize = 360;
const REQUESTS: usize = 80;

/// How often each answer was given, by half and permission.
type Counts = BTreeMap<String, usize>;

#[test]
fn the_policy_answers_as_its_documentation_says_in_a_hundred_thousand_cases() {
    let parts: Vec<(usize, Counts)> = std::thread::scope(|scope| {
        let parts = (0..PARTS).map(|part| scope.spawn(move || compare_part(SEED + part)));
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .map(|part| {
                part.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let cases: usize = parts.iter().map(|(cases, _)| cases).sum();
    let mut counts = Counts::new();
    for (answer, count) in parts.into_iter().flat_map(|(_, counts)| counts) {
        *counts.entry(answer).or_default() += count;
    }
    println!("{cases} cases");
    for (answer, count) in &counts {
        println!("{count:>7} {answer}");
    }
    assert!(cases >= 100_000, "{cases}");
    check_counts(&counts);
}

fn compare_part(seed: u64) -> (usize, Counts) {
    let mut cases = 0;
    let mut counts = Counts::new();
    // One of each kind, so that a run shows all that is wrong.
    let mut reports: BTreeMap<String, String> = BTreeMap::new();
    generate::cases(seed, WORLDS, REQUESTS, |world, set, list| {
        for case in list {
            cases += 1;
            let answers = real::answer(set, case);
            if let Some(found) = disagreement(world, case, &answers) {
                let subject = |world: &World, case: &Case| real::answer(&world.compile(), case);
                let kind = format!("{} {}", case.request.permission(), found.kind());
                reports.entry(kind).or_insert_with(|| {
                    let text = report(world, case, &subject, found);
                    format!("case {cases} of seed {seed:#x}\n{text}")
                });
            }
            let permission = match &case.request {
                request::Request::Custom { .. } => "custom",
                other => other.permission(),
            };
            let mut count = |half: &str, answer: &Answer| {
                let word = match answer {
                    Answer::Allow(_) => "allow",
                    Answer::Deny(reason) => reason,
                };
                *counts
                    .entry(format!("{half} {permission} {word}"))
                    .or_default() += 1;
                *counts.entry(format!("total {word}")).or_default() += 1;
            };
            count("ask", &answers.asked);
            if let Some(confirmed) = &answers.confirmed {
                count("confirm", confirmed);
            }
        }
        reports.len() < 8
    });
    let reports: Vec<String> = reports.into_values().collect();
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    (cases, counts)
}

/// A generator that makes no case of a kind any more would make this test pass for nothing.
fn check_counts(counts: &Counts) {
    let of = |key: &str| counts.get(key).copied().unwrap_or(0);
    for reason in [
        "no_grant",
        "disabled",
        "not_yet_valid",
        "expired",
        "outside_directory",
        "pattern_excluded",
        "not_a_file",
        "too_large",
        "scope_limit",
        "quota",
        "key_not_allowed",
        "command_not_allowed",
        "root_owned",
        "domain_not_allowed",
        "port_not_allowed",
        "method_not_allowed",
        "path_not_allowed",
        "sni_mismatch",
        "blocked_address",
        "bad_request",
        "forbidden_by_scope",
        "revoked",
        "grant_invalid",
        "scope_invalid",
        "unknown_component",
    ] {
        let count = of(&format!("total {reason}"));
        assert!(count >= 100, "only {count} of {reason}");
    }
    for permission in [
        "file_read",
        "file_write",
        "env_read",
        "terminal",
        "network",
        "custom",
    ] {
        for half in ["ask", "confirm"] {
            let allowed = of(&format!("{half} {permission} allow"));
            let prefix = format!("{half} {permission} ");
            let all: usize = counts
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(_, count)| count)
                .sum();
            let denied = all - allowed;
            assert!(allowed >= 500, "{half} of {permission}: {allowed} allowed");
            assert!(denied >= 250, "{half} of {permission}: {denied} denied");
        }
    }
}

#[test]
fn planted_faults_are_found() {
    for fault in &faults::FAULTS {
        let mut tried = 0;
        let mut caught = None;
        generate::cases(SEED, 400, REQUESTS, |world, _, list| {
            for case in list {
                tried += 1;
                let found = disagreement(world, case, &(fault.answer)(world, case));
                if let Some(found) = found {
                    caught = Some((world.clone(), case.clone(), found));
                    return false;
                }
            }
            true
        });
        let Some((world, case, found)) = caught else {
            panic!("not found in {tried} cases: {}", fault.name);
        };
        println!("found in {tried} cases: {}", fault.name);
        let says: Vec<&str> = match &found.model {
            Ok(_) => vec!["allow"],
            Err(reasons) => reasons.clone(),
        };
        let known = fault.shows_as;
        let fits = known.is_empty() || says.iter().any(|word| known.contains(word));
        assert!(
            fits,
            "{}: {}",
            fault.name,
            report(&world, &case, &fault.answer, found)
        );
    }
}

//! Every seed of the fuzz targets, through the same functions, so that neither can rot.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in the functions it calls as well"
)]

#[path = "../../tests/fuzz/src/lib.rs"]
mod entries;

use std::{collections::BTreeSet, fs, path::Path};

/// A target's name, and what it does with bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 16] = [
    ("audit_line", entries::audit_line),
    ("client_hello", entries::client_hello),
    ("findings", entries::findings),
    ("grant", entries::grant),
    ("grpc_request", entries::grpc_request),
    ("guest_head", entries::guest_head),
    ("guest_query", entries::guest_query),
    ("host", entries::host),
    ("json_request", entries::json_request),
    ("language", entries::language),
    ("manifest", entries::manifest),
    ("mask", entries::mask),
    ("path", entries::path),
    ("proxy_head", entries::proxy_head),
    ("template", entries::template),
    ("url", entries::url),
];

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz"))
}

#[test]
fn every_seed_of_every_parser_is_read_without_harm() {
    for (target, entry) in TARGETS {
        let mut seeds = 0;
        for seed in fs::read_dir(fuzz().join("seeds").join(target)).unwrap() {
            let seed = seed.unwrap().path();
            println!("{}", seed.display());
            let bytes = fs::read(&seed).unwrap();
            entry(&bytes);
            // And whatever is left of it where it is cut.
            for end in 0..bytes.len().min(2_000) {
                entry(bytes.get(..end).unwrap_or_default());
            }
            seeds += 1;
        }
        assert!(seeds >= 4, "`{target}` has {seeds} seeds");
    }
}

/// A target that `make fuzz` does not build, or that no seed reaches, would be found by nobody.
#[test]
fn every_fuzz_target_has_its_function_its_program_and_its_seeds() {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(directory)).unwrap();
        let stem = |entry: fs::DirEntry| entry.path().file_stem().map(|stem| stem.to_owned());
        entries
            .filter_map(|entry| stem(entry.unwrap())?.into_string().ok())
            .collect()
    };
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("seeds"), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// The reader of hellos knows one when it sees it: the seeds are no noise.
#[test]
fn seeds_are_what_their_names_say() {
    use rumi_broker::untrusted::client_hello;
    use rumi_policy::Hello;
    let seed = |name: &str| fs::read(fuzz().join("seeds/client_hello").join(name)).unwrap();
    let named = Some(Hello::Tls(Some("example.com".to_owned())));
    assert_eq!(client_hello(&seed("names_a_host"), 1), named);
    assert_eq!(client_hello(&seed("in_two_records"), 7), named);
    assert_eq!(
        client_hello(&seed("names_none"), 4096),
        Some(Hello::Tls(None))
    );
    assert_eq!(client_hello(&seed("no_tls"), 1), Some(Hello::Other));
    assert_eq!(client_hello(&seed("cut"), 1), None);
}

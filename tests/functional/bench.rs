//! The bench itself: a short run finds every figure, and each of them makes sense. How good they
//! are is not asked here.

use std::{collections::BTreeMap, process::Command};

use rumi_tests::{Output, binary};
use serde_json::Value;

/// Parts that need no more than one pack, and what they find.
const FIGURES: [(&str, &[&str]); 10] = [
    ("soak", &["soak_growth", "nonsense_growth"]),
    (
        "reads",
        &[
            "file_read_pinned_p50",
            "file_read_pinned_mean",
            "file_read_unpinned_p50",
            "file_read_64_in_flight",
            "file_read_json_pinned_p50",
        ],
    ),
    ("reloads", &["reload_storm"]),
    (
        "fairness",
        &[
            "beside_reads",
            "beside_refusals",
            "beside_writes",
            "beside_env_reads",
            "beside_commands",
            "beside_fetches",
            "beside_custom_calls",
        ],
    ),
    (
        "transfers",
        &[
            "download_get",
            "download_grpc",
            "upload_put",
            "upload_grpc",
            "listing_peak",
            "listing_entries",
        ],
    ),
    (
        "mounted",
        &["files_read", "files_write", "files_passthrough"],
    ),
    ("proxied", &["https_get", "https_get_and_direct"]),
    (
        "calls",
        &[
            "tool_call_at_worker",
            "tool_call_preforked",
            "tool_call_forked",
            "tool_calls_sustained",
            "custom_call",
            "docker_exec",
        ],
    ),
    ("code", &["exec_ready", "exec_refill"]),
    ("runners", &["tool_call_javascript", "tool_call_bash"]),
];

#[test]
fn a_short_run_of_the_bench_finds_every_figure() {
    let bench = binary("rumi-bench");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bench.json");
    let mut command = Command::new(&bench);
    command.arg("--quick").arg("--out").arg(&out);
    command.arg("--bin").arg(bench.parent().unwrap());
    for (part, _) in FIGURES {
        command.args(["--only", part]);
    }
    let ran = Output::of(&mut command).ok();
    let report: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(report["quick"], true);
    assert_eq!(report["failed"], serde_json::json!([]));
    let figures = report["figures"].as_array().unwrap();
    let figures: BTreeMap<&str, &Value> = figures
        .iter()
        .map(|figure| (figure["name"].as_str().unwrap(), figure))
        .collect();
    for name in FIGURES.iter().flat_map(|(_, names)| *names) {
        let figure = figures
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` was not measured"));
        let median = figure["median"].as_f64().unwrap();
        let least = if ["listing_peak", "soak_growth", "nonsense_growth"].contains(name) {
            0.0
        } else {
            f64::MIN_POSITIVE
        };
        assert!(median >= least && median < 1e9, "{figure}");
        assert!(figure["n"].as_u64().unwrap() > 0, "{figure}");
        if let Some(ratio) = figure.get("ratio") {
            let ratio = ratio.as_f64().unwrap();
            assert!(ratio > 0.0 && ratio < 1e6, "{figure}");
        }
        assert!(ran.stdout.contains(name), "the table lacks `{name}`");
    }
    // Nobody takes a short run for figures.
    let mut check = Command::new(&bench);
    let checked = Output::of(check.arg("--check").arg(&out));
    assert!(checked.stderr.contains("quick run"), "{checked:?}");
}

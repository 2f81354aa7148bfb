//! `pandas.read_csv` on a path below `/files`.

use std::path::Path;

use serde_json::json;

use crate::{surroundings::sees_nothing_else, world::world};

/// A path below `/files`, as a container has it.
fn below_files(path: &Path) -> String {
    format!("/files{}", path.display())
}

const TABLE: &str = "city,rain\nOslo,3\nLima,0\nOslo,4\n";

#[test]
fn a_granted_table_is_read_as_a_file_and_nothing_else_is_seen() {
    let world = world();
    world.pack("pandas");
    let component = "pandas:tool:granted";
    let table = world.broker.home().file("tables/rain.csv", TABLE);
    let directory = table.parent().unwrap();
    world.grant(
        component,
        &json!({"file_read": {"enabled": true, "directories": [directory]}}),
    );
    let ran = sees_nothing_else(
        world,
        component,
        "summary",
        &json!({"path": below_files(&table)}),
    );
    assert_eq!(
        ran.answered(),
        &json!({"rows": 3, "rain": {"Oslo": 7, "Lima": 0}}),
        "{ran:?}"
    );
    let records = world.records(component, "rain.csv");
    let read = records.iter().find(|record| record["phase"] == "outcome");
    assert_eq!(
        read.unwrap()["detail"]["bytes_out"],
        TABLE.len(),
        "{records:#?}"
    );
}

#[test]
fn a_table_that_was_not_granted_cannot_be_opened() {
    let world = world();
    world.pack("pandas");
    let component = "pandas:tool:refused";
    let table = world.broker.home().file("other-tables/rain.csv", TABLE);
    let granted = world.broker.home().data("tables");
    world.grant(
        component,
        &json!({"file_read": {"enabled": true, "directories": [granted]}}),
    );
    let ran = world.run(component, "summary", &json!({"path": below_files(&table)}));
    let error = ran.raised_at_once();
    assert!(
        error.contains("PermissionError") || error.contains("FileNotFoundError"),
        "{error}"
    );
    // The first directory on the way is where it ends.
    world.apply(ran.denied("outside_directory", "other-tables"));
    let ran = world.run(component, "summary", &json!({"path": below_files(&table)}));
    assert_eq!(ran.answered()["rows"], 3);
}

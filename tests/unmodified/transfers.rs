//! Large bodies through the proxy, both ways, and what becomes of them when the grant goes.

use std::{
    thread,
    time::{Duration, Instant},
};

use rumi_tests::{content_sha256, eventually};
use serde_json::json;

use crate::world::world;

const LARGE: u64 = 100 << 20;

#[test]
fn a_hundred_mebibytes_arrive_whole_both_ways() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:large";
    world.grant_hosts(component, &["www.example.test"]);
    let page = json!({"url": format!("https://www.example.test/large/{LARGE}")});
    let ran = world.run(component, "fetch.download", &page);
    let answer = ran.answered();
    assert_eq!(answer["bytes"], LARGE);
    assert_eq!(answer["sha256"], content_sha256(LARGE));
    let page = json!({"url": "https://www.example.test/upload", "bytes": LARGE});
    let ran = world.run(component, "fetch.upload", &page);
    let answer = ran.answered();
    assert_eq!(answer["server"]["bytes"], LARGE);
    assert_eq!(answer["server"]["sha256"], answer["sent"]);
    // A tunnel's outcome is written when both of its ends are gone.
    eventually("both outcomes tell the bytes", || {
        let (out, sent) = world.bytes(component, "www.example.test");
        out > LARGE && sent > LARGE
    });
}

#[test]
fn a_download_ends_within_a_second_of_its_grant() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:cut";
    for scheme in ["https", "http"] {
        world.grant_hosts(component, &["www.example.test"]);
        let path = format!("/drip?{scheme}");
        let page = json!({"url": format!("{scheme}://www.example.test{path}")});
        let call = thread::spawn(move || {
            (
                world.run(component, "fetch.download", &page),
                Instant::now(),
            )
        });
        eventually("the download runs", || {
            !world.origin.seen_at(&path).is_empty()
        });
        thread::sleep(Duration::from_millis(300));
        let revoked = Instant::now();
        world.ungrant(component);
        let (ran, ended) = call.join().unwrap();
        assert_ne!(ran.error, "", "{ran:?}");
        assert!(
            ended - revoked < Duration::from_millis(1500),
            "{:?}",
            ended - revoked
        );
        let records = world.records(component, "www.example.test");
        assert!(
            records.iter().any(|record| record["reason"] == "revoked"),
            "{records:#?}"
        );
    }
}

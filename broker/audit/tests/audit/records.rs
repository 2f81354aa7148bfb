//! What stands in the log, whoever writes it and however they go away.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use crate::support::{POLICY, Place, decision, fill};
use rumi_audit::query::{Filter, Follow, Record, scan, tail};
use rumi_audit::{
    Admin, Checkpoint, Durability, Log, Outcome, Peer, PolicyChange, RecordId, Recorded,
    Unavailable,
};
use serde_json::{Value, json};

fn all(place: &Place, filter: &Filter) -> Vec<Record> {
    scan(&place.dir(), filter)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn of(id: RecordId) -> Filter {
    Filter {
        id: Some(id.to_string()),
        ..Filter::default()
    }
}

/// Phase, decision and reason of all records with this id.
fn story(place: &Place, id: RecordId) -> Vec<String> {
    let word = |record: &Record, name: &str| record.fields[name].as_str().unwrap_or("-").to_owned();
    all(place, &of(id))
        .iter()
        .map(|r| {
            format!(
                "{} {} {}",
                word(r, "phase"),
                word(r, "decision"),
                word(r, "reason")
            )
        })
        .collect()
}

#[tokio::test]
async fn every_way_of_a_request_is_told() {
    let place = Place::new();
    let log = place.open();
    let allowed = log.record(decision(b"/a"), 7).await.unwrap();
    assert_eq!(*allowed.get(), 7);
    let finished = allowed.finish(Outcome::success(1, 2)).await.unwrap();
    let failed = log.record(decision(b"/a"), ()).await.unwrap();
    let failed = failed.finish(Outcome::failure("not_found")).await.unwrap();
    let vague = log.record(decision(b"/a"), ()).await.unwrap();
    let vague = vague.finish(Outcome::default()).await.unwrap();
    let dropped = log.record(decision(b"/a"), ()).await.unwrap();
    let abandoned = dropped.id();
    drop(dropped);
    let denied = log
        .record_denial(decision(b"/a"), "no_grant")
        .await
        .unwrap();
    let looked = log.record(decision(b"/a"), 1).await.unwrap();
    let advanced: Recorded<&str> = looked
        .advance(|n| if n == 1 { Ok("two") } else { Err(()) })
        .unwrap();
    assert_eq!(*advanced.get(), "two");
    let advanced = advanced.finish(Outcome::success(0, 0)).await.unwrap();
    let looked = log.record(decision(b"/a"), ()).await.unwrap();
    let (refusal, why) = looked.advance(|()| Err::<(), _>("too_large")).unwrap_err();
    let taken_back = refusal.record(why, "It is too large.").await.unwrap();
    let looked = log.record(decision(b"/a"), ()).await.unwrap();
    let (unrecorded, ()) = looked.advance(|()| Err::<(), _>(())).unwrap_err();
    let forgotten = unrecorded.id();
    drop(unrecorded);
    let panicked = {
        let recorded = log.record(decision(b"/a"), ()).await.unwrap();
        let id = recorded.id();
        let died = tokio::spawn(async move {
            let _held = recorded;
            panic!("on purpose");
        });
        assert!(died.await.is_err());
        id
    };
    log.close().unwrap();
    let refused = log.record(decision(b"/a"), ()).await;
    assert!(matches!(refused, Err(Unavailable::Closed)));
    drop(log);
    let cases = [
        (finished, vec!["decision allow -", "outcome - ok"]),
        (failed, vec!["decision allow -", "outcome - not_found"]),
        (vague, vec!["decision allow -", "outcome - failed"]),
        (abandoned, vec!["decision allow -", "outcome - abandoned"]),
        (denied, vec!["decision deny no_grant"]),
        (advanced, vec!["decision allow -", "outcome - ok"]),
        (
            taken_back,
            vec!["decision allow -", "decision deny too_large"],
        ),
        (forgotten, vec!["decision allow -", "outcome - abandoned"]),
        (panicked, vec!["decision allow -", "outcome - abandoned"]),
    ];
    for (id, expected) in cases {
        assert_eq!(story(&place, id), expected);
    }
    let second = &all(&place, &of(taken_back))[1].fields;
    assert_eq!(second["detail"], json!({"sentence": "It is too large."}));
    assert_eq!(second["grant"], "default:tool:my_tool.json");
    assert_eq!(second["target"], "/a");
    place.assert_good();
}

#[tokio::test]
async fn administrators_and_policies_stand_in_the_log() {
    let place = Place::new();
    let log = place.open();
    let detail = json!({"image": "rumi-default"});
    let admin = Admin {
        actor: Peer { uid: 0, pid: 1 },
        action: "pack_up",
        target: b"default",
        pack: Some("default"),
        component: None,
        reason: Some("ok"),
        detail: Some(&detail),
    };
    let admin = log.admin(admin).await.unwrap();
    let problems: Vec<String> = (0..500)
        .map(|n| format!("grants/{n}.json: broken"))
        .collect();
    let change = PolicyChange {
        hash: POLICY,
        files: 501,
        problems: &problems,
    };
    let policy = log.policy(change).await.unwrap();
    drop(log);
    let admin = &all(&place, &of(admin))[0].fields;
    assert_eq!(
        (&admin["phase"], &admin["peer"]["uid"]),
        (&json!("admin"), &json!(0))
    );
    assert_eq!(admin["detail"], detail);
    let policy = &all(&place, &of(policy))[0].fields;
    assert_eq!(policy["policy"], POLICY);
    assert_eq!(policy["detail"]["files"], 501);
    assert_eq!(policy["detail"]["problem_count"], 500);
    place.assert_good();
}

#[tokio::test]
async fn hostile_text_stays_data_and_within_its_line() {
    let place = Place::new();
    let log = place.open();
    let nasty: String = (0..0x500_u32)
        .chain(0x2000..0x2070)
        .chain([0xfeff, 0xfffd, 0x1f600, 0x10_ffff])
        .filter_map(char::from_u32)
        .collect();
    let huge = "\u{7}".repeat(1 << 20);
    let mut nested = json!(1);
    for _ in 0..100 {
        nested = json!([nested]);
    }
    let details = [
        json!({"text": nasty, nasty.as_str(): 1}),
        json!({"text": huge}),
        json!({"nested": nested}),
        json!({"float": 0.5, "large": u64::MAX, "small": i64::MIN, "edge": 1_u64 << 53, "over": (1_u64 << 53) + 1}),
        json!({}),
        json!("no object"),
        json!([1, 2]),
    ];
    let bytes: Vec<u8> = (0..=255).collect();
    let long_bytes = bytes.repeat(1000);
    let targets: [&[u8]; 7] = [
        b"",
        nasty.as_bytes(),
        huge.as_bytes(),
        b"/tmp/two\nlines\",\"decision\":\"allow\"\x1b[2J",
        &bytes,
        &long_bytes,
        "\u{e9}".as_bytes(),
    ];
    let mut decisions = 0;
    for detail in &details {
        for target in targets {
            let mut decision = decision(target);
            decision.detail = Some(detail);
            let recorded = log.record(decision, ()).await.unwrap();
            let outcome = Outcome {
                detail: Some(detail),
                ..Outcome::success(u64::MAX, 1 << 53)
            };
            recorded.finish(outcome).await.unwrap();
            decisions += 1;
        }
    }
    // Everything as long as it gets, at once.
    let worst = huge.as_str();
    let mut longest = decision(huge.as_bytes());
    longest.pack = worst;
    longest.component = worst;
    longest.container = Some(worst);
    longest.invocation = Some(worst);
    longest.permission = worst;
    longest.action = worst;
    longest.grant = Some(worst);
    longest.policy = worst;
    longest.detail = Some(&details[1]);
    log.record_denial(longest, worst).await.unwrap();
    drop(log);
    assert_eq!(
        place.assert_good().records,
        2 * decisions + 1 + place.segments().len() as u64
    );
    for segment in place.segments() {
        let text = fs::read_to_string(segment).unwrap();
        for line in text.lines() {
            assert!(line.len() < 65_536);
            assert!(!line.chars().any(char::is_control), "{line}");
        }
    }
    let texts: Vec<Value> = all(&place, &Filter::default())
        .into_iter()
        .map(|r| r.fields)
        .collect();
    assert!(texts.iter().any(|r| r["target"] == nasty.as_str()));
    let cut = texts
        .iter()
        .find(|r| r["target"]["truncated"].is_string())
        .unwrap();
    assert_eq!(cut["target"]["bytes"], 1 << 20);
    assert!(
        texts
            .iter()
            .any(|r| r["target"]["base64"].is_string() && r["target"]["bytes"].is_null())
    );
    assert!(
        texts
            .iter()
            .any(|r| r["target"]["base64"].is_string() && r["target"]["bytes"] == 256_000)
    );
    let numbers = texts
        .iter()
        .find(|r| r["detail"]["float"].is_string())
        .unwrap();
    assert_eq!(numbers["detail"]["float"], "0.5");
    assert_eq!(numbers["detail"]["large"], "18446744073709551615");
    assert_eq!(numbers["detail"]["small"], "-9223372036854775808");
    assert_eq!(numbers["detail"]["edge"], 9_007_199_254_740_992_u64);
    assert_eq!(numbers["detail"]["over"], "9007199254740993");
}

#[tokio::test]
async fn secrets_are_told_apart_but_not_told() {
    let place = Place::new();
    let log = place.open();
    let print = log.fingerprint(b"hunter2");
    assert_eq!(print, log.fingerprint(b"hunter2"));
    assert_ne!(print, log.fingerprint(b"hunter3"));
    assert_eq!(print.len(), "hmac:".len() + 32);
    drop(log);
    assert_eq!(place.open().fingerprint(b"hunter2"), print);
    assert_ne!(Place::new().open().fingerprint(b"hunter2"), print);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_write_at_once() {
    for durability in [Durability::Process, Durability::Power] {
        let place = Place::new();
        let mut options = place.options();
        options.durability = durability;
        let log = Log::open(options).unwrap();
        let count = if durability == Durability::Power {
            20
        } else {
            400
        };
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let log = log.clone();
                tokio::spawn(async move { fill(&log, count).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let health = log.health().unwrap();
        drop(log);
        let summary = place.assert_good();
        assert_eq!(summary.records, health.records);
        assert_eq!(summary.records, 16 * count as u64 + summary.segments);
        let ids: std::collections::HashSet<String> = all(&place, &Filter::default())
            .iter()
            .map(|r| r.fields["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len() as u64, 8 * count as u64 + summary.segments);
    }
}

/// A verifier beside a running broker sees only what is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_verifies() {
    let place = Place::new();
    let log = place.open();
    let writer = tokio::spawn({
        let log = log.clone();
        async move { fill(&log, 5000).await }
    });
    while !writer.is_finished() {
        place.verify(None).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.await.unwrap();
    drop(log);
    assert_eq!(place.assert_good().unsigned(), 0);
}

#[tokio::test]
async fn a_caller_who_goes_away_while_the_disk_is_waited_for_leaves_an_outcome() {
    let place = Place::new();
    let mut options = place.options();
    options.durability = Durability::Power;
    let log = Log::open(options).unwrap();
    for _ in 0..20 {
        let mut waiting = pin!(log.record(decision(b"/gone"), ()));
        let mut context = Context::from_waker(Waker::noop());
        drop(waiting.as_mut().poll(&mut context));
    }
    drop(log);
    let records = all(&place, &Filter::default());
    let count = |phase: &str| {
        records
            .iter()
            .filter(|r| r.fields["phase"] == phase)
            .count()
    };
    assert_eq!((count("decision"), count("outcome")), (20, 20));
    place.assert_good();
}

#[tokio::test]
async fn a_checkpoint_follows_within_a_second() {
    let place = Place::new();
    let mut options = place.options();
    options.checkpoint_every = rumi_audit::LogOptions::new("", "", "x").checkpoint_every;
    let log = Log::open(options).unwrap();
    fill(&log, 1).await;
    let start = Instant::now();
    while log.health().unwrap().signed < 3 {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let checkpoint = Checkpoint::read(&place.dir().join("checkpoint")).unwrap();
    assert_eq!(checkpoint.size(), 3);
    place.assert_good();
}

#[tokio::test]
async fn options_out_of_range_are_refused() {
    let place = Place::new();
    let mut small = place.options();
    small.segment_bytes = 1000;
    let mut slow = place.options();
    slow.checkpoint_every = Duration::from_secs(2);
    let mut nameless = place.options();
    nameless.origin = "two words".to_owned();
    for (options, why) in [
        (small, "too small"),
        (slow, "every second"),
        (nameless, "cannot name"),
    ] {
        let message = Log::open(options).unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn queries_find_what_they_are_asked_for() {
    let place = Place::new();
    let log = place.open();
    fill(&log, 300).await;
    let middle = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut other = decision("/caf\u{e9}/\u{202e}\n".as_bytes());
    other.pack = "other";
    other.component = "other:tool:x";
    other.permission = "network";
    log.record_denial(other, "no_grant").await.unwrap();
    log.flush().unwrap();
    let some = |text: &str| Some(text.to_owned());
    let base = Filter::default;
    let cases = [
        ("all", base(), 603 + 1),
        (
            "pack",
            Filter {
                pack: some("other"),
                ..base()
            },
            1,
        ),
        (
            "component",
            Filter {
                component: some("default:tool:my_tool"),
                ..base()
            },
            600,
        ),
        (
            "permission",
            Filter {
                permission: some("network"),
                ..base()
            },
            1,
        ),
        (
            "decision",
            Filter {
                decision: some("deny"),
                ..base()
            },
            1,
        ),
        (
            "reason",
            Filter {
                reason: some("ok"),
                ..base()
            },
            300,
        ),
        (
            "phase",
            Filter {
                phase: some("key"),
                ..base()
            },
            3,
        ),
        (
            "since",
            Filter {
                since: Some(middle),
                ..base()
            },
            1,
        ),
        (
            "until",
            Filter {
                until: Some(middle),
                ..base()
            },
            603,
        ),
        (
            "text",
            Filter {
                text: some("/299.txt"),
                ..base()
            },
            1,
        ),
        (
            "text beyond ASCII",
            Filter {
                text: some("caf\u{e9}"),
                ..base()
            },
            1,
        ),
        (
            "text that is escaped",
            Filter {
                text: some("\u{202e}\n"),
                ..base()
            },
            1,
        ),
        (
            "two at once",
            Filter {
                pack: some("other"),
                reason: some("ok"),
                ..base()
            },
            0,
        ),
        (
            "part of a name",
            Filter {
                pack: some("othe"),
                ..base()
            },
            0,
        ),
    ];
    for (what, filter, expected) in cases {
        let found = all(&place, &filter);
        assert_eq!(found.len(), expected, "{what}");
        for count in [0, 1, 2, 10_000] {
            let last = tail(&place.dir(), &filter, count).unwrap();
            let skipped = found.len().saturating_sub(count);
            let lines =
                |records: &[Record]| records.iter().map(|r| r.line.clone()).collect::<Vec<_>>();
            assert_eq!(
                lines(&last),
                lines(&found[skipped..]),
                "{what}, last {count}"
            );
        }
    }
    let mut follow = Follow::from_end(
        &place.dir(),
        &Filter {
            phase: some("decision"),
            ..base()
        },
    )
    .unwrap();
    assert!(follow.poll().unwrap().is_empty());
    fill(&log, 300).await;
    assert_eq!(follow.poll().unwrap().len(), 300);
    assert!(follow.poll().unwrap().is_empty());
    fill(&log, 1).await;
    assert_eq!(follow.poll().unwrap().len(), 1);
    drop(log);
    place.assert_good();
}

#[test]
fn ids_are_read_back_and_nothing_else() {
    let id: RecordId = "0123456789abcdef".parse().unwrap();
    assert_eq!(id.to_string(), "0123456789abcdef");
    for wrong in [
        "",
        "0123456789abcde",
        "0123456789abcdeff",
        "0123456789ABCDEF",
        "0123456789abcdei",
    ] {
        assert!(wrong.parse::<RecordId>().is_err(), "{wrong}");
    }
}

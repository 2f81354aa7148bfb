//! Conditions of a grant: their spelling, and the times at which it holds.

use rumi_policy::{
    Capability, Custom, CustomAsk, EnvRead, EnvReadAsk, FileRead, FileReadAction, FileReadAsk,
    FileWrite, FileWriteAction, FileWriteAsk, Grant, Network, NetworkAsk, PermissionName,
    PolicySet, Resolve, ResolveAsk, Terminal, TerminalAsk, Timestamp, Tunnel, TunnelAsk,
    UnixMillis, Uses, decide,
};
use serde_json::json;

use crate::world::{ME, grant_text, me, path, policy, reason, remedy};

const FROM: u64 = 1_893_456_000_000; // 2030-01-01T00:00:00Z
const TO: u64 = FROM + 3_600_000;

fn parse(conditions: &str) -> Result<Grant, rumi_policy::Problem> {
    let permissions =
        format!(r#"{{"env_read": {{"enabled": true, "allowed_keys": ["KEY"], {conditions}}}}}"#);
    Grant::parse(&format!("{ME}.json"), grant_text(&permissions).as_bytes())
}

fn env_read() -> PermissionName {
    "env_read".parse().unwrap()
}

#[test]
fn all_conditions_are_read_and_written_again() {
    let text = r#""not_before": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T02:00:00+01:00",
        "max_uses": 3, "rate_per_minute": 60, "ask": true, "always": ["KEY", "other\n"]"#;
    let grant = parse(text).unwrap();
    let conditions = grant.conditions(&env_read()).unwrap();
    assert_eq!(conditions.not_before().unwrap().millis(), UnixMillis(FROM));
    assert_eq!(conditions.expires_at().unwrap().millis(), UnixMillis(TO));
    assert_eq!(conditions.max_uses(), Some(3));
    assert_eq!(conditions.rate_per_minute(), Some(60));
    assert!(conditions.ask() && conditions.counts_uses() && !conditions.is_none());
    assert_eq!(conditions.always(), ["KEY", "other\n"]);
    let written = serde_json::to_string(grant.permissions()).unwrap();
    let again = Grant::parse(&format!("{ME}.json"), grant_text(&written).as_bytes()).unwrap();
    assert_eq!(again.conditions(&env_read()), Some(conditions));

    let plain = parse(r#""ask": false"#).unwrap();
    let conditions = plain.conditions(&env_read()).unwrap();
    assert!(conditions.is_none() && !conditions.counts_uses());
    let written = serde_json::to_value(plain.permissions()).unwrap();
    assert_eq!(
        written,
        json!({"env_read": {"enabled": true, "allowed_keys": ["KEY"]}})
    );
    assert_eq!(plain.conditions(&"network".parse().unwrap()), None);
}

#[test]
fn what_is_no_condition_is_refused_and_named() {
    for (text, field, part) in [
        (r#""expires_at": 5"#, "expires_at", "must be a string"),
        (r#""expires_at": null"#, "expires_at", "must be a string"),
        (
            r#""expires_at": "2h""#,
            "expires_at",
            "write date, time and offset",
        ),
        (
            r#""not_before": "2030-01-01T00:00:00""#,
            "not_before",
            "the offset is missing",
        ),
        (
            r#""not_before": "1969-12-31T23:59:59Z""#,
            "not_before",
            "before 1970",
        ),
        (r#""max_uses": 0"#, "max_uses", "from 1 to"),
        (r#""max_uses": -1"#, "max_uses", "from 1 to"),
        (r#""max_uses": 1.5"#, "max_uses", "from 1 to"),
        (r#""max_uses": "3""#, "max_uses", "from 1 to"),
        (
            r#""rate_per_minute": 0"#,
            "rate_per_minute",
            "from 1 to 1000000",
        ),
        (
            r#""rate_per_minute": 1000001"#,
            "rate_per_minute",
            "from 1 to 1000000",
        ),
        (r#""ask": "true""#, "ask", "true or false"),
        (r#""always": "KEY""#, "always", "must be a list"),
        (r#""always": [""]"#, "always[0]", "1 to 16384 bytes"),
        (r#""always": ["a", "a"]"#, "always[1]", "twice"),
        (r#""max_use": 1"#, "max_use", "no such field"),
        (r#""max_uses": 1, "max_uses": 2"#, "", "stands here twice"),
        (
            r#""not_before": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T01:00:00+01:00""#,
            "expires_at",
            "never holds",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.message.contains(part), "{text}: {problem}");
        if !field.is_empty() {
            let field = format!("permissions.env_read.{field}");
            assert_eq!(problem.field.as_deref(), Some(field.as_str()), "{text}");
        }
    }
}

#[test]
fn points_in_time_are_read_strictly() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T00:00:00Z", 951_782_400_000),
        ("2024-12-31T23:59:59.25Z", 1_735_689_599_250),
        ("2024-12-31T23:59:59.123456789Z", 1_735_689_599_123),
        ("2025-01-01T01:59:59+02:00", 1_735_689_599_000),
        ("2024-12-31T19:29:59-04:30", 1_735_689_599_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ] {
        let parsed: Timestamp = text.parse().unwrap();
        assert_eq!(parsed.millis(), UnixMillis(millis), "{text}");
        assert_eq!(parsed.as_str(), text);
        let written = Timestamp::at(parsed.millis()).unwrap();
        assert_eq!(written.millis().0, millis - millis % 1000, "{written}");
    }
    for text in [
        "",
        "now",
        "2h",
        "2030-01-01",
        "2030-01-01T00:00Z",
        "2030-01-01 00:00:00Z",
        "2030-01-01t00:00:00z",
        "2030-1-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2030-13-01T00:00:00Z",
        "2030-00-01T00:00:00Z",
        "2030-01-00T00:00:00Z",
        "2030-01-01T24:00:00Z",
        "2030-01-01T00:60:00Z",
        "2030-01-01T00:00:60Z",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00:00+1:00",
        "2030-01-01T00:00:00+0100",
        "2030-01-01T00:00:00+24:00",
        "2030-01-01T00:00:00.Z",
        "2030-01-01T00:00:00.1234567890Z",
        "2030-01-01T00:00:00+01:00:00",
        "2030-01-01T00:00:00Z ",
        " 2030-01-01T00:00:00Z",
        "+030-01-01T00:00:00Z",
        "20300-01-01T00:00:00Z",
        "2030-01-01-01T00:00:00Z",
        "２０３０-01-01T00:00:00Z",
    ] {
        let error = text.parse::<Timestamp>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}`")), "{error}");
    }
    assert!(Timestamp::at(UnixMillis(u64::MAX)).is_err());
}

/// The answer at a moment, for every capability that has a permission of its own.
fn at<C: Capability>(set: &PolicySet, ask: &C::Ask, now: u64) -> &'static str {
    reason(&decide::<C>(set, &me(), ask.clone(), UnixMillis(now)))
}

fn timely<C: Capability>(set: &PolicySet, ask: C::Ask) {
    for (now, expected) in [
        (0, "not_yet_valid"),
        (FROM - 1, "not_yet_valid"),
        (FROM, "ok"),
        (TO - 1, "ok"),
        (TO, "expired"),
        (u64::MAX, "expired"),
    ] {
        assert_eq!(at::<C>(set, &ask, now), expected, "{ask:?} at {now}");
    }
}

#[test]
fn every_permission_begins_and_ends_in_time() {
    let times = r#""not_before": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T01:00:00Z""#;
    let set = policy(&format!(
        r#"{{"file_read": {{"enabled": true, "directories": ["/data"], {times}}},
        "file_write": {{"enabled": true, "directories": ["/data"], {times}}},
        "env_read": {{"enabled": true, "allowed_keys": ["KEY"], {times}}},
        "terminal": {{"enabled": true, "directories": ["/data"], "allowed_commands": ["ls"], {times}}},
        "network": {{"enabled": true, "allowed_domains": ["a.test"], {times}}},
        "clock": {{"enabled": true, "zone": "UTC", {times}}}}}"#
    ));
    timely::<EnvRead>(&set, EnvReadAsk::One("KEY".parse().unwrap()));
    timely::<FileRead>(
        &set,
        FileReadAsk {
            action: FileReadAction::Stat,
            path: path("/data/a"),
        },
    );
    timely::<FileWrite>(
        &set,
        FileWriteAsk {
            action: FileWriteAction::Delete,
            path: path("/data/a"),
            bytes: 0,
        },
    );
    let get = NetworkAsk::parse("GET", "https://a.test/").unwrap();
    timely::<Network>(&set, get);
    timely::<Resolve>(&set, ResolveAsk::parse("a.test").unwrap());
    timely::<Tunnel>(&set, TunnelAsk::parse("a.test:443").unwrap());
    let argv = vec!["ls".to_owned()];
    let command = TerminalAsk::new(argv, path("/data"), None).unwrap();
    timely::<Terminal>(&set, command);
    let call = CustomAsk {
        handler: "clock".parse().unwrap(),
        args: "{}".into(),
        bytes: 2,
        fingerprint: "f".to_owned(),
        depth: 0,
    };
    timely::<Custom>(&set, call.clone());
    // What the handler is told of its grant has no conditions in it.
    let permit = decide::<Custom>(&set, &me(), call, UnixMillis(FROM)).unwrap();
    assert_eq!(permit.terms().config(), r#"{"zone":"UTC"}"#);
    assert_eq!(permit.conditions().expires_at().unwrap().millis().0, TO);
}

#[test]
fn an_expired_grant_tells_the_pack_nothing_of_what_it_held() {
    let set = policy(
        r#"{"env_read": {"enabled": true, "allowed_keys": ["KEY"], "expires_at": "2000-01-01T00:00:00Z"}}"#,
    );
    let of = |key: &str| {
        let ask = EnvReadAsk::One(key.parse().unwrap());
        decide::<EnvRead>(&set, &me(), ask, UnixMillis(FROM)).unwrap_err()
    };
    assert_eq!(of("KEY"), of("OTHER"));
    let denial = of("KEY");
    assert_eq!(denial.sentence, "the grant of `env_read` has expired");
    assert_eq!(
        denial.detail.as_deref(),
        Some("the grant ended at 2000-01-01T00:00:00Z")
    );
    assert_eq!(denial.remedy, None);
}

#[test]
fn neither_a_scope_nor_a_pack_says_a_condition() {
    for key in rumi_policy::Conditions::KEYS {
        for (defaults, limits) in [(json!({key: 1}), json!({})), (json!({}), json!({key: 1}))] {
            let text = json!({"version": "1.0", "description": "d", "default_config": defaults, "limits": limits});
            let error = rumi_policy::CustomScope::parse(
                &"clock".parse().unwrap(),
                text.to_string().as_bytes(),
            )
            .unwrap_err();
            assert!(error.message.contains("only a grant says this"), "{error}");
        }
    }
}

fn bounded(conditions: &str) -> rumi_policy::Conditions {
    let grant = parse(conditions).unwrap();
    grant.conditions(&env_read()).unwrap().clone()
}

fn once_more(
    uses: &Uses,
    conditions: &rumi_policy::Conditions,
    now: u64,
) -> Result<Uses, rumi_policy::Denial> {
    uses.once_more(conditions, &me(), &env_read(), UnixMillis(now))
}

#[test]
fn a_grant_is_used_as_often_as_it_says_and_no_more() {
    let two = bounded(r#""max_uses": 2"#);
    let first = once_more(&Uses::default(), &two, FROM).unwrap();
    assert_eq!((first.total(), first.latest()), (1, Some(UnixMillis(FROM))));
    assert_eq!(Uses::default().latest(), None);
    let second = once_more(&first, &two, TO).unwrap();
    let denial = once_more(&second, &two, u64::MAX).unwrap_err();
    assert_eq!(denial.reason.as_str(), "exhausted");
    assert_eq!(denial.sentence, "the grant of `env_read` is used up");
    assert_eq!(denial.detail.as_deref(), Some("it was used 2 of 2 times"));
    // The command allows exactly one use more.
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool env_read --max-uses 3"
    );
    let three = bounded(r#""max_uses": 3"#);
    let third = once_more(&second, &three, TO).unwrap();
    assert!(once_more(&third, &three, TO).is_err());
    assert!(once_more(&third, &two, TO).is_err());
    let unbounded = once_more(&third, rumi_policy::Conditions::none(), TO).unwrap();
    assert_eq!(unbounded.total(), 4);
}

/// Every way of asking, from all at once to one a second, over some minutes.
#[test]
fn no_minute_has_more_uses_than_it_may() {
    for most in [1_u64, 2, 60, 1000] {
        let conditions = bounded(&format!(r#""rate_per_minute": {most}"#));
        for step in [0, 1, 7, 333, 999, 1000, 1001, 20_000, 59_999] {
            let (mut uses, mut now, mut allowed) = (Uses::default(), FROM + 987, Vec::new());
            for _ in 0..most * 3 {
                match once_more(&uses, &conditions, now) {
                    Ok(more) => {
                        uses = more;
                        allowed.push(now);
                    }
                    Err(denial) => {
                        assert_eq!(denial.reason.as_str(), "rate_limited");
                        // What the sentence says is the time after which there is room, and not before.
                        let seconds = denial.sentence.rsplit(' ').nth(1).unwrap();
                        let seconds: u64 = seconds.parse().unwrap();
                        let then = (now / 1000 + seconds) * 1000;
                        assert!(once_more(&uses, &conditions, then).is_ok());
                        assert!(once_more(&uses, &conditions, then - 1).is_err());
                    }
                }
                now += step;
            }
            assert!(!allowed.is_empty());
            for (index, begin) in allowed.iter().enumerate() {
                let end = begin + 60_000;
                let within = allowed[index..].iter().filter(|at| **at <= end).count();
                assert!(within as u64 <= most, "{within} of {most} with step {step}");
            }
        }
    }
}

#[test]
fn a_clock_that_is_put_back_gives_no_use_and_locks_nobody_out_for_ever() {
    let conditions = bounded(r#""rate_per_minute": 1"#);
    let used = once_more(&Uses::default(), &conditions, u64::MAX).unwrap();
    assert!(once_more(&used, &conditions, FROM).is_err());
    let two = bounded(r#""rate_per_minute": 2"#);
    let again = once_more(&used, &two, FROM).unwrap();
    assert!(once_more(&again, &two, FROM).is_err());
    assert!(once_more(&again, &two, FROM + 61_000).is_ok());
}

/// Two threads ask the clock, and then count in the other order, again and again.
#[test]
fn uses_that_are_counted_out_of_order_do_not_grow_old() {
    let most = 100;
    let conditions = bounded(&format!(r#""rate_per_minute": {most}"#));
    let mut uses = Uses::default();
    let allowed = (0..10_000_u64)
        .filter(|turn| {
            let now = FROM + 2_000 * (turn % 2);
            let more = once_more(&uses, &conditions, now);
            more.map(|more| uses = more).is_ok()
        })
        .count();
    assert_eq!(allowed, most);
    assert!(once_more(&uses, &conditions, FROM + 60_000).is_err());
    assert!(once_more(&uses, &conditions, FROM + 2_000 + 61_000).is_ok());
}

#[test]
fn uses_survive_being_written_down_and_strange_ones_are_refused() {
    let often = bounded(r#""rate_per_minute": 1000000"#);
    let mut uses = Uses::default();
    for step in 0..300 {
        uses = once_more(&uses, &often, FROM + step * 333).unwrap();
    }
    let text = serde_json::to_string(&uses).unwrap();
    assert!(text.len() < 512, "{} bytes", text.len());
    assert_eq!(serde_json::from_str::<Uses>(&text).unwrap(), uses);
    for text in [
        "{}",
        r#"{"total": 1, "latest": 1}"#,
        r#"{"total": -1, "latest": 1, "seconds": []}"#,
        r#"{"total": 1, "latest": 1, "seconds": [1], "more": 1}"#,
        r#"{"total": 1, "latest": 1, "seconds": [2]}"#,
    ] {
        assert!(serde_json::from_str::<Uses>(text).is_err(), "{text}");
    }
    let long = format!(r#"{{"total": 1, "latest": 1, "seconds": {:?}}}"#, [0; 62]);
    assert!(serde_json::from_str::<Uses>(&long).is_err());
}

//! Conditions of grants: what begins and ends by itself, and what may be used only so often.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::Path,
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rumi_policy::{Timestamp, UnixMillis};
use rumi_tests::{Broker, Home, Peer, Street, eventually, within, write_snippets};
use serde_json::{Value, json};

const COMPONENT: &str = "probe:tool:do";
const OTHER: &str = "probe:tool:other";
/// What is promised for what is open, and the time until the end is seen here.
const SOON: Duration = Duration::from_millis(1_500);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A point in time so many seconds from now, and how long it is until then.
fn from_now(seconds: u64) -> (String, Duration) {
    let at = Timestamp::at(UnixMillis(now_ms() + seconds * 1000)).unwrap();
    let left = at.millis().0.saturating_sub(now_ms());
    (at.as_str().to_owned(), Duration::from_millis(left))
}

fn start() -> Broker {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    broker.home().file("file", "content");
    broker
}

/// A broker that is not restarted; each test has a component or a permission of its own.
fn lasting() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(start)
}

fn reading(home: &Home, conditions: Value) -> Value {
    let mut file = json!({"enabled": true, "directories": [home.data("")]});
    let more = conditions.as_object().unwrap().clone();
    file.as_object_mut().unwrap().extend(more);
    json!({"file_read": file})
}

/// The reason of a refused read; empty where it was allowed.
fn read(broker: &Broker, peer: &Peer) -> String {
    let path = broker.home().base().join("data/file");
    let reply = peer.json("FileRead", &json!({"path": path}));
    if reply.status == 200 {
        return String::new();
    }
    reply.reason()
}

/// How often each answer came to so many reads at once.
fn reads_at_once(broker: &Broker, component: &str, number: usize) -> BTreeMap<String, usize> {
    let peer = broker.as_component(component);
    let answers: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..number)
            .map(|_| scope.spawn(|| read(broker, &peer)))
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry(answer).or_default() += 1;
    }
    counted
}

fn counted<const N: usize>(answers: [(&str, usize); N]) -> BTreeMap<String, usize> {
    let own = |(answer, number): (&str, usize)| (answer.to_owned(), number);
    answers.into_iter().map(own).collect()
}

fn uses_file(broker: &Broker, component: &str) -> std::path::PathBuf {
    let name = format!("usage/{component}.json");
    broker.home().state().join(name)
}

#[test]
fn a_grant_begins_and_ends_by_itself_and_says_why() {
    let broker = lasting();
    let (begin, until_begin) = from_now(3);
    let (end, until_end) = from_now(5);
    let started = Instant::now();
    let times = json!({"not_before": begin, "expires_at": end});
    broker.grant(COMPONENT, &reading(broker.home(), times));
    let peer = broker.as_component(COMPONENT);
    assert_eq!(read(broker, &peer), "not_yet_valid");
    let policy = broker.policy();
    let begun = within(Duration::from_secs(5), "the beginning", || {
        read(broker, &peer).is_empty()
    });
    assert!(started.elapsed() >= until_begin, "{begun:?}");
    within(Duration::from_secs(5), "the end", || {
        read(broker, &peer) == "expired"
    });
    assert!(started.elapsed() >= until_end);
    assert_eq!(broker.policy(), policy, "no file was changed for it");
    let path = broker.home().base().join("data/file");
    let refused = peer.json("FileRead", &json!({"path": path}));
    let record = &broker.records_of(&refused.record())[0];
    assert_eq!(
        (&record["reason"], &record["decision"]),
        (&json!("expired"), &json!("deny"))
    );
    let why = format!("the grant ended at {end}");
    assert_eq!(record["detail"]["why"], json!(why), "{record}");
    // The pack is told that it is over, and neither when nor what it held.
    assert!(
        !refused.json().to_string().contains(&end),
        "{}",
        refused.json()
    );
    let path = path.to_str().unwrap();
    let check = ["grant", "check", COMPONENT, "file_read", path];
    broker.packctl(&check).exits(3);
    assert!(broker.packctl(&check).stdout.contains("expired"));
}

/// Everything that one street has open, cut by the clock alone.
#[test]
fn what_is_open_on_the_network_is_cut_when_the_grant_ends() {
    let street = Street::start();
    let echo = format!("site.test:{}", street.echo.port);
    let (end, left) = from_now(4);
    let started = Instant::now();
    let mut granted = street.granted();
    granted["network"]["expires_at"] = json!(end);
    street.broker.grant("street:tool:fickle", &granted);
    let mut raw = street.tunnel("fickle", &echo);
    let mut drip = street.peer("fickle").connect().unwrap();
    drip.write_all(b"GET http://site.test/drip HTTP/1.1\r\nHost: site.test\r\n\r\n")
        .unwrap();
    let mut some = [0; 512];
    assert!(drip.read(&mut some).unwrap() > 0);
    raw.write_all(b"x").unwrap();
    raw.read_exact(&mut some[..1]).unwrap();
    for stream in [&mut raw, &mut drip] {
        stream.read_to_end(&mut Vec::new()).ok();
        let took = started.elapsed();
        assert!(took >= left && took < left + SOON, "{took:?} of {left:?}");
    }
    let (_, answer) = street.connect("fickle", &echo);
    assert!(answer.contains("rumi-reason: expired"), "{answer}");
    eventually("the outcome of the tunnel", || {
        let records = street.records("fickle", &echo);
        let ended = |record: &&Value| record["phase"] == "outcome";
        records
            .iter()
            .rfind(ended)
            .is_some_and(|record| record["reason"] == "revoked")
    });
}

#[test]
fn a_tunnel_is_one_use_and_a_name_is_none() {
    let street = Street::start();
    let echo = format!("site.test:{}", street.echo.port);
    let mut granted = street.granted();
    granted["network"]["max_uses"] = json!(2);
    street.broker.grant("street:tool:fickle", &granted);
    let peer = street.peer("fickle");
    for _ in 0..5 {
        peer.json("NetworkResolve", &json!({"host": "site.test"}))
            .ok();
    }
    let mut first = street.tunnel("fickle", &echo);
    let mut second = street.tunnel("fickle", &echo);
    let (_, answer) = street.connect("fickle", &echo);
    assert!(answer.contains("rumi-reason: exhausted"), "{answer}");
    let fetch = json!({"method": "GET", "url": "https://site.test/hello"});
    assert_eq!(peer.json("NetworkFetch", &fetch).reason(), "exhausted");
    // The last use goes on, over a change of the policy too: its lease is no further use.
    granted["network"]["allowed_domains"] = json!(["site.test"]);
    street.broker.grant("street:tool:fickle", &granted);
    for stream in [&mut first, &mut second] {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_command_and_an_open_file_end_when_their_grant_ends() {
    let home = Home::new();
    write_snippets(&home, "timed", &["reads", "looks"]);
    home.file("file", "content");
    let broker = Broker::start(home);
    broker.up(&["timed"]);
    let (end, left) = from_now(6);
    let started = Instant::now();
    let mut permissions = reading(broker.home(), json!({"expires_at": end}));
    let work = broker.home().data("work");
    permissions["terminal"] = json!({"enabled": true, "directories": [work],
        "allowed_commands": ["sleep"], "expires_at": end});
    broker.grant("timed:tool:reads", &permissions);
    let code = "import os, time\n\
        f = os.open('/files' + args['path'], os.O_RDONLY)\n\
        reads = 0\n\
        try:\n\
        \x20   while os.pread(f, 7, 0) == b'content':\n\
        \x20       reads += 1\n\
        \x20       time.sleep(0.02)\n\
        except PermissionError:\n\
        \x20   out = [reads, time.time() * 1000]\n";
    let path = broker.home().base().join("data/file");
    thread::scope(|scope| {
        let peer = broker.as_component("timed:tool:reads");
        let message = json!({"argv": ["sleep", "25"], "directory": work});
        let running =
            scope.spawn(move || (peer.json("TerminalRun", &message).ok(), Instant::now()));
        let arguments = json!({"path": path});
        let read = broker.run_python("timed:tool:reads", code, &arguments);
        let ended = read.data()[1].as_f64().unwrap();
        assert!(read.data()[0].as_u64().unwrap() > 3, "{read:?}");
        let end: Timestamp = end.parse().unwrap();
        let late = ended - end.millis().0 as f64;
        assert!((-5.0..1_000.0).contains(&late), "{late} ms");
        let (reply, ended) = running.join().unwrap();
        assert_eq!(reply["stoppedReason"], "STOPPED_REASON_REVOKED", "{reply}");
        let took = ended.duration_since(started);
        assert!(
            took >= left && took < left + Duration::from_secs(3),
            "{took:?}"
        );
    });
    looks_are_no_uses(&broker, &path);
}

/// A program that walks about uses nothing up; what it opens is counted, once each.
fn looks_are_no_uses(broker: &Broker, path: &Path) {
    const LOOKS: &str = "timed:tool:looks";
    broker.grant(LOOKS, &reading(broker.home(), json!({"max_uses": 2})));
    let code = "import os\n\
        path = '/files' + args['path']\n\
        for _ in range(50): os.stat(path)\n\
        out = []\n\
        for _ in range(3):\n\
        \x20   try: out.append(open(path).read())\n\
        \x20   except PermissionError: out.append('refused')\n\
        os.stat(path)\n";
    let opened = broker.run_python(LOOKS, code, &json!({"path": path}));
    assert_eq!(opened.data(), &json!(["content", "content", "refused"]));
    let denial = &opened.response.denials[0];
    assert_eq!(denial.reason, "exhausted");
    assert_eq!(
        denial.remedy,
        format!("packctl grant add {LOOKS} file_read --max-uses 3")
    );
    broker
        .must(&["grant", "show", LOOKS])
        .says(&["`file_read` was used 2 of 2 times, last "]);
}

#[test]
fn three_uses_are_three_however_many_ask_at_once_and_whatever_is_killed() {
    let mut broker = start();
    broker.grant(COMPONENT, &reading(broker.home(), json!({"max_uses": 3})));
    broker.grant(OTHER, &reading(broker.home(), json!({"max_uses": 1})));
    let answers = reads_at_once(&broker, COMPONENT, 50);
    assert_eq!(answers, counted([("", 3), ("exhausted", 47)]));
    let allowed = |broker: &Broker| {
        let audit = broker.audit();
        let allowed = audit.into_iter().filter(|record| {
            record["component"] == COMPONENT
                && record["phase"] == "decision"
                && record["decision"] == "allow"
        });
        let mut numbers: Vec<u64> = allowed
            .map(|record| record["detail"]["use"].as_u64().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(allowed(&broker), [1, 2, 3], "each record has its number");
    for _ in 0..2 {
        let answers = reads_at_once(&broker, COMPONENT, 20);
        assert_eq!(answers, counted([("exhausted", 20)]));
        broker.restart();
    }
    // Another component has its own count, and a grant that goes and comes back the one it had.
    assert_eq!(read(&broker, &broker.as_component(OTHER)), "");
    let permissions = reading(broker.home(), json!({"max_uses": 3}));
    broker.ungrant(COMPONENT);
    broker.restart();
    broker.grant(COMPONENT, &permissions);
    assert_eq!(read(&broker, &broker.as_component(COMPONENT)), "exhausted");
    broker.must(&["grant", "rm", COMPONENT, "file_read"]);
    broker.grant(COMPONENT, &reading(broker.home(), json!({})));
    assert_eq!(read(&broker, &broker.as_component(COMPONENT)), "");
    broker.grant(COMPONENT, &permissions);
    assert_eq!(read(&broker, &broker.as_component(COMPONENT)), "exhausted");
    // More of them are the difference, and what the refusal advises is one.
    let path = broker.home().base().join("data/file");
    let refused = broker
        .as_component(COMPONENT)
        .json("FileRead", &json!({"path": path}));
    let record = &broker.records_of(&refused.record())[0];
    let remedy = format!("packctl grant add {COMPONENT} file_read --max-uses 4");
    assert_eq!(record["detail"]["remedy"], json!(remedy), "{record}");
    assert_eq!(
        record["detail"]["why"], "it was used 3 of 3 times",
        "{record}"
    );
    broker.must(&remedy.split(' ').skip(1).collect::<Vec<_>>());
    let answers = reads_at_once(&broker, COMPONENT, 10);
    assert_eq!(answers, counted([("", 1), ("exhausted", 9)]));
    begun_anew(&mut broker);
    broker.verify().ok();
}

fn begun_anew(broker: &mut Broker) {
    let reset = broker.must(&["grant", "reset", COMPONENT, "file_read"]);
    assert!(reset.stdout.contains("it had 4 uses"), "{}", reset.text());
    let audit = broker.audit();
    let admin = audit
        .iter()
        .rfind(|record| record["phase"] == "admin")
        .unwrap();
    assert_eq!(admin["action"], "grant_reset");
    assert_eq!(admin["component"], COMPONENT);
    assert_eq!(admin["target"], "file_read");
    broker.restart();
    let answers = reads_at_once(broker, COMPONENT, 10);
    assert_eq!(answers, counted([("", 4), ("exhausted", 6)]));
    assert_eq!(read(broker, &broker.as_component(OTHER)), "exhausted");
    broker
        .packctl(&["grant", "reset", "probe:tool:never"])
        .exits(4);
    broker
        .packctl(&["grant", "reset", COMPONENT, "File"])
        .exits(2);
}

#[test]
fn uses_that_cannot_be_counted_are_refused_until_they_are_counted_anew() {
    let mut broker = start();
    let two = json!({"max_uses": 2});
    broker.grant(COMPONENT, &reading(broker.home(), two.clone()));
    broker.grant(
        OTHER,
        &reading(broker.home(), json!({"rate_per_minute": 100})),
    );
    assert_eq!(read(&broker, &broker.as_component(COMPONENT)), "");
    broker.kill9();
    let file = uses_file(&broker, COMPONENT);
    let length = fs::metadata(&file).unwrap().len();
    let cut = fs::File::options().write(true).open(&file).unwrap();
    cut.set_len(length / 2).unwrap();
    // What is no file can be written by nobody.
    fs::create_dir(uses_file(&broker, OTHER)).unwrap();
    broker.launch();
    let peer = broker.as_component(COMPONENT);
    assert_eq!(read(&broker, &peer), "exhausted");
    assert_eq!(read(&broker, &broker.as_component(OTHER)), "rate_limited");
    let path = broker.home().base().join("data/file");
    let refused = peer.json("FileRead", &json!({"path": path}));
    let record = &broker.records_of(&refused.record())[0];
    assert_eq!(record["decision"], "deny", "{record}");
    assert_eq!(
        refused.json()["message"],
        "uses of `file_read` cannot be counted, so none is allowed"
    );
    assert!(
        broker.log().contains("packctl grant reset"),
        "{}",
        broker.log()
    );
    // Other permissions of the component go on, and so do others' counts.
    broker
        .packctl(&["grant", "show", COMPONENT])
        .ok()
        .says(&["cannot be counted", "packctl grant reset"]);
    broker
        .packctl(&["grant", "reset", COMPONENT, "file_read"])
        .exits(1)
        .says(&["without a permission"]);
    let audit = broker.audit();
    let last = audit
        .iter()
        .rfind(|record| record["phase"] == "admin")
        .unwrap();
    assert_eq!(
        (&last["action"], &last["reason"]),
        (&json!("grant_reset"), &json!("failed"))
    );
    assert_eq!(read(&broker, &peer), "exhausted");
    broker.must(&["grant", "reset", COMPONENT]);
    let answers = reads_at_once(&broker, COMPONENT, 5);
    assert_eq!(answers, counted([("", 2), ("exhausted", 3)]));
    broker
        .packctl(&["grant", "reset", OTHER])
        .exits(1)
        .says(&["STATE/usage"]);
}

#[test]
fn a_rate_is_kept_over_a_kill() {
    let mut broker = start();
    let grant = reading(broker.home(), json!({"rate_per_minute": 60}));
    broker.grant(COMPONENT, &grant);
    let started = Instant::now();
    let answers = reads_at_once(&broker, COMPONENT, 100);
    assert_eq!(answers, counted([("", 60), ("rate_limited", 40)]));
    broker.restart();
    let answers = reads_at_once(&broker, COMPONENT, 20);
    assert_eq!(answers, counted([("rate_limited", 20)]));
    let peer = broker.as_component(COMPONENT);
    let path = broker.home().base().join("data/file");
    let refused = peer.json("FileRead", &json!({"path": path})).json();
    let sentence = refused["message"].as_str().unwrap();
    assert!(sentence.contains("try again in "), "{sentence}");
    let patience = Duration::from_secs(63).saturating_sub(started.elapsed());
    within(patience, "room within the rate", || {
        thread::sleep(Duration::from_millis(200));
        read(&broker, &peer).is_empty()
    });
    assert!(started.elapsed() >= Duration::from_secs(60));
}

#[test]
fn a_handlers_calls_are_counted_and_it_is_told_nothing_of_it() {
    let home = Home::new();
    home.write_execute("told", "return {'success': True, 'data': context}");
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    broker.has_handler("told");
    let (end, _) = from_now(600);
    let told = json!({"enabled": true, "max_uses": 2, "expires_at": end, "mine": 1});
    broker.grant(COMPONENT, &json!({"told": told}));
    let context = broker.answer(COMPONENT, "told", &json!({}));
    let context = context.to_string();
    assert!(context.contains("mine"), "{context}");
    for key in rumi_policy::Conditions::KEYS {
        assert!(!context.contains(key), "{context}");
    }
    broker.answer(COMPONENT, "told", &json!({}));
    let refused = broker.custom(COMPONENT, "told", &json!({}));
    assert_eq!(refused.reason(), "exhausted");
    broker.must(&["grant", "add", COMPONENT, "told", "--max-uses", "3"]);
    broker.answer(COMPONENT, "told", &json!({}));
    assert_eq!(
        broker.custom(COMPONENT, "told", &json!({})).reason(),
        "exhausted"
    );
}

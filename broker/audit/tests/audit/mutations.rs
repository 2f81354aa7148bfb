//! Whatever is done to a log, both verifiers notice, and name the same record.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::PathBuf;

use crate::support::{Place, fill};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::Ed25519KeyPair;
use rumi_audit::{Log, OpenError};

/// A log of three segments that was closed in order.
async fn sample() -> Place {
    let place = Place::new();
    let log = place.open();
    fill(&log, 350).await;
    log.close().unwrap();
    drop(log);
    assert_eq!(place.segments().len(), 3);
    let summary = place.assert_good();
    assert_eq!(summary.unsigned(), 0);
    place
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

fn leaf(line: &[u8]) -> [u8; 32] {
    sha(&[&[0], line].concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The root by the definition of RFC 6962, not by the code that is tested.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha(&[]),
        [one] => *one,
        many => {
            let split = many.len().next_power_of_two() / 2;
            let (left, right) = (root(&many[..split]), root(&many[split..]));
            sha(&[&[1][..], &left, &right].concat())
        }
    }
}

/// A log as lines, to be changed and written back.
struct Forgery {
    place: Place,
    segments: Vec<(PathBuf, Vec<Vec<u8>>)>,
}

impl Forgery {
    fn of(original: &Place) -> Self {
        let place = original.copy();
        let segments = place
            .segments()
            .into_iter()
            .map(|path| {
                let text = fs::read(&path).unwrap();
                let text = text.strip_suffix(b"\n").unwrap();
                let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
                let lines = lines.collect();
                (path, lines)
            })
            .collect();
        Self { place, segments }
    }

    fn line(&mut self, segment: usize, line: usize) -> &mut Vec<u8> {
        &mut self.segments[segment].1[line]
    }

    fn replace(&mut self, segment: usize, line: usize, from: &str, to: &str) {
        let text = String::from_utf8(self.line(segment, line).clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        *self.line(segment, line) = text.replacen(from, to, 1).into_bytes();
    }

    fn save(self) -> Place {
        for (path, lines) in &self.segments {
            let mut text = lines.join(&b'\n');
            text.push(b'\n');
            fs::write(path, text).unwrap();
        }
        self.place
    }

    /// Puts `prev` right from the first record on, as anybody can who has no key.
    fn rechain(mut self) -> Self {
        let mut prev = [0; 32];
        for (_, lines) in &mut self.segments {
            for line in lines {
                let at = line.windows(9).rposition(|w| w == b",\"prev\":\"").unwrap() + 9;
                line.splice(at..at + 64, hex(&prev).bytes());
                prev = leaf(line);
            }
        }
        self
    }

    /// Signs what there is with the log's own key, so that nothing but the mutation itself is wrong.
    fn sign(self) -> Place {
        let leaves: Vec<[u8; 32]> = self
            .segments
            .iter()
            .flat_map(|(_, l)| l)
            .map(|l| leaf(l))
            .collect();
        let place = self.save();
        sign(&place, leaves.len(), &root(&leaves));
        place
    }
}

fn sign(place: &Place, size: usize, root: &[u8; 32]) {
    let key = fs::read(place.key()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(&key).unwrap();
    let text = format!("rumi/test\n{size}\n{}\n", STANDARD.encode(root));
    let old = fs::read_to_string(place.dir().join("checkpoint")).unwrap();
    let old = old.trim_end().rsplit(' ').next().unwrap();
    let mut signature = STANDARD.decode(old).unwrap()[..4].to_vec();
    signature.extend_from_slice(key.sign(text.as_bytes()).as_ref());
    let note = format!(
        "{text}\n\u{2014} rumi/test {}\n",
        STANDARD.encode(signature)
    );
    fs::write(place.dir().join("checkpoint"), note).unwrap();
}

#[tokio::test]
async fn a_forgery_that_changes_nothing_is_accepted() {
    let original = sample().await;
    Forgery::of(&original).rechain().sign().assert_good();
}

/// Sequence number of the record at this place.
fn seq(forgery: &Forgery, segment: usize, line: usize) -> u64 {
    let before: usize = forgery.segments[..segment]
        .iter()
        .map(|(_, l)| l.len())
        .sum();
    (before + line) as u64
}

#[tokio::test]
async fn changed_records_are_named() {
    let original = sample().await;
    type Mutation = fn(&mut Forgery);
    // What is done to line 5 of the middle segment, and how many records later it is noticed.
    let cases: [(&str, Mutation, u64); 6] = [
        ("edit", |f| f.replace(1, 5, "default", "Default"), 1),
        ("delete", |f| drop(f.segments[1].1.remove(5)), 0),
        (
            "insert a copy",
            |f| {
                let line = f.line(1, 5).clone();
                f.segments[1].1.insert(5, line);
            },
            1,
        ),
        (
            "insert another",
            |f| {
                let line = f.line(0, 7).clone();
                f.segments[1].1.insert(5, line);
            },
            0,
        ),
        ("reorder", |f| f.segments[1].1.swap(5, 6), 0),
        (
            "move to another segment",
            |f| {
                let line = f.segments[0].1.remove(5);
                f.segments[1].1.insert(5, line);
            },
            u64::MAX,
        ),
    ];
    for (what, mutation, later) in cases {
        let mut forgery = Forgery::of(&original);
        let expected = match later {
            u64::MAX => seq(&forgery, 0, 5),
            later => seq(&forgery, 1, 5) + later,
        };
        mutation(&mut forgery);
        forgery.save().assert_bad(what, Some(expected), None);
        // With the chain put right, the numbers or the signed root still tell.
        let mut forgery = Forgery::of(&original);
        mutation(&mut forgery);
        forgery.rechain().save().assert_bad(what, None, None);
    }
    let mut forgery = Forgery::of(&original);
    let last = forgery.segments[2].1.last().unwrap().clone();
    let end = forgery.segments[2].1.len();
    let expected = seq(&forgery, 2, end);
    forgery.segments[2].1.push(last);
    forgery
        .save()
        .assert_bad("duplicate at the end", Some(expected), None);
}

#[tokio::test]
async fn any_second_spelling_is_refused_even_where_it_is_signed() {
    let original = sample().await;
    let cases = [
        ("a space", "\"phase\":", "\"phase\": "),
        ("a space before the end", "\"}", "\" }"),
        ("a space at the end", "\"}", "\"} "),
        ("a carriage return", "\"}", "\"}\r"),
        ("a byte order mark", "{\"v\"", "\u{feff}{\"v\""),
        (
            "an escape that is not needed",
            "documents",
            "d\\u006fcuments",
        ),
        ("a slash escaped", "/documents", "\\/documents"),
        ("a short escape", "documents", "\\n"),
        ("upper-case hex in an escape", "documents", "\\u001F"),
        ("a surrogate", "documents", "\\ud83d\\ude00"),
        ("half a surrogate", "documents", "\\ud83d"),
        ("a raw control", "documents", "\u{7f}"),
        ("a raw override", "documents", "\u{202e}"),
        ("another version", "\"v\":1", "\"v\":2"),
        ("a version that is true", "\"v\":1", "\"v\":true"),
        ("a number as a float", "\"uid\":200001", "\"uid\":200001.0"),
        ("a number with an exponent", "\"uid\":200001", "\"uid\":2e5"),
        (
            "a number as a string",
            "\"uid\":200001",
            "\"uid\":\"200001\"",
        ),
        ("a leading zero", "\"uid\":200001", "\"uid\":0200001"),
        ("a negative number", "\"uid\":200001", "\"uid\":-1"),
        (
            "a large number raw",
            "\"uid\":200001",
            "\"uid\":9007199254740993",
        ),
        (
            "a number beyond 64 bits",
            "\"uid\":200001",
            "\"uid\":\"18446744073709551616\"",
        ),
        (
            "a member twice",
            "\"pack\":\"default\"",
            "\"pack\":\"default\",\"pack\":\"default\"",
        ),
        ("an unknown member", ",\"peer\":", ",\"extra\":1,\"peer\":"),
        ("an empty value", "\"pack\":\"default\"", "\"pack\":null"),
        ("a member less", ",\"pack\":\"default\"", ""),
        (
            "members swapped",
            "\"uid\":200001,\"pid\":48211",
            "\"pid\":48211,\"uid\":200001",
        ),
        (
            "another phase",
            "\"phase\":\"decision\"",
            "\"phase\":\"note\"",
        ),
        (
            "a phase with other members",
            "\"phase\":\"decision\"",
            "\"phase\":\"outcome\"",
        ),
        (
            "a key record amid a segment",
            "\"phase\":\"decision\"",
            "\"phase\":\"key\"",
        ),
        ("another decision", "\"allow\"", "\"maybe\""),
        ("a denial without reason", "\"allow\"", "\"deny\""),
        (
            "a time in another form",
            "Z\",\"boot_id\"",
            "+\",\"boot_id\"",
        ),
        (
            "a target of another form",
            "\"target\":\"",
            "\"target\":{\"x\":1},\"action\":\"",
        ),
        (
            "bad base64",
            "\"target\":\"/home",
            "\"target\":{\"base64\":\"QQ=\"},\"decision\":\"/home",
        ),
        ("an empty line", "\"}", "\"}\n"),
    ];
    for (what, from, to) in cases {
        let mut forgery = Forgery::of(&original);
        let expected = seq(&forgery, 1, 5);
        // Only decisions have a target; take the nearest one.
        let text = String::from_utf8(forgery.line(1, 5).clone()).unwrap();
        let (line, expected) = match text.contains("\"decision\":") {
            true => (5, expected),
            false => (6, expected + 1),
        };
        forgery.replace(1, line, from, to);
        // An empty line is a record of its own, behind this one.
        let expected = expected + u64::from(to.ends_with('\n'));
        let place = match to.ends_with('\n') {
            true => forgery.save(),
            false => forgery.rechain().sign(),
        };
        place.assert_bad(what, Some(expected), None);
    }
}

#[tokio::test]
async fn details_are_checked_as_deep_as_they_go() {
    let original = sample().await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let wide: String = (0..200).map(|key| format!("\"{key}\":{key},")).collect();
    let cases = [
        ("{\"a\":{\"b\":[1,-2,true,null,\"x\",{}]}}".to_owned(), true),
        (format!("{{\"a\":{}}}", deep(31)), true),
        (format!("{{{wide}\"x\":0}}"), true),
        (format!("{{\"a\":{}}}", deep(32)), false),
        (format!("{{{wide}\"7\":0}}"), false),
        (format!("{{{wide}\"199\":0}}"), false),
        ("{\"a\":{\"b\":1,\"b\":1}}".to_owned(), false),
        ("{\"a\":-0}".to_owned(), false),
        ("{\"a\":1.5}".to_owned(), false),
        ("{\"a\":-9007199254740993}".to_owned(), false),
        ("{\"a\":01}".to_owned(), false),
        ("{\"a\":NaN}".to_owned(), false),
        ("{\"a\":1,}".to_owned(), false),
        ("{\"a\":[1,]}".to_owned(), false),
        ("[1]".to_owned(), false),
        ("\"text\"".to_owned(), false),
    ];
    for (detail, good) in cases {
        let mut forgery = Forgery::of(&original);
        let text = String::from_utf8(forgery.line(1, 5).clone()).unwrap();
        let line = if text.contains("\"detail\":") { 5 } else { 6 };
        let expected = seq(&forgery, 1, line);
        let old = "{\"bytes_in\":0,\"bytes_out\":4096}";
        forgery.replace(1, line, old, &detail);
        // The tree in the following segment's first record must follow, or that is what is found.
        forgery.segments.truncate(2);
        let place = forgery.rechain().sign();
        fs::remove_file(&place.segments()[2]).unwrap();
        match good {
            true => drop(place.assert_good()),
            false => place.assert_bad(&detail, Some(expected), None),
        }
    }
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused() {
    let original = sample().await;
    for excess in [0, 1, 300_000] {
        let mut forgery = Forgery::of(&original);
        forgery.segments.truncate(2);
        let last = forgery.segments[1].1.len() - 1;
        let length = forgery.line(1, last).len();
        let long = "x".repeat(65_535 - length + excess + "default".len());
        forgery.replace(
            1,
            last,
            "\"pack\":\"default\"",
            &format!("\"pack\":\"{long}\""),
        );
        let expected = seq(&forgery, 1, last);
        let place = forgery.rechain().sign();
        fs::remove_file(&place.segments()[2]).unwrap();
        match excess {
            0 => drop(place.assert_good()),
            _ => place.assert_bad("a long line", Some(expected), None),
        }
    }
}

#[tokio::test]
async fn a_cut_tail_is_noticed_and_not_resumed() {
    let original = sample().await;
    let whole = fs::read(&original.segments()[2]).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let record = ends[ends.len() - 4] + 1;
    for (what, length) in [
        ("at a record", record),
        ("amid a record", record + 100),
        ("the last newline", whole.len() - 1),
        ("all of the segment", 0),
    ] {
        let place = original.copy();
        fs::write(&place.segments()[2], &whole[..length]).unwrap();
        place.assert_bad(what, None, None);
        let refused = Log::open(place.options());
        assert!(
            matches!(refused, Err(OpenError::Shorter { .. })),
            "{what}: {refused:?}"
        );
    }
    let place = original.copy();
    fs::remove_file(&place.segments()[2]).unwrap();
    place.assert_bad("the last segment", None, None);
    assert!(matches!(
        Log::open(place.options()),
        Err(OpenError::Shorter { .. })
    ));

    // Cut, then filled up with other records to the same size: the chain holds, the signed root does not.
    let mut forgery = Forgery::of(&original);
    let last = forgery.segments[2].1.len() - 2;
    forgery.replace(2, last, "\"pack\":\"default\"", "\"pack\":\"defaulx\"");
    let place = forgery.rechain().save();
    place.assert_bad(
        "cut and resumed",
        Some(original.assert_good().records - 1),
        None,
    );
    assert!(matches!(
        Log::open(place.options()),
        Err(OpenError::Corrupt(_))
    ));
}

#[tokio::test]
async fn an_older_copy_is_noticed_with_a_checkpoint_from_elsewhere() {
    let original = sample().await;
    let older = original.copy();
    let log = original.open();
    fill(&log, 5).await;
    log.close().unwrap();
    drop(log);
    let kept = original.dir().join("checkpoint");
    older.assert_good();
    let size = older.verify(None).unwrap().records;
    older.assert_bad("rolled back", Some(size), Some(&kept));

    // Rolled back and continued: another history of the same length.
    let log = older.open();
    fill(&log, 8).await;
    log.close().unwrap();
    drop(log);
    older.assert_good();
    older.assert_bad("rolled back and continued", None, Some(&kept));
    original.verify(Some(&kept)).unwrap();
    assert!(original.verify_in_python(Some(&kept)).status.success());
}

#[tokio::test]
async fn two_writers_are_kept_apart_and_noticed() {
    let place = sample().await;
    let log = place.open();
    assert!(matches!(
        Log::open(place.options()),
        Err(OpenError::Locked { .. })
    ));
    drop(log);
    // Had both written all the same, on one file: two histories, one behind the other.
    let other = place.copy();
    for side in [&place, &other] {
        let log = side.open();
        fill(&log, 3).await;
        drop(log);
    }
    let base = place.segments().pop().unwrap();
    let theirs = fs::read(other.segments().pop().unwrap()).unwrap();
    let ours = fs::read(&base).unwrap();
    let common = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let start = ours[..common]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    let records = place.verify(None).unwrap().records;
    fs::write(&base, [&ours[..], &theirs[start..]].concat()).unwrap();
    place.assert_bad("two histories", Some(records), None);
}

#[tokio::test]
async fn segments_belong_where_they_are() {
    let original = sample().await;
    type Mutation = fn(&Place, &[PathBuf]);
    let cases: [(&str, Mutation); 6] = [
        ("the first is missing", |_, s| {
            fs::remove_file(&s[0]).unwrap()
        }),
        ("the middle one is missing", |_, s| {
            fs::remove_file(&s[1]).unwrap()
        }),
        ("the middle one is empty", |_, s| {
            fs::write(&s[1], b"").unwrap()
        }),
        ("two are swapped", |_, s| {
            let (one, two) = (fs::read(&s[1]).unwrap(), fs::read(&s[2]).unwrap());
            fs::write(&s[1], two).unwrap();
            fs::write(&s[2], one).unwrap();
        }),
        ("one is named for another record", |place, s| {
            fs::rename(&s[2], place.dir().join("log-00000000000000000499.jsonl")).unwrap();
        }),
        ("an extra one", |place, _| {
            fs::write(place.dir().join("log-00000000000000009999.jsonl"), b"").unwrap();
        }),
    ];
    for (what, mutation) in cases {
        let place = original.copy();
        mutation(&place, &place.segments());
        place.assert_bad(what, None, None);
    }
    for (from, to) in [
        ("\"segment\":1", "\"segment\":2"),
        (
            "\"tree\":[\"",
            "\"tree\":[\"0000000000000000000000000000000000000000000000000000000000000000\",\"",
        ),
        ("\"origin\":\"rumi/test\"", "\"origin\":\"rumi/tesu\""),
        ("\"phase\":\"key\"", "\"phase\":\"recovered\""),
    ] {
        let mut forgery = Forgery::of(&original);
        let expected = seq(&forgery, 1, 0);
        forgery.replace(1, 0, from, to);
        forgery
            .rechain()
            .sign()
            .assert_bad(to, Some(expected), None);
    }
}

#[tokio::test]
async fn checkpoints_must_be_signed_by_the_key() {
    let original = sample().await;
    let stranger = sample().await;
    let note = fs::read_to_string(original.dir().join("checkpoint")).unwrap();
    let (text, signature) = note.split_once("\n\n").unwrap();
    let theirs = fs::read_to_string(stranger.dir().join("checkpoint")).unwrap();
    let theirs = theirs.split_once("\n\n").unwrap().1.to_owned();
    let cases = [
        ("no signature", format!("{text}\n\n")),
        ("nothing but text", format!("{text}\n")),
        ("another key's signature", format!("{text}\n\n{theirs}")),
        (
            "another size",
            format!("{}\n\n{signature}", text.replacen("\n70", "\n60", 1)),
        ),
        ("another name", format!("x{text}\n\n{signature}")),
        ("a line more", format!("{text}\nmore\n\n{signature}")),
        (
            "a signature cut short",
            format!("{text}\n\n{}", signature.replace("==", "") + "\n"),
        ),
        (
            "another log's",
            fs::read_to_string(stranger.dir().join("checkpoint")).unwrap(),
        ),
        ("empty", String::new()),
    ];
    for (what, forged) in cases {
        if forged == note {
            panic!("{what} changes nothing");
        }
        let place = original.copy();
        fs::write(place.dir().join("checkpoint"), forged).unwrap();
        place.assert_bad(what, None, None);
        let refused = Log::open(place.options());
        assert!(
            matches!(refused, Err(OpenError::Checkpoint { .. })),
            "{what}: {refused:?}"
        );
    }
    let place = original.copy();
    fs::remove_file(place.dir().join("checkpoint")).unwrap();
    place.assert_bad("no checkpoint", None, None);
    assert!(matches!(
        Log::open(place.options()),
        Err(OpenError::Checkpoint { .. })
    ));

    // A further signature by somebody else does no harm.
    let place = original.copy();
    let witnessed = format!("{note}\u{2014} witness {}\n", STANDARD.encode([7; 68]));
    fs::write(place.dir().join("checkpoint"), witnessed).unwrap();
    place.assert_good();

    let place = original.copy();
    let key = fs::read_to_string(stranger.public()).unwrap();
    fs::write(place.public(), key).unwrap();
    place.assert_bad("another public key", None, None);
}

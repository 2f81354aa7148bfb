//! Counting uses, over restarts, damage and whatever cannot be written.

use std::{fs, path::PathBuf, sync::Arc, thread};

use rumi_policy::{ComponentId, Conditions, Grant, PermissionName, Reason, UnixMillis};
use tempfile::TempDir;

use super::{ResetError, Usages};

const NOW: UnixMillis = UnixMillis(1_893_456_000_000);

fn component() -> ComponentId {
    "a:tool:b".parse().unwrap()
}

fn permission(name: &str) -> PermissionName {
    name.parse().unwrap()
}

fn conditions(text: &str) -> Conditions {
    let text = format!(
        r#"{{"component_id": "a:tool:b", "permissions": {{"clock": {{"enabled": true, {text}}}}}}}"#
    );
    let grant = Grant::parse("a:tool:b.json", text.as_bytes()).unwrap();
    grant.conditions(&permission("clock")).unwrap().clone()
}

struct Yard {
    base: TempDir,
    usages: Usages,
}

impl Yard {
    fn new() -> Self {
        let base = TempDir::new().unwrap();
        let usages = Usages::open(base.path().to_owned(), false);
        Self { base, usages }
    }

    fn restart(&mut self) {
        self.usages = Usages::open(self.base.path().to_owned(), false);
    }

    fn path(&self) -> PathBuf {
        self.base.path().join("a:tool:b.json")
    }

    fn use_it(&self, name: &str, conditions: &Conditions) -> Result<u64, Reason> {
        let added = self
            .usages
            .add(&component(), &permission(name), conditions, NOW);
        added
            .map(|(number, _)| number)
            .map_err(|denial| denial.reason)
    }
}

#[test]
fn uses_are_counted_over_restarts_each_permission_by_itself() {
    let mut yard = Yard::new();
    let three = conditions(r#""max_uses": 3"#);
    assert_eq!(yard.use_it("clock", &three), Ok(1));
    yard.restart();
    assert_eq!(yard.use_it("clock", &three), Ok(2));
    assert_eq!(yard.use_it("network", &three), Ok(1));
    assert_eq!(yard.use_it("clock", &three), Ok(3));
    for _ in 0..2 {
        assert_eq!(yard.use_it("clock", &three), Err(Reason::Exhausted));
        yard.restart();
    }
    // A higher number gives the difference, and a lower one nothing.
    let five = conditions(r#""max_uses": 5"#);
    assert_eq!(yard.use_it("clock", &five), Ok(4));
    assert_eq!(yard.use_it("clock", &three), Err(Reason::Exhausted));
    assert_eq!(yard.use_it("network", &three), Ok(2));
    let size = fs::metadata(yard.path()).unwrap().len();
    assert_eq!(size, 3 * 1024, "a count takes its place and no more");
}

#[test]
fn many_at_once_get_exactly_what_there_is() {
    let yard = Arc::new(Yard::new());
    let most = conditions(r#""max_uses": 100"#);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (yard, most) = (Arc::clone(&yard), most.clone());
            thread::spawn(move || {
                (0..50)
                    .filter(|_| yard.use_it("clock", &most).is_ok())
                    .count()
            })
        })
        .collect();
    let allowed: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(allowed, 100);
}

#[test]
fn what_is_damaged_or_cut_denies_until_it_is_begun_anew() {
    let two = conditions(r#""max_uses": 2"#);
    let often = conditions(r#""rate_per_minute": 9"#);
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 8] = [
        ("cut to nothing", |_| Vec::new()),
        ("cut after the head", |bytes| bytes[..1024].to_vec()),
        ("cut between permissions", |bytes| bytes[..2048].to_vec()),
        ("cut by one byte", |bytes| bytes[..bytes.len() - 1].to_vec()),
        ("zeros", |bytes| vec![0; bytes.len()]),
        ("a flipped bit", |mut bytes| {
            bytes[1030] ^= 1;
            bytes
        }),
        ("a permission twice", |mut bytes| {
            let (_, rest) = bytes.split_at_mut(1024);
            let (first, second) = rest.split_at_mut(1024);
            second.copy_from_slice(first);
            bytes
        }),
        ("another's", |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace("a:tool:b", "a:tool:c").into_bytes()
        }),
    ];
    for (what, damage) in damages {
        let mut yard = Yard::new();
        assert_eq!(yard.use_it("clock", &two), Ok(1));
        assert_eq!(yard.use_it("network", &two), Ok(1));
        fs::write(yard.path(), damage(fs::read(yard.path()).unwrap())).unwrap();
        yard.restart();
        for name in ["clock", "network", "env_read"] {
            assert_eq!(yard.use_it(name, &two), Err(Reason::Exhausted), "{what}");
            assert_eq!(
                yard.use_it(name, &often),
                Err(Reason::RateLimited),
                "{what}"
            );
        }
        assert!(yard.usages.list()[0].uses.is_none(), "{what}");
        let one = yard.usages.reset(&component(), Some(&permission("clock")));
        assert!(matches!(one, Err(ResetError::Unreadable(_))), "{what}");
        assert_eq!(
            yard.usages.reset(&component(), None).unwrap(),
            None,
            "{what}"
        );
        assert_eq!(yard.use_it("clock", &two), Ok(1), "{what}");
        yard.restart();
        assert_eq!(yard.use_it("clock", &two), Ok(2), "{what}");
    }
}

#[test]
fn what_was_announced_by_nobody_is_not_counted() {
    let mut yard = Yard::new();
    let two = conditions(r#""max_uses": 2"#);
    assert_eq!(yard.use_it("clock", &two), Ok(1));
    // As a kill leaves it between the row of a new permission and the head.
    let mut bytes = fs::read(yard.path()).unwrap();
    bytes.extend_from_slice(&[b'x'; 700]);
    fs::write(yard.path(), bytes).unwrap();
    yard.restart();
    assert_eq!(yard.use_it("clock", &two), Ok(2));
    assert_eq!(yard.use_it("network", &two), Ok(1));
    yard.restart();
    assert_eq!(yard.use_it("network", &two), Ok(2));
    assert_eq!(yard.use_it("clock", &two), Err(Reason::Exhausted));
}

#[test]
fn what_cannot_be_written_is_refused_and_not_counted() {
    let base = TempDir::new().unwrap();
    let one = conditions(r#""max_uses": 1"#);
    let usages = Usages::open(base.path().join("missing"), false);
    let refused = usages.add(&component(), &permission("clock"), &one, NOW);
    let denial = refused.unwrap_err();
    assert_eq!(denial.reason, Reason::Exhausted);
    assert_eq!(
        denial.sentence,
        "uses of `clock` cannot be counted, so none is allowed"
    );
    let reset = usages.reset(&component(), None).unwrap_err();
    assert!(reset.to_string().contains("make room"), "{reset}");

    let yard = Yard::new();
    assert_eq!(yard.use_it("clock", &conditions(r#""max_uses": 9"#)), Ok(1));
    let account = yard.usages.account(&component());
    let only_read = Arc::new(fs::File::open(yard.path()).unwrap());
    let before = super::lock(&account)
        .as_mut()
        .map(|table| table.put(only_read));
    assert_eq!(yard.use_it("clock", &one), Err(Reason::Exhausted));
    let three = conditions(r#""max_uses": 3"#);
    assert_eq!(yard.use_it("clock", &three), Err(Reason::Exhausted));
    super::lock(&account).as_mut().unwrap().put(before.unwrap());
    assert_eq!(yard.use_it("clock", &three), Ok(2));
}

#[test]
fn a_permission_is_begun_anew_without_the_others() {
    let mut yard = Yard::new();
    let one = conditions(r#""max_uses": 1"#);
    for name in ["clock", "network"] {
        assert_eq!(yard.use_it(name, &one), Ok(1));
    }
    let reset = yard.usages.reset(&component(), Some(&permission("clock")));
    assert_eq!(reset.unwrap(), Some(1));
    let never = yard
        .usages
        .reset(&component(), Some(&permission("terminal")));
    assert_eq!(never.unwrap(), Some(0));
    yard.restart();
    assert_eq!(yard.use_it("network", &one), Err(Reason::Exhausted));
    assert_eq!(yard.use_it("clock", &one), Ok(1));
    assert_eq!(yard.use_it("clock", &one), Err(Reason::Exhausted));
}

#[tokio::test]
async fn a_use_can_be_brought_to_the_disk_first() {
    let base = TempDir::new().unwrap();
    let usages = Usages::open(base.path().to_owned(), true);
    let one = conditions(r#""max_uses": 1"#);
    let name = permission("clock");
    assert!(usages.check(&component(), &name, &one, NOW).is_ok());
    let first = usages.count(&component(), &name, &one, NOW).await;
    assert_eq!(first.unwrap(), 1);
    let second = usages.count(&component(), &name, &one, NOW).await;
    assert_eq!(second.unwrap_err().reason, Reason::Exhausted);
    assert!(usages.check(&component(), &name, &one, NOW).is_err());
}

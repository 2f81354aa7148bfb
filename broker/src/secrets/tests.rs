//! The store against everything that may happen to its two files.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(&self) -> PathBuf {
        self.0.path().join("secrets.sealed")
    }
    fn key(&self) -> PathBuf {
        self.0.path().join("rumi-secrets-key")
    }
    fn store(&self) -> Store {
        Store::open(self.file(), self.0.path(), None)
    }
    /// A store with one secret, closed again.
    fn filled() -> Self {
        let place = Self::new();
        place.store().set([secret("TOKEN", "canary-1")]).unwrap();
        place
    }
}

fn name(text: &str) -> EnvKey {
    text.parse().unwrap()
}

fn secret(name: &str, value: &str) -> (EnvKey, Secret) {
    let value = Secret::new(Zeroizing::new(value.to_owned()));
    (self::name(name), value)
}

fn value(store: &Store, name: &str) -> Option<String> {
    let value = store.get(&self::name(name)).unwrap();
    value.map(|value| value.text().to_owned())
}

#[test]
fn what_is_set_is_there_after_the_next_start() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(value(&store, "TOKEN"), None);
    assert!(!place.key().exists(), "no key is made before it is needed");
    assert_eq!(store.set([secret("TOKEN", "canary-1")]).unwrap(), 1);
    assert_eq!(store.set([secret("OTHER", "canary-2")]).unwrap(), 2);
    assert_eq!(store.set([secret("TOKEN", "canary-3")]).unwrap(), 3);
    store.remove(&name("OTHER")).unwrap();
    for store in [store, place.store()] {
        assert_eq!(value(&store, "TOKEN").as_deref(), Some("canary-3"));
        assert_eq!(value(&store, "OTHER"), None);
        assert_eq!(store.examine().unwrap(), 1);
        assert_eq!(store.entries().unwrap()[&name("TOKEN")].version, 3);
    }
    for path in [place.file(), place.key()] {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
        assert!(!bytes.windows(5).any(|window| window == b"TOKEN"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 2);
}

#[test]
fn the_same_secrets_are_never_sealed_alike() {
    let place = Place::filled();
    let before = fs::read(place.file()).unwrap();
    place.store().set([secret("TOKEN", "canary-1")]).unwrap();
    let after = fs::read(place.file()).unwrap();
    let shared = before.iter().zip(&after).filter(|(a, b)| a == b).count();
    assert!(shared < before.len() * 3 / 4, "{shared} bytes are the same");
}

#[test]
fn each_byte_counts_and_a_store_that_was_touched_is_not_overwritten() {
    let place = Place::filled();
    let good = fs::read(place.file()).unwrap();
    let mut bad: Vec<Vec<u8>> = (0..good.len())
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        })
        .collect();
    bad.extend((0..good.len()).map(|length| good[..length].to_vec()));
    bad.push([good.as_slice(), b"x"].concat());
    for bytes in bad {
        fs::write(place.file(), &bytes).unwrap();
        let store = place.store();
        let error = store.get(&name("TOKEN")).unwrap_err();
        assert!(
            matches!(
                *error,
                StoreError::Damaged { .. } | StoreError::OtherKey { .. }
            ),
            "{error}"
        );
        assert!(store.set([secret("NEW", "x")]).is_err());
        assert!(store.remove(&name("TOKEN")).is_err());
        assert!(store.examine().is_err());
        assert_eq!(fs::read(place.file()).unwrap(), bytes);
    }
    fs::write(place.file(), &good).unwrap();
    assert_eq!(value(&place.store(), "TOKEN").as_deref(), Some("canary-1"));
}

#[test]
fn a_wrong_missing_or_exposed_key_refuses_and_no_new_one_is_made() {
    let exposed = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o640));
    type Spoil<'a> = Box<dyn Fn(&Place) + 'a>;
    let spoilt: [(Spoil<'_>, &str); 7] = [
        (
            Box::new(|p| fs::remove_file(p.key()).unwrap()),
            "is not there",
        ),
        (
            Box::new(|p| fs::write(p.key(), "ab".repeat(32)).unwrap()),
            "sealed with another key",
        ),
        (
            Box::new(|p| fs::write(p.key(), "short").unwrap()),
            "is not a key",
        ),
        (
            Box::new(|p| fs::write(p.key(), "ab".repeat(33)).unwrap()),
            "is not a key",
        ),
        (
            Box::new(|p| exposed(&p.key()).unwrap()),
            "by others than root",
        ),
        (
            Box::new(|p| exposed(&p.file()).unwrap()),
            "by others than root",
        ),
        (
            Box::new(|p| {
                fs::rename(p.key(), p.0.path().join("elsewhere")).unwrap();
                symlink("elsewhere", p.key()).unwrap();
            }),
            "cannot read",
        ),
    ];
    for (spoil, why) in spoilt {
        let place = Place::filled();
        spoil(&place);
        let sealed = fs::read(place.file()).unwrap();
        let store = place.store();
        let error = store.get(&name("TOKEN")).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert!(store.set([secret("NEW", "x")]).is_err(), "{why}");
        assert_eq!(fs::read(place.file()).unwrap(), sealed, "{why}");
    }
}

#[test]
fn what_is_replaced_behind_the_brokers_back_is_noticed_before_a_change() {
    let place = Place::filled();
    let store = place.store();
    let older = fs::read(place.file()).unwrap();
    store.set([secret("TOKEN", "canary-2")]).unwrap();
    let newer = fs::read(place.file()).unwrap();
    for replaced in [Some(&older), None] {
        match replaced {
            Some(bytes) => fs::write(place.file(), bytes).unwrap(),
            None => fs::remove_file(place.file()).unwrap(),
        }
        let error = store.set([secret("NEW", "x")]).unwrap_err();
        assert!(matches!(*error, StoreError::Replaced { .. }), "{error}");
        assert!(store.examine().is_err());
        // What runs goes on with what was last set.
        assert_eq!(value(&store, "TOKEN").as_deref(), Some("canary-2"));
    }
    fs::write(place.file(), newer).unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    store.set([secret("NEW", "x")]).unwrap();
}

#[test]
fn a_credential_is_the_key_and_none_is_made_beside_it() {
    let place = Place::new();
    let credentials = tempfile::tempdir().unwrap();
    let credential = credentials.path().join("rumi-secrets-key");
    fs::write(&credential, format!("{}\n", "0A".repeat(32))).unwrap();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o400)).unwrap();
    let open = || Store::open(place.file(), place.0.path(), Some(credentials.path()));
    open().set([secret("TOKEN", "canary-1")]).unwrap();
    assert!(!place.key().exists());
    assert_eq!(value(&open(), "TOKEN").as_deref(), Some("canary-1"));
    fs::remove_file(credential).unwrap();
    let error = open().get(&name("TOKEN")).unwrap_err();
    assert!(matches!(*error, StoreError::KeyMissing { .. }), "{error}");
}

#[test]
fn a_disk_that_takes_nothing_changes_nothing() {
    let place = Place::filled();
    let store = place.store();
    let many = (0..=MAX_SECRETS).map(|number| secret(&format!("S{number}"), "x"));
    let error = store.set(many).unwrap_err();
    assert!(matches!(*error, StoreError::TooMany), "{error}");
    let long = "x".repeat(64 * 1024);
    let much = (0..260).map(|number| secret(&format!("S{number}"), &long));
    let error = store.set(much).unwrap_err();
    assert!(matches!(*error, StoreError::TooLarge), "{error}");
    assert_eq!(store.examine().unwrap(), 1);
    assert_eq!(value(&store, "S1"), None);
}

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rumi_policy::{AbsPath, ComponentId, Quota, Usage};

use super::{Growth, Inode, QuotaError, Quotas};

const QUOTA: Quota = Quota {
    bytes: 100,
    files: 3,
};

struct Yard {
    base: tempfile::TempDir,
    quotas: Arc<Quotas>,
}

fn component(name: &str) -> ComponentId {
    format!("pack:tool:{name}").parse().expect("an id")
}

fn has(bytes: u64, files: u64) -> Option<Usage> {
    Some(Usage { bytes, files })
}

fn stat(path: &Path) -> rustix::fs::Stat {
    rustix::fs::stat(path).expect("it is there")
}

fn counted(path: &Path) -> (Inode, u64) {
    let stat = stat(path);
    (Inode::from(&stat), super::size(&stat))
}

impl Yard {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("a directory");
        fs::create_dir(base.path().join("quota")).expect("mkdir");
        fs::create_dir(base.path().join("data")).expect("mkdir");
        let quotas = Quotas::open(base.path().join("quota"));
        Self { base, quotas }
    }

    fn restart(&mut self) {
        self.quotas = Quotas::open(self.base.path().join("quota"));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.base.path().join("data").join(name)
    }

    fn path(&self, name: &str) -> AbsPath {
        let path = self.at(name);
        path.to_str().expect("UTF-8").parse().expect("a path")
    }

    fn usage(&self, name: &str) -> Option<Usage> {
        self.quotas.usage(&component(name), None)
    }

    fn begin(&self, who: &str, name: &str) -> Result<Growth, QuotaError> {
        let there = self.at(name).exists().then(|| counted(&self.at(name)));
        let path = self.path(name);
        self.quotas.create(&component(who), QUOTA, &path, there)
    }

    /// What the handler of a write does.
    fn write(&self, who: &str, name: &str, size: usize) -> Result<(), QuotaError> {
        let replaced = File::open(self.at(name)).ok();
        let mut growth = self.begin(who, name)?;
        growth.cover(size as u64)?;
        fs::write(self.at("draft"), vec![0; size]).expect("write");
        let names = self.quotas.names();
        fs::rename(self.at("draft"), self.at(name)).expect("rename");
        let directory = File::open(self.at("")).expect("open");
        growth.made(&names, directory.as_fd(), name, &stat(&self.at(name)));
        if let Some(replaced) = replaced {
            names.removed(&replaced);
        }
        Ok(())
    }

    fn append(&self, who: &str, name: &str, more: u64) -> Result<(), QuotaError> {
        let (inode, size) = counted(&self.at(name));
        let path = self.path(name);
        let who = component(who);
        let mut growth = self.quotas.grow(&who, QUOTA, &path, (inode, size))?;
        growth.cover(more)?;
        let file = File::options().write(true).open(self.at(name));
        file.expect("open").set_len(size + more).expect("set_len");
        growth.settle(inode, size + more);
        Ok(())
    }

    fn delete(&self, name: &str) {
        let held = File::open(self.at(name)).expect("open");
        let names = self.quotas.names();
        fs::remove_file(self.at(name)).expect("remove");
        names.removed(&held);
    }

    fn rename(&self, from: &str, to: &str) {
        let directory = File::open(self.at("")).expect("open");
        let names = self.quotas.names();
        fs::rename(self.at(from), self.at(to)).expect("rename");
        names.moved((directory.as_fd(), from), (directory.as_fd(), to));
    }

    fn journal(&self, who: &str) -> PathBuf {
        let name = format!("quota/{}.jsonl", component(who));
        self.base.path().join(name)
    }
}

#[test]
fn what_is_made_grown_and_taken_away_is_counted_and_survives_a_restart() {
    let mut yard = Yard::new();
    yard.write("a", "one", 40).unwrap();
    yard.append("a", "one", 20).unwrap();
    yard.write("a", "two", 30).unwrap();
    assert_eq!(yard.usage("a"), has(90, 2));
    assert!(yard.write("a", "three", 11).is_err());
    assert!(yard.append("a", "two", 11).is_err());
    for _ in 0..2 {
        assert_eq!(yard.usage("a"), has(90, 2), "a refusal leaves nothing");
        yard.restart();
    }
    yard.rename("one", "moved");
    yard.restart();
    yard.delete("moved");
    assert_eq!(yard.usage("a"), has(30, 1));
    yard.write("a", "two", 5).unwrap();
    yard.restart();
    assert_eq!(yard.usage("a"), has(5, 1));
    assert_eq!(yard.usage("b"), has(0, 0));
}

#[test]
fn a_file_may_be_replaced_by_one_of_its_size_once_at_a_time() {
    let yard = Yard::new();
    yard.write("a", "large", 90).unwrap();
    let mut first = yard.begin("a", "large").unwrap();
    first.cover(90).unwrap();
    let mut second = yard.begin("a", "large").unwrap();
    assert!(second.cover(90).is_err(), "the room was given already");
    // A file that goes meanwhile takes the room it promised along.
    yard.delete("large");
    assert_eq!(yard.usage("a"), has(90, 2));
    drop((first, second));
    assert_eq!(yard.usage("a"), has(0, 0));
}

#[test]
fn changes_beside_each_other_share_one_quota() {
    let yard = Yard::new();
    let mut begun = Vec::new();
    for number in 0..3 {
        begun.push(yard.begin("a", &format!("file{number}")).unwrap());
    }
    assert!(yard.begin("a", "file3").is_err(), "a fourth file");
    begun[0].cover(60).unwrap();
    assert!(begun[1].cover(41).is_err());
    begun[1].cover(40).unwrap();
    begun.remove(0);
    begun[1].cover(60).unwrap();
    assert_eq!(yard.usage("a"), has(100, 2));
}

#[test]
fn appends_beside_each_other_count_the_file_once() {
    let yard = Yard::new();
    fs::write(yard.at("hosts"), vec![0; 1000]).unwrap();
    let file = counted(&yard.at("hosts"));
    let path = yard.path("hosts");
    let who = component("a");
    let mut first = yard.quotas.grow(&who, QUOTA, &path, file).unwrap();
    let mut second = yard.quotas.grow(&who, QUOTA, &path, file).unwrap();
    first.cover(10).unwrap();
    first.settle(file.0, 1010);
    second.cover(10).unwrap();
    second.settle(file.0, 1020);
    drop((first, second));
    assert_eq!(yard.usage("a"), has(20, 0));
    // What it only appended to is not its own to free more of than it appended.
    yard.quotas.grow(&who, QUOTA, &path, (file.0, 500)).unwrap();
    assert_eq!(yard.usage("a"), has(0, 0));
}

#[test]
fn a_file_keeps_its_room_until_the_last_who_may_grow_it_is_done() {
    let yard = Yard::new();
    yard.write("a", "file", 90).unwrap();
    let file = counted(&yard.at("file"));
    let grow = |file| {
        let (who, path) = (component("a"), yard.path("file"));
        yard.quotas.grow(&who, QUOTA, &path, file).unwrap()
    };
    // Both were told that 90 bytes are there already.
    let (mut first, mut second) = (grow(file), grow(file));
    first.settle(file.0, 0);
    drop(first);
    assert_eq!(yard.usage("a"), has(90, 1), "the second may fill it again");
    assert!(yard.write("a", "other", 11).is_err());
    second.settle(file.0, 40);
    assert_eq!(yard.usage("a"), has(40, 1));
    // Whoever says last how large it is need not be the last to go.
    let mut third = grow((file.0, 40));
    second.settle(file.0, 30);
    third.settle(file.0, 20);
    assert_eq!(yard.usage("a"), has(40, 1));
    drop((third, second));
    assert_eq!(yard.usage("a"), has(20, 1));
}

#[test]
fn a_deleted_file_counts_until_it_is_closed() {
    let mut yard = Yard::new();
    yard.write("a", "file", 60).unwrap();
    let file = counted(&yard.at("file"));
    let grow = |file| {
        let (who, path) = (component("a"), yard.path("file"));
        yard.quotas.grow(&who, QUOTA, &path, file).unwrap()
    };
    let (mut first, second) = (grow(file), grow(file));
    yard.delete("file");
    assert_eq!(yard.usage("a"), has(60, 1));
    first.cover(20).unwrap();
    first.settle(file.0, 80);
    drop(first);
    assert_eq!(yard.usage("a"), has(80, 1), "the second holds it");
    assert!(yard.write("a", "other", 21).is_err());
    drop(second);
    assert_eq!(yard.usage("a"), has(0, 0));
    // A replaced one leaves its room only when it is closed.
    yard.write("a", "kept", 60).unwrap();
    let kept = counted(&yard.at("kept"));
    let open = grow(kept);
    assert!(yard.write("a", "kept", 60).is_err());
    yard.write("a", "kept", 40).unwrap();
    assert_eq!(yard.usage("a"), has(100, 2));
    drop(open);
    assert_eq!(yard.usage("a"), has(40, 1));
    yard.restart();
    assert_eq!(yard.usage("a"), has(40, 1));
}

#[test]
fn what_another_component_deletes_or_replaces_is_free_again() {
    let yard = Yard::new();
    yard.write("a", "one", 40).unwrap();
    yard.append("b", "one", 10).unwrap();
    assert_eq!((yard.usage("a"), yard.usage("b")), (has(40, 1), has(10, 0)));
    yard.write("b", "one", 7).unwrap();
    assert_eq!((yard.usage("a"), yard.usage("b")), (has(0, 0), has(7, 1)));
    // The name goes, the file stays: nothing is free.
    fs::hard_link(yard.at("one"), yard.at("link")).unwrap();
    yard.delete("one");
    assert_eq!(yard.usage("b"), has(7, 1));
}

#[test]
fn files_that_others_removed_are_forgotten_when_it_is_counted_again() {
    let mut yard = Yard::new();
    for name in ["kept", "removed", "replaced"] {
        yard.write("a", name, 10).unwrap();
    }
    fs::remove_file(yard.at("removed")).unwrap();
    fs::write(yard.at("other"), "").unwrap();
    fs::rename(yard.at("other"), yard.at("replaced")).unwrap();
    assert_eq!(yard.usage("a"), has(30, 3));
    assert!(yard.quotas.recount_if_due(&component("a")));
    assert_eq!(yard.usage("a"), has(10, 1));
    assert!(!yard.quotas.recount_if_due(&component("a")), "not so soon");
    yard.restart();
    assert_eq!(yard.usage("a"), has(10, 1));
}

#[test]
fn a_directory_takes_the_paths_of_what_is_in_it_along() {
    let mut yard = Yard::new();
    fs::create_dir(yard.at("dir")).unwrap();
    yard.write("a", "dir/file", 10).unwrap();
    yard.rename("dir", "moved");
    yard.restart();
    assert_eq!(yard.usage("a"), has(10, 1), "it was looked for where it is");
    yard.delete("moved/file");
    assert_eq!(yard.usage("a"), has(0, 0));
}

#[test]
fn moving_a_directory_costs_a_line_and_not_one_for_each_file() {
    let mut yard = Yard::new();
    let quota = Quota {
        bytes: 0,
        files: 500,
    };
    fs::create_dir(yard.at("0")).unwrap();
    let directory = File::open(yard.at("0")).unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("{n:0>200}")).collect();
    for (number, name) in names.iter().enumerate() {
        let who = component(if number == 0 { "b" } else { "a" });
        let path = yard.path(&format!("0/{name}"));
        let mut growth = yard.quotas.create(&who, quota, &path, None).unwrap();
        fs::write(yard.at("0").join(name), "").unwrap();
        let made = stat(&yard.at("0").join(name));
        growth.made(&yard.quotas.names(), directory.as_fd(), name, &made);
    }
    let before = fs::metadata(yard.journal("a")).unwrap().len();
    for round in 0..1000 {
        yard.rename(&round.to_string(), &(round + 1).to_string());
    }
    let after = fs::metadata(yard.journal("a")).unwrap().len();
    assert!(after < before + 200_000, "{before} became {after} bytes");
    // All of it is found where it went, by both.
    yard.restart();
    assert_eq!((yard.usage("a"), yard.usage("b")), (has(0, 299), has(0, 1)));
    yard.delete(&format!("1000/{}", names[0]));
    yard.delete(&format!("1000/{}", names[1]));
    yard.restart();
    assert_eq!((yard.usage("a"), yard.usage("b")), (has(0, 298), has(0, 0)));
}

#[test]
fn a_change_that_a_killed_broker_did_not_end_is_counted_by_what_is_there() {
    let mut yard = Yard::new();
    yard.write("a", "grown", 10).unwrap();
    let grown = counted(&yard.at("grown"));
    let path = yard.path("grown");
    let growing = yard.quotas.grow(&component("a"), QUOTA, &path, grown);
    let (making, nothing) = (yard.begin("a", "made"), yard.begin("a", "never"));
    fs::write(yard.at("made"), "12345").unwrap();
    fs::write(yard.at("grown"), "0123456789more").unwrap();
    // As a kill leaves it: nothing is ended.
    std::mem::forget((growing, making, nothing));
    yard.restart();
    assert_eq!(yard.usage("a"), has(19, 2));
    yard.restart();
    assert_eq!(yard.usage("a"), has(19, 2));
}

#[test]
fn an_account_that_cannot_be_read_denies_its_component_alone() {
    let mut yard = Yard::new();
    yard.write("a", "one", 10).unwrap();
    yard.write("b", "two", 10).unwrap();
    let mut text = fs::read_to_string(yard.journal("a")).unwrap();
    // Half of a line at the end is what a kill leaves, and no damage.
    fs::write(yard.journal("a"), format!("{text}{{\"has\"")).unwrap();
    yard.restart();
    assert_eq!(yard.usage("a"), has(10, 1));
    text.insert(3, 'x');
    fs::write(yard.journal("a"), text).unwrap();
    yard.restart();
    assert_eq!(yard.usage("a"), None);
    assert!(matches!(
        yard.begin("a", "more"),
        Err(QuotaError::Unreadable)
    ));
    assert_eq!(yard.usage("b"), has(10, 1));
    yard.write("b", "two", 20).unwrap();
}

#[test]
fn an_account_does_not_grow_with_what_came_and_went() {
    let mut yard = Yard::new();
    for round in 0..1000 {
        yard.write("a", "file", round % 7).unwrap();
    }
    let length = fs::metadata(yard.journal("a")).unwrap().len();
    assert!(length < 250_000, "{length} bytes");
    yard.restart();
    assert_eq!(yard.usage("a"), has(999 % 7, 1));
}

//! What changed between two states of a pack, as a list that is complete.

use std::collections::{BTreeMap, HashMap};

use super::facts::{Entry, Facts};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$inner:meta])* $name:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$inner])* $name,)*
        }

        impl $type {
            /// The name on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

words! {
    /// What an item is about.
    Subject {
        /// The version that the pack says it has.
        Version = "version",
        /// The image that it stands on.
        Base = "base",
        /// A component, with the file that it runs.
        Component = "component",
        /// A line of its requirements.
        Requirement = "requirement",
        /// A line of its Dockerfile.
        Dockerfile = "dockerfile",
        /// Whether the Dockerfile has the network.
        Network = "network",
        /// A permission that it asks for.
        Request = "request",
        /// A permission that a component of this name has already.
        Grant = "grant",
        /// One of its files.
        File = "file",
    }
}

words! {
    /// What became of it.
    Change {
        /// It was not there.
        Added = "added",
        /// It is gone.
        Removed = "removed",
        /// It is another.
        Changed = "changed",
        /// The same content under another name.
        Renamed = "renamed",
        /// It is as it was.
        Same = "same",
    }
}

/// One thing that an admin should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is about.
    pub subject: Subject,
    /// What became of it.
    pub change: Change,
    /// Which one.
    pub name: String,
    /// What it was.
    pub before: String,
    /// What it is.
    pub now: String,
}

impl Item {
    fn new(subject: Subject, name: &str, before: Option<&str>, now: Option<&str>) -> Option<Self> {
        let change = match (before, now) {
            (None, Some(_)) => Change::Added,
            (Some(_), None) => Change::Removed,
            (Some(before), Some(now)) if before != now => Change::Changed,
            _ => return None,
        };
        Some(Self {
            subject,
            change,
            name: name.to_owned(),
            before: before.unwrap_or_default().to_owned(),
            now: now.unwrap_or_default().to_owned(),
        })
    }
}

/// All that differs; where there was nothing before, all that there is.
pub(super) fn between(before: Option<&Facts>, now: &Facts) -> Vec<Item> {
    let nothing = Facts::default();
    let was = before.unwrap_or(&nothing);
    let known = before.is_some();
    let one = |subject, before: &str, now: &str| {
        Item::new(subject, "", Some(before).filter(|_| known), Some(now))
    };
    let mut items: Vec<Item> = [
        one(Subject::Version, &was.version, &now.version),
        one(Subject::Base, &was.base, &now.base),
    ]
    .into_iter()
    .flatten()
    .collect();
    items.extend(maps(Subject::Component, &was.components, &now.components));
    items.extend(lines(
        Subject::Requirement,
        &was.requirements,
        &now.requirements,
    ));
    items.extend(lines(Subject::Dockerfile, &was.dockerfile, &now.dockerfile));
    let networked = |facts: &Facts| {
        facts
            .networked
            .then_some("the Dockerfile has the network while it runs")
    };
    items.extend(Item::new(
        Subject::Network,
        "",
        networked(was),
        networked(now),
    ));
    items.extend(maps(Subject::Request, &requests(was), &requests(now)));
    items.extend(files(was, now));
    items
}

fn requests(facts: &Facts) -> BTreeMap<String, String> {
    let all = facts.requests.iter().flat_map(|(component, wishes)| {
        let wishes = wishes.iter();
        wishes
            .map(move |(permission, wish)| (format!("{component} {permission}"), wish.to_string()))
    });
    all.collect()
}

fn maps(
    subject: Subject,
    was: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) -> Vec<Item> {
    let gone = was.keys().filter(|key| !now.contains_key(*key));
    let names = now.keys().chain(gone);
    let item = |name: &String| {
        let text = |map: &BTreeMap<String, String>| map.get(name).cloned();
        Item::new(subject, name, text(was).as_deref(), text(now).as_deref())
    };
    names.filter_map(item).collect()
}

/// Lines that came and went. Where only their order changed there are none, and the file that they
/// stand in is among the files that changed.
fn lines(subject: Subject, was: &[String], now: &[String]) -> Vec<Item> {
    let added = beyond(now, was).filter_map(|line| Item::new(subject, line, None, Some("")));
    let removed = beyond(was, now).filter_map(|line| Item::new(subject, line, Some(""), None));
    added.chain(removed).collect()
}

/// The lines that others do not have, or not as often. A pack may have very many.
fn beyond<'a>(lines: &'a [String], others: &'a [String]) -> impl Iterator<Item = &'a String> {
    let mut known: HashMap<&String, usize> = HashMap::new();
    for other in others {
        *known.entry(other).or_default() += 1;
    }
    lines.iter().filter(move |line| match known.get_mut(line) {
        Some(times) if *times > 0 => {
            *times -= 1;
            false
        }
        _ => true,
    })
}

fn files(was: &Facts, now: &Facts) -> Vec<Item> {
    let mut gone: BTreeMap<&String, &Entry> = was.files.iter().collect();
    gone.retain(|path, _| !now.files.contains_key(*path));
    let mut items = Vec::new();
    for (path, file) in &now.files {
        let item = match was.files.get(path) {
            Some(before) if before == file => None,
            Some(before) => Some(Item {
                subject: Subject::File,
                change: Change::Changed,
                name: path.clone(),
                before: before.said(),
                now: file.said_after(before),
            }),
            None => Some(came(path, file, &mut gone)),
        };
        items.extend(item);
    }
    let removed = gone.into_iter();
    items.extend(
        removed.filter_map(|(path, file)| Item::new(Subject::File, path, Some(&file.said()), None)),
    );
    items
}

/// A file that was not there under this name.
fn came(path: &str, file: &Entry, gone: &mut BTreeMap<&String, &Entry>) -> Item {
    let same = gone
        .iter()
        .find(|(_, other)| file.is_content() && **other == file);
    let from = same.map(|(from, _)| (*from).clone());
    match from {
        Some(from) => {
            gone.remove(&from);
            Item {
                subject: Subject::File,
                change: Change::Renamed,
                name: path.to_owned(),
                before: from,
                now: file.said(),
            }
        }
        None => Item {
            subject: Subject::File,
            change: Change::Added,
            name: path.to_owned(),
            before: String::new(),
            now: file.said(),
        },
    }
}

impl Entry {
    /// Whether two of the same are the same thing, and not only empty.
    fn is_content(&self) -> bool {
        matches!(self, Self::File { bytes, .. } if *bytes > 0)
    }

    fn said(&self) -> String {
        match self {
            Self::Directory => "empty directory".to_owned(),
            Self::Link { target } => format!("symlink to {target}"),
            Self::File {
                executable, bytes, ..
            } => {
                let program = if *executable { "executable, " } else { "" };
                let unit = if *bytes == 1 { "byte" } else { "bytes" };
                format!("{program}{bytes} {unit}")
            }
        }
    }

    /// What it is now; two files of one size must not look the same.
    fn said_after(&self, before: &Self) -> String {
        match (self, before) {
            (Self::File { sha256: now, .. }, Self::File { sha256: was, .. })
                if now != was && self.said() == before.said() =>
            {
                format!("{}, other content", self.said())
            }
            _ => self.said(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str, executable: bool) -> Entry {
        Entry::File {
            executable,
            bytes: content.len() as u64,
            sha256: content.to_owned(),
        }
    }

    fn facts(files: &[(&str, Entry)]) -> Facts {
        Facts {
            version: "1".to_owned(),
            base: "rumi-base:latest".to_owned(),
            files: files
                .iter()
                .map(|(path, file)| ((*path).to_owned(), file.clone()))
                .collect(),
            ..Facts::default()
        }
    }

    fn said(was: &Facts, now: &Facts) -> Vec<String> {
        let items = between(Some(was), now);
        items
            .iter()
            .map(|item| {
                let (subject, change) = (item.subject.as_str(), item.change.as_str());
                format!(
                    "{change} {subject} {}: {} > {}",
                    item.name, item.before, item.now
                )
            })
            .collect()
    }

    #[test]
    fn no_change_of_a_file_goes_unsaid() {
        let link = |target: &str| Entry::Link {
            target: target.to_owned(),
        };
        let was = facts(&[
            ("a", file("one", false)),
            ("b", file("two", false)),
            ("c", file("three", false)),
            ("d", link("a")),
            ("e", Entry::Directory),
            ("f", file("gone", false)),
        ]);
        let now = facts(&[
            ("a", file("uno", false)),
            ("b", file("two", true)),
            ("d", link("b")),
            ("e", file("", false)),
            ("g", file("three", false)),
            ("h", file("new", true)),
        ]);
        assert_eq!(
            said(&was, &now),
            [
                "changed file a: 3 bytes > 3 bytes, other content",
                "changed file b: 3 bytes > executable, 3 bytes",
                "changed file d: symlink to a > symlink to b",
                "changed file e: empty directory > 0 bytes",
                "renamed file g: c > 5 bytes",
                "added file h:  > executable, 3 bytes",
                "removed file f: 4 bytes > ",
            ]
        );
        assert_eq!(said(&now, &now), [""; 0]);
    }

    #[test]
    fn very_many_lines_are_compared_in_little_time() {
        let lines = |from: usize| -> Vec<String> {
            let numbers = from..from + 400_000;
            numbers.map(|number| number.to_string()).collect()
        };
        let items = super::lines(Subject::Requirement, &lines(0), &lines(300_000));
        assert_eq!(items.len(), 600_000);
        let added = |item: &&Item| item.change == Change::Added;
        assert_eq!(items.iter().filter(added).count(), 300_000);
        let twice = |times: usize| vec!["same".to_owned(); times];
        assert_eq!(
            super::lines(Subject::Dockerfile, &twice(3), &twice(1)).len(),
            2
        );
    }

    #[test]
    fn what_a_pack_asks_for_is_compared_by_value() {
        let with = |directory: &str, networked: bool| {
            let wish = serde_json::json!({"directories": [directory]});
            let wishes = BTreeMap::from([("file_read".to_owned(), wish)]);
            Facts {
                networked,
                requirements: vec!["six".to_owned(), directory.to_owned()],
                requests: BTreeMap::from([("p:tool:t".to_owned(), wishes)]),
                ..facts(&[])
            }
        };
        assert_eq!(
            said(&with("/a", false), &with("/b", true)),
            [
                "added requirement /b:  > ",
                "removed requirement /a:  > ",
                "added network :  > the Dockerfile has the network while it runs",
                "changed request p:tool:t file_read: {\"directories\":[\"/a\"]} > {\"directories\":[\"/b\"]}",
            ]
        );
        let first = between(None, &with("/a", false));
        let subjects: Vec<_> = first.iter().map(|item| item.subject.as_str()).collect();
        assert_eq!(
            subjects,
            ["version", "base", "requirement", "requirement", "request"]
        );
        assert!(first.iter().all(|item| item.change == Change::Added));
    }
}

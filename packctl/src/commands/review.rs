//! What there is to know of a pack before it is trusted, as an admin reads it.

use std::fmt::Write as _;

use rumi_proto::v1::{PackApproval, Review, ReviewItem};
use serde::Serialize;

use crate::{escape, moment::Moment};

/// Lines of one kind that are shown; the rest is counted, and is all in the JSON forms.
const MOST: usize = 60;
/// Blanks in a row that are left as they are; more could push what follows out of sight.
const BLANKS: usize = 3;

/// A review, ready to be shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pack: String,
    digest: String,
    /// Whether this is what was approved.
    approved: bool,
    before: Option<Before>,
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
    files: u64,
    bytes: u64,
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Before {
    digest: String,
    unix: i64,
    uid: u32,
    unseen: bool,
}

#[derive(Debug, Serialize)]
struct Item {
    subject: String,
    change: String,
    name: String,
    before: String,
    now: String,
}

impl From<Review> for Shown {
    fn from(review: Review) -> Self {
        Self {
            pack: review.pack,
            digest: review.digest,
            approved: review.approved,
            before: review.before.map(Before::from),
            problem: review.problem,
            files: review.files,
            bytes: review.bytes,
            items: review.items.into_iter().map(Item::from).collect(),
        }
    }
}

impl From<PackApproval> for Before {
    fn from(before: PackApproval) -> Self {
        Self {
            digest: before.digest,
            unix: before.unix,
            uid: before.uid,
            unseen: before.unseen,
        }
    }
}

impl From<ReviewItem> for Item {
    fn from(item: ReviewItem) -> Self {
        Self {
            subject: item.subject,
            change: item.change,
            name: item.name,
            before: item.before,
            now: item.now,
        }
    }
}

impl Shown {
    pub(crate) fn pack(&self) -> &str {
        &self.pack
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it is what was approved, seen or not.
    pub(crate) fn is_approved(&self) -> bool {
        self.approved
    }

    /// Files, and bytes in all of them.
    pub(crate) fn extent(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    /// What its components were granted before, one line each.
    pub(crate) fn grants(&self) -> Vec<String> {
        let grants = self.items.iter().filter(|item| item.subject == "grant");
        grants.map(|item| item.text(&item.now)).collect()
    }

    /// Whether somebody looked at this and approved it.
    pub(crate) fn is_settled(&self) -> bool {
        self.approved && self.before.as_ref().is_some_and(|before| !before.unseen)
    }

    /// Approved or not, and since when.
    pub(crate) fn state(&self) -> String {
        if !self.problem.is_empty() {
            return format!("what was approved cannot be read: {}", self.problem);
        }
        let Some(before) = &self.before else {
            return "it was never approved".to_owned();
        };
        let moment = Moment::from_unix_ms(u64::try_from(before.unix).unwrap_or(0) * 1000);
        let how = if before.unseen { ", unseen" } else { "" };
        let when = moment.ago(Moment::now());
        let by = format!("{when} ago by uid {}{how}", before.uid);
        if self.approved {
            format!("it is as it was approved {by}")
        } else {
            format!("it is not what was approved {by}")
        }
    }

    /// The command that approves exactly this.
    pub(crate) fn command(&self) -> String {
        format!("packctl approve {} --digest {}", self.pack, self.digest)
    }

    /// All that differs, one thing a line; what a pack wrote cannot look like a line of ours.
    pub(crate) fn lines(&self) -> Vec<String> {
        let unit = if self.files == 1 { "file" } else { "files" };
        let mut lines = vec![format!(
            "  {} {unit}, {} bytes in docker/packs/{}; + is new, - is gone, = is as it was",
            self.files, self.bytes, self.pack
        )];
        let mut shown = 0;
        for (index, item) in self.items.iter().enumerate() {
            let first = index == 0
                || self
                    .items
                    .get(index - 1)
                    .is_none_or(|before| before.subject != item.subject);
            shown = if first { 1 } else { shown + 1 };
            if shown <= MOST {
                lines.extend(item.lines());
            } else if shown == MOST + 1 {
                let all = self
                    .items
                    .iter()
                    .filter(|other| other.subject == item.subject);
                lines.push(format!(
                    "    … and {} more of this kind; all of them: packctl approve {} --show -o json",
                    all.count().saturating_sub(MOST),
                    self.pack
                ));
            }
        }
        let new = |item: &&Item| item.subject == "requirement" && item.change == "added";
        let open = self.items.iter().filter(new);
        let open = open.filter(|item| !item.name.contains("--hash=")).count();
        if open > 0 {
            lines.push(format!(
                "    requirements are approved as lines; for {open} of them without a hash the registry says what comes"
            ));
        }
        lines
    }
}

impl Item {
    fn lines(&self) -> Vec<String> {
        let line = |mark: &str, text: &str| format!("  {mark} {:<11} {text}", self.subject);
        match self.change.as_str() {
            "added" => vec![line("+", &self.text(&self.now))],
            "removed" => vec![line("-", &self.text(&self.before))],
            "renamed" => vec![
                line("-", &visible(&self.before)),
                line(
                    "+",
                    &format!("{}, with the same content", self.text(&self.now)),
                ),
            ],
            "same" => vec![line("=", &self.text(&self.now))],
            _ => vec![
                line("-", &self.text(&self.before)),
                line("+", &self.text(&self.now)),
            ],
        }
    }

    /// One side of it.
    fn text(&self, value: &str) -> String {
        let (name, value) = (visible(&self.name), visible(value));
        match self.subject.as_str() {
            "grant" => format!("{name} may already: {value}"),
            "component" if name.contains(":service:") => {
                format!("{name} runs {value} from its start on")
            }
            "component" => format!("{name} runs {value}"),
            "file" => format!("{name} ({value})"),
            _ if name.is_empty() => value,
            _ if value.is_empty() => name,
            _ => format!("{name} {value}"),
        }
    }
}

/// The text with everything in it that could be overlooked spelled out: what steers a terminal,
/// characters without a look, and blanks that would push the rest out of sight.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blanks = 0;
    for character in text.chars() {
        blanks = if character == ' ' { blanks + 1 } else { 0 };
        if blanks > BLANKS || (blanks == 0 && is_hidden(character)) {
            // Writing into a String cannot fail.
            write!(out, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default();
        } else {
            out.push(character);
        }
    }
    out
}

fn is_hidden(character: char) -> bool {
    character.is_whitespace()
        || escape::is_steering(character)
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(subject: &str, change: &str, name: &str, before: &str, now: &str) -> ReviewItem {
        ReviewItem {
            subject: subject.to_owned(),
            change: change.to_owned(),
            name: name.to_owned(),
            before: before.to_owned(),
            now: now.to_owned(),
        }
    }

    fn shown(items: Vec<ReviewItem>) -> Vec<String> {
        let review = Review {
            pack: "p".to_owned(),
            items,
            ..Review::default()
        };
        Shown::from(review).lines().split_off(1)
    }

    #[test]
    fn each_kind_has_its_line() {
        let wish = r#"{"directories":["/a"]}"#;
        let lines = shown(vec![
            item(
                "base",
                "changed",
                "",
                "rumi-base:latest",
                "rumi-node:latest",
            ),
            item("component", "added", "p:service:feed", "", "feed.py"),
            item("requirement", "added", "six==1.17.0", "", ""),
            item("dockerfile", "removed", "RUN true", "", ""),
            item("request", "added", "p:tool:t file_read", "", wish),
            item("grant", "same", "p:tool:t", "network", "network"),
            item("file", "renamed", "b.py", "a.py", "3 bytes"),
            item("file", "changed", "c.py", "3 bytes", "executable, 3 bytes"),
        ]);
        assert_eq!(
            lines,
            [
                "  - base        rumi-base:latest",
                "  + base        rumi-node:latest",
                "  + component   p:service:feed runs feed.py from its start on",
                "  + requirement six==1.17.0",
                "  - dockerfile  RUN true",
                "  + request     p:tool:t file_read {\"directories\":[\"/a\"]}",
                "  = grant       p:tool:t may already: network",
                "  - file        a.py",
                "  + file        b.py (3 bytes), with the same content",
                "  - file        c.py (3 bytes)",
                "  + file        c.py (executable, 3 bytes)",
                "    requirements are approved as lines; for 1 of them without a hash the registry says what comes",
            ]
        );
    }

    #[test]
    fn nothing_that_a_pack_wrote_is_hidden_or_looks_like_a_line_of_ours() {
        for (given, seen) in [
            ("plain name.py", "plain name.py"),
            ("a   b", "a   b"),
            ("a     b", "a   \\u{20}\\u{20}b"),
            ("a\nb\tc", "a\\u{a}b\\u{9}c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            (
                "a\u{202e}b\u{200d}c\u{3164}",
                "a\\u{202e}b\\u{200d}c\\u{3164}",
            ),
            ("größe 東京", "größe 東京"),
        ] {
            assert_eq!(visible(given), seen, "{given:?}");
        }
        let many = (0..MOST + 5).map(|n| item("file", "added", &format!("f{n}"), "", "1 byte"));
        let lines = shown(many.collect());
        assert_eq!(lines.len(), MOST + 1);
        assert!(lines.last().unwrap().contains("and 5 more"), "{lines:?}");
    }
}

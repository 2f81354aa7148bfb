//! Whether the policy and the model say the same, and the smallest case in which they do not.

use serde_json::Value;

use crate::naive::{self, Opinion};
use crate::real::Answers;
use crate::request::{Answer, Case, Terms};
use crate::world::{File, World};

/// Who answers in the policy's place: the policy itself, or one with a fault.
pub type Subject<'a> = &'a dyn Fn(&World, &Case) -> Answers;

/// A case about which two are of different minds.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    half: &'static str,
    pub model: Result<Terms, Vec<&'static str>>,
    pub policy: Answer,
}

impl Disagreement {
    /// The same words for what has the same cause: terms are left out.
    pub fn kind(&self) -> String {
        let model = match &self.model {
            Ok(_) => "allow".to_owned(),
            Err(reasons) => format!("one of {reasons:?}"),
        };
        let policy = match &self.policy {
            Answer::Allow(_) => "allow",
            Answer::Deny(reason) => reason,
        };
        format!("{}: the model says {model}, the policy {policy}", self.half)
    }
}

/// Nothing where both halves agree.
pub fn disagreement(world: &World, case: &Case, answers: &Answers) -> Option<Disagreement> {
    let opinion = naive::ask(world, case);
    if !agrees(&opinion, &answers.asked) {
        return Some(Disagreement {
            half: "ask",
            model: opinion,
            policy: answers.asked.clone(),
        });
    }
    let confirmed = answers.confirmed.as_ref()?;
    if opinion.is_err() {
        return None;
    }
    let opinion = naive::confirm(world, case);
    (!agrees(&opinion, confirmed)).then(|| Disagreement {
        half: "confirm",
        model: opinion,
        policy: confirmed.clone(),
    })
}

fn agrees(opinion: &Opinion, answer: &Answer) -> bool {
    match (opinion, answer) {
        (Ok(terms), Answer::Allow(given)) => terms == given,
        (Err(reasons), Answer::Deny(reason)) => reasons.contains(&reason.as_str()),
        _ => false,
    }
}

/// What to paste into a test, with everything left out that does not matter.
pub fn report(world: &World, case: &Case, subject: Subject, first: Disagreement) -> String {
    let kind = first.kind();
    let world = shrink(world, case, subject, &kind);
    let answers = subject(&world, case);
    let last = disagreement(&world, case, &answers).unwrap_or(first);
    format!(
        "{kind}\n  model: {:?}\n  policy: {:?}\n{:#?}\n{}",
        last.model,
        last.policy,
        case,
        world.show()
    )
}

/// Leaves out files, keys and entries one by one, as long as it stays the same disagreement.
fn shrink(world: &World, case: &Case, subject: Subject, kind: &str) -> World {
    let still = |world: &World| {
        disagreement(world, case, &subject(world, case)).is_some_and(|found| found.kind() == kind)
    };
    let mut smallest = world.clone();
    loop {
        let smaller = smaller_ones(&smallest)
            .into_iter()
            .find(|world| still(world));
        match smaller {
            Some(world) => smallest = world,
            None => return smallest,
        }
    }
}

/// All worlds with one thing less.
fn smaller_ones(world: &World) -> Vec<World> {
    let mut smaller = Vec::new();
    for index in 0..world.protected.len() {
        let mut less = world.clone();
        less.protected.remove(index);
        smaller.push(less);
    }
    let files = |world: &World| [world.grants.clone(), world.scopes.clone()];
    for (which, list) in files(world).iter().enumerate() {
        for (index, (name, file)) in list.iter().enumerate() {
            let mut push = |file: Option<File>| {
                let mut less = world.clone();
                let list = [&mut less.grants, &mut less.scopes];
                let list = list.into_iter().nth(which).unwrap();
                list.remove(index);
                list.extend(file.map(|file| (name.clone(), file)));
                smaller.push(less);
            };
            push(None);
            if let File::Sound(value) = file {
                for value in without_one(value) {
                    push(Some(File::Sound(value)));
                }
            }
        }
    }
    smaller
}

/// What a file cannot do without.
const NEEDED: [&str; 9] = [
    "component_id",
    "permissions",
    "enabled",
    "version",
    "description",
    "default_config",
    "limits",
    "directories",
    "allowed_domains",
];

fn without_one(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    match value {
        Value::Object(entries) => {
            for (key, inner) in entries {
                if !NEEDED.contains(&key.as_str()) {
                    let mut less = entries.clone();
                    less.remove(key);
                    all.push(Value::Object(less));
                }
                for inner in without_one(inner) {
                    let mut less = entries.clone();
                    less.insert(key.clone(), inner);
                    all.push(Value::Object(less));
                }
            }
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                let mut less = items.clone();
                less.remove(index);
                all.push(Value::Array(less));
            }
        }
        _ => {}
    }
    all
}

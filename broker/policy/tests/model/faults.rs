//! Faults that a policy might have, made around the real one: it is given other files, or its answer
//! is changed on the way.

use serde_json::{Value, json};

use crate::real::{self, Answers};
use crate::request::{Answer, Case, Request, Terms};
use crate::world::{File, World};

pub struct Fault {
    pub name: &'static str,
    /// What the model says where it is found: any of these; none where it can be anything.
    pub shows_as: &'static [&'static str],
    pub answer: fn(&World, &Case) -> Answers,
}

pub const FAULTS: [Fault; 10] = [
    Fault {
        name: "allow and deny are swapped, for listing keys only",
        shows_as: &[
            "key_not_allowed",
            "allow",
            "disabled",
            "expired",
            "no_grant",
            "grant_invalid",
        ],
        answer: swapped,
    },
    Fault {
        name: "every limit is one more",
        shows_as: &["too_large", "scope_limit", "quota", "allow"],
        answer: |world, case| ask(edited(world, one_more), case),
    },
    Fault {
        name: "forbidden lists are ignored",
        shows_as: &["forbidden_by_scope", "allow"],
        answer: |world, case| ask(edited(world, nothing_forbidden), case),
    },
    Fault {
        name: "a subdomain is told by its end, without the dot",
        shows_as: &["domain_not_allowed", "port_not_allowed"],
        answer: dotless,
    },
    Fault {
        name: "what is switched off counts as switched on",
        shows_as: &["disabled"],
        answer: |world, case| ask(edited(world, switched_on), case),
    },
    Fault {
        name: "a broken grant stays what it was",
        shows_as: &["grant_invalid"],
        answer: |world, case| ask(mended(world, case), case),
    },
    Fault {
        name: "the scope's default counts where the grant says otherwise",
        shows_as: &["too_large", "scope_limit", "quota", "allow"],
        answer: |world, case| ask(defaults_first(world), case),
    },
    Fault {
        name: "a grant holds in the moment in which it ends",
        shows_as: &["expired"],
        answer: a_moment_longer,
    },
    Fault {
        name: "exclusions are forgotten",
        shows_as: &["pattern_excluded"],
        answer: |world, case| ask(edited(world, nothing_excluded), case),
    },
    Fault {
        name: "the answer of the second half is not heard",
        shows_as: &[],
        answer: unconfirmed,
    },
];

fn ask(world: World, case: &Case) -> Answers {
    real::answer(&world.compile(), case)
}

/// The same files with something done to everything in them.
fn edited(world: &World, edit: fn(&mut Value)) -> World {
    let mut world = world.clone();
    for (_, file) in world.grants.iter_mut().chain(&mut world.scopes) {
        if let File::Sound(value) = file {
            everywhere(value, edit);
        }
    }
    world
}

fn everywhere(value: &mut Value, edit: fn(&mut Value)) {
    edit(value);
    match value {
        Value::Object(entries) => entries
            .values_mut()
            .for_each(|inner| everywhere(inner, edit)),
        Value::Array(items) => items.iter_mut().for_each(|inner| everywhere(inner, edit)),
        _ => {}
    }
}

fn swapped(world: &World, case: &Case) -> Answers {
    let mut answers = ask(world.clone(), case);
    if case.request == (Request::Env { key: String::new() }) {
        answers.asked = match answers.asked {
            Answer::Allow(_) => Answer::Deny("key_not_allowed".to_owned()),
            Answer::Deny(_) => Answer::Allow(Terms::new()),
        };
        answers.confirmed = None;
    }
    answers
}

fn one_more(value: &mut Value) {
    for key in ["max_bytes", "quota_bytes", "quota_files"] {
        let more = value.get(key).and_then(Value::as_u64).map(|most| most + 1);
        if let Some(more) = more {
            value[key] = json!(more);
        }
    }
}

fn nothing_forbidden(value: &mut Value) {
    if value.get("forbidden").is_some() {
        value["forbidden"] = json!([]);
    }
}

fn nothing_excluded(value: &mut Value) {
    if value.get("exclude").is_some() {
        value["exclude"] = json!([]);
    }
}

fn switched_on(value: &mut Value) {
    if value.get("enabled").is_some() {
        value["enabled"] = json!(true);
    }
}

/// `*.example.com` takes `notexample.com` along.
fn dotless(world: &World, case: &Case) -> Answers {
    let asked = match &case.request {
        Request::Fetch { url, .. } => url,
        Request::Tunnel { authority, .. } => authority,
        Request::Resolve { host } => host,
        _ => return ask(world.clone(), case),
    };
    let ends_so = ["notexample.com", "x-example.com"];
    let host = ends_so.into_iter().find(|host| asked.contains(host));
    let mut world = world.clone();
    for (_, file) in &mut world.grants {
        let File::Sound(grant) = file else { continue };
        let list = grant.pointer_mut("/permissions/network/allowed_domains");
        let list = list.filter(|_| host.is_some());
        let list = list.and_then(Value::as_array_mut);
        if let Some(list) = list.filter(|list| list.contains(&json!("*.example.com"))) {
            list.push(json!(host));
        }
    }
    ask(world, case)
}

/// What was valid before the file was half-written stays in force.
fn mended(world: &World, case: &Case) -> World {
    let mut world = world.clone();
    for (name, file) in &mut world.grants {
        if matches!(file, File::Broken(_)) {
            let given = json!({"enabled": true, "allowed_keys": ["TOKEN", "OPENAI_API_KEY"]});
            let permissions = json!({ case.request.permission(): given });
            let is_env = matches!(case.request, Request::Env { .. });
            let permissions = if is_env { permissions } else { json!({}) };
            *file = File::Sound(json!({"component_id": name, "permissions": permissions}));
        }
    }
    world
}

fn defaults_first(world: &World) -> World {
    let mut world = world.clone();
    for (permission, file) in world.scopes.clone() {
        let File::Sound(scope) = file else { continue };
        for (key, default) in scope["default_config"].as_object().into_iter().flatten() {
            for (_, file) in &mut world.grants {
                let File::Sound(grant) = file else { continue };
                // Looked for and not made: a permission without its keys is no grant.
                let given = grant["permissions"].get_mut(&permission);
                let given = given.and_then(|given| given.get_mut(key));
                if let Some(given) = given.filter(|given| given.is_u64() && default.is_u64()) {
                    *given = default.clone();
                }
            }
        }
    }
    world
}

fn a_moment_longer(world: &World, case: &Case) -> Answers {
    let now = ask(world.clone(), case);
    match &now.asked {
        Answer::Deny(reason) if reason == "expired" => {
            let earlier = Case {
                now: case.now - 1,
                ..case.clone()
            };
            ask(world.clone(), &earlier)
        }
        _ => now,
    }
}

fn unconfirmed(world: &World, case: &Case) -> Answers {
    let mut answers = ask(world.clone(), case);
    if let Some(Answer::Deny(_)) = answers.confirmed {
        answers.confirmed = Some(Answer::Allow(Terms::new()));
    }
    answers
}

//! Running commands.

use super::places::{self, above, holds_forbidden};
use super::wildcards::fits;
use super::{Given, Objections, Opinion, first};
use crate::request::{Found, Terms};

pub fn ask(given: &Given, argv: &[String], directory: &str, timeout_ms: Option<u64>) -> Opinion {
    let mut forbidden = Vec::new();
    let on_host = given.grant["mode"] == "host";
    let host_allowed = given.scope["limits"]["allow_host_mode"] == true;
    if (on_host && !host_allowed)
        || holds_forbidden(given, directory)
        || is_forbidden_program(given, &argv[0])
    {
        forbidden.push("forbidden_by_scope");
    }
    let mut objections = Vec::new();
    if above(given, directory).is_empty() {
        objections.push("outside_directory");
    }
    // Which program a name means is known only once it is looked up; with none granted it does not matter.
    if given.granted("allowed_commands").is_empty() {
        objections.push("command_not_allowed");
    }
    let longest = given.number("timeout_ms", 30_000);
    let timeout = timeout_ms.map_or(longest, |asked| asked.min(longest));
    let memory = given.number("memory_mb", 512) * (1 << 20);
    let output = given.number("max_output_bytes", 1 << 20);
    let mode = if on_host { "host" } else { "sandbox" };
    let terms = Terms::from([
        ("timeout_ms", timeout.to_string()),
        ("memory_bytes", memory.to_string()),
        ("max_output_bytes", output.to_string()),
        ("mode", mode.to_owned()),
        ("root", root(given, directory)),
    ]);
    first(vec![forbidden, objections], terms)
}

fn root(given: &Given, directory: &str) -> String {
    let nearest = above(given, directory).into_iter().next();
    nearest.map(|(root, _)| root).unwrap_or_default()
}

pub fn confirm(given: &Given, argv: &[String], directory: &str, found: &Found) -> Opinion {
    let root_is = found.root_is.as_deref();
    let (root, real) = places::real(given, directory, root_is, found.leads_to.as_deref(), false);
    let program = &found.programs[&argv[0]];
    let mut forbidden = Vec::new();
    if holds_forbidden(given, &real) || is_forbidden_program(given, program) {
        forbidden.push("forbidden_by_scope");
    }
    let mut objections = Vec::new();
    if places::below(&root, &real).is_none() {
        objections.push("outside_directory");
    }
    objections.extend(against_arguments(given, argv, found));
    if found.owner == 0 {
        objections.push("root_owned");
    }
    let terms = Terms::from([
        ("program", program.clone()),
        ("uid", found.owner.to_string()),
    ]);
    first(vec![forbidden, objections], terms)
}

/// A list of names or absolute paths of programs.
fn is_forbidden_program(given: &Given, program: &str) -> bool {
    let name = program.split('/').next_back().unwrap();
    given
        .limit_texts("forbidden_commands")
        .iter()
        .any(|entry| entry == program || (!entry.contains('/') && entry == name))
}

/// One of the entries must be this very program, with any arguments or with a glob for each; a
/// star takes anything, and a last `**` any further ones.
fn against_arguments(given: &Given, argv: &[String], found: &Found) -> Objections {
    let program = &found.programs[&argv[0]];
    for entry in given.granted("allowed_commands") {
        let words: Vec<&str> = entry.split(' ').collect();
        if found.programs.get(words[0]) != Some(program) {
            continue;
        }
        if words.len() == 1 {
            return Vec::new();
        }
        let open_end = words[words.len() - 1] == "**";
        let globs = &words[1..words.len() - usize::from(open_end)];
        let arguments = &argv[1..];
        let long_enough =
            arguments.len() == globs.len() || (open_end && arguments.len() > globs.len());
        if long_enough
            && globs
                .iter()
                .zip(arguments)
                .all(|(glob, text)| fits(glob, text))
        {
            return Vec::new();
        }
    }
    vec!["command_not_allowed"]
}

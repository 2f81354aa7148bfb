//! Policies and requests, made so that each of them has a fair chance of each answer.

mod breaking;
mod grants;
mod requests;
mod scopes;

use crate::dice::Dice;
use crate::request::Case;
use crate::world::World;
pub use requests::case;

/// The time about which conditions are made: 2023-11-14T22:13:20Z.
pub const BASE: u64 = 1_700_000_000_000;

/// Components that a policy may speak of; the last one has no grant anywhere.
pub const COMPONENTS: [&str; 5] = [
    "default:tool:my_tool",
    "default:tool:my-tool",
    "web:service:bot",
    "x9_y:tool:a",
    "x9_y:tool:nobody",
];

pub const HANDLERS: [&str; 3] = ["word_count", "sqlite_query", "a"];

/// One of the names that paths are made of.
pub const NAMES: [&str; 13] = [
    "a", "b", "docs", "x.md", "y.md", "z.txt", "k.key", ".ssh", "id_rsa", "a b", "%2e%2e", "~", "ü",
];

pub const ROOTS: [&str; 9] = [
    "/srv",
    "/srv/a",
    "/srv/a/b",
    "/data",
    "/data/docs",
    "/home/u",
    "/home/u/.config",
    "/home",
    "/",
];

pub const KEYS: [&str; 8] = [
    "OPENAI_API_KEY",
    "TOKEN",
    "RUMI_TOKEN",
    "RUMI_",
    "RUMI",
    "LD_PRELOAD",
    "openai_api_key",
    "_x",
];

pub const HOSTS: [&str; 14] = [
    "example.com",
    "api.example.com",
    "a.b.example.com",
    "notexample.com",
    "example.com.evil.org",
    "evil.org",
    "com",
    "localhost",
    "x.localhost",
    "metadata",
    "xn--bcher-kva.example",
    "93.184.216.34",
    "10.0.0.7",
    "2606:4700::1111",
];

pub const PROGRAMS: [&str; 9] = [
    "ls",
    "git",
    "grep",
    "sh",
    "busybox",
    "sudo",
    "/usr/bin/git",
    "/opt/git",
    "/bin/sh",
];

pub fn world(dice: &mut Dice) -> World {
    let mut world = World::default();
    for permission in ["file_read", "file_write", "env_read", "terminal", "network"] {
        if let Some(file) = scopes::file(dice, permission) {
            world.scopes.push((permission.to_owned(), file));
        }
    }
    for handler in HANDLERS {
        if let Some(file) = scopes::custom_file(dice) {
            world.scopes.push((handler.to_owned(), file));
        }
    }
    for component in &COMPONENTS[..4] {
        if let Some(file) = grants::file(dice, component) {
            world.grants.push(((*component).to_owned(), file));
        }
    }
    if dice.percent(10) {
        // Files for nobody mean nothing to anybody.
        let file = grants::file(dice, COMPONENTS[4]);
        world
            .grants
            .extend(file.map(|file| ("nobody".to_owned(), file)));
    }
    world.protected = dice.words(&["/srv/a/rumi", "/var/lib/rumi", "/data/*"], 0, 2);
    world
}

/// So many policies with so many requests to each; all the same for the same seed.
pub fn cases(
    seed: u64,
    worlds: usize,
    requests: usize,
    mut each: impl FnMut(&World, &rumi_policy::PolicySet, &[Case]) -> bool,
) {
    let mut dice = Dice::new(seed);
    for _ in 0..worlds {
        let world = world(&mut dice);
        let set = world.compile();
        let cases: Vec<Case> = (0..requests).map(|_| case(&mut dice, &world)).collect();
        if !each(&world, &set, &cases) {
            return;
        }
    }
}

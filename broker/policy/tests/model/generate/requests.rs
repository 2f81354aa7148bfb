//! Requests, most of them near to what was granted.

use std::collections::BTreeMap;

use super::{COMPONENTS, HANDLERS, HOSTS, KEYS, NAMES, PROGRAMS, ROOTS};
use crate::dice::Dice;
use crate::request::{Case, Found, Request};
use crate::world::World;

/// Spellings of a path that are no path.
const ODD_PATHS: [&str; 12] = [
    "",
    "srv/a",
    "./srv",
    "../srv",
    "/srv/",
    "//srv",
    "/srv//a",
    "/srv/./a",
    "/srv/../etc",
    "/..",
    "/srv/a\0",
    "~/a",
];

const ODD_HOSTS: [&str; 14] = [
    "EXAMPLE.com",
    "example.com.",
    ".example.com",
    "exa mple.com",
    "",
    "127.1",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "::ffff:10.0.0.1",
    "2606:4700:0::1111",
    "example..com",
    "-a.com",
    "ex\u{e4}mple.com",
];

pub fn case(dice: &mut Dice, world: &World) -> Case {
    let caller = match dice.percent(4) {
        true => COMPONENTS[4].to_owned(),
        false => dice.word(&COMPONENTS[..4]),
    };
    let request = match dice.below(100) {
        0..20 => file_read(dice, world, &caller),
        20..42 => file_write(dice, world, &caller),
        42..54 => env(dice),
        54..70 => terminal(dice, world, &caller),
        70..82 => fetch(dice, world, &caller),
        82..90 => tunnel(dice, world, &caller),
        90..94 => Request::Resolve {
            host: host(dice, world, &caller).0,
        },
        _ => custom(dice),
    };
    let mut found = found(dice, &request);
    if longest_path(&request) > 4_000 {
        // By another name of its directory it would be longer than the kernel takes.
        found.root_is = None;
    }
    Case {
        caller,
        now: super::BASE + dice.between(0, 4) * 500,
        request,
        found,
    }
}

fn longest_path(request: &Request) -> usize {
    match request {
        Request::FileRead { path, .. } => path.len(),
        Request::FileWrite { path, to, .. } => path.len().max(to.len()),
        Request::Terminal { directory, .. } => directory.len(),
        _ => 0,
    }
}

/// Below one of the granted directories most times.
fn path(dice: &mut Dice, world: &World, caller: &str, permission: &str) -> String {
    if dice.percent(4) {
        return match dice.below(14) {
            12 => format!("/srv/{}", "n".repeat(256)),
            13 => format!("/{}", "abcdefg/".repeat(512)) + "x",
            _ => dice.word(&ODD_PATHS),
        };
    }
    // As long as the kernel takes them; the model takes its time over these.
    match dice.below(1_000) {
        0..10 => return format!("/srv/{}", "n".repeat(255)),
        10 => return format!("/srv/{}", "abc/".repeat(1022)) + "xy",
        _ => {}
    }
    let listed = |list: &str| -> Vec<&str> {
        let given = world.given(caller, permission);
        let list = given.and_then(|given| given[list].as_array());
        let texts = list.into_iter().flatten();
        texts.filter_map(|entry| entry.as_str()).collect()
    };
    let files = listed("files");
    if !files.is_empty() && dice.percent(30) {
        // Itself, or close to it.
        let file = dice.word(&files);
        return match dice.below(8) {
            0 => file + "x",
            1 => file + "/a",
            2 => file
                .rsplit_once('/')
                .map_or(file.clone(), |(parent, _)| format!("{parent}/b")),
            _ => file,
        };
    }
    let granted = listed("directories");
    let root = match granted.as_slice() {
        [] => dice.word(&ROOTS),
        _ if dice.percent(20) => dice.word(&ROOTS),
        granted => dice.word(granted),
    };
    below(dice, &root)
}

fn below(dice: &mut Dice, root: &str) -> String {
    let mut path = if root == "/" {
        String::new()
    } else {
        root.to_owned()
    };
    for _ in 0..dice.below(4) {
        path.push('/');
        path.push_str(dice.pick(&NAMES));
    }
    if dice.percent(4) {
        // A name that only begins like the directory's.
        path.push('x');
    }
    if path.is_empty() || path.starts_with('x') {
        path.insert(0, '/');
    }
    path
}

fn file_read(dice: &mut Dice, world: &World, caller: &str) -> Request {
    Request::FileRead {
        action: dice.pick(&["read", "read", "list", "stat"]),
        path: path(dice, world, caller, "file_read"),
        offset: if dice.percent(70) {
            0
        } else {
            dice.between(0, 40)
        },
        length: if dice.percent(50) {
            0
        } else {
            dice.between(0, 40)
        },
    }
}

fn file_write(dice: &mut Dice, world: &World, caller: &str) -> Request {
    let actions = [
        "look", "write", "write", "append", "create", "mkdir", "mkdir -p", "delete", "rename",
        "rename",
    ];
    let action = dice.pick(&actions);
    let path = path(dice, world, caller, "file_write");
    let to = match action {
        "rename" => self::path(dice, world, caller, "file_write"),
        _ => String::new(),
    };
    let bytes = match action {
        "write" | "append" | "create" if dice.percent(80) => dice.between(0, 30),
        _ => 0,
    };
    Request::FileWrite {
        action,
        path,
        to,
        bytes,
    }
}

fn env(dice: &mut Dice) -> Request {
    let key = match dice.below(10) {
        0 => String::new(),
        1 => dice.word(&["9A", "A-B", "A B", "a.b", "\u{c4}", "RUMI_*"]),
        _ => dice.word(&KEYS),
    };
    Request::Env { key }
}

fn terminal(dice: &mut Dice, world: &World, caller: &str) -> Request {
    let mut argv = vec![match dice.percent(4) {
        true => dice.word(&[
            "",
            "-x",
            "a/b",
            "./ls",
            "..",
            "/",
            "/bin/",
            "l s",
            "/bin/../sh",
            "git\n",
        ]),
        false => dice.word(&PROGRAMS),
    }];
    let arguments = [
        "log", "status", "push", "origin", "-n", "x", "-c", "a b", "a/b", "**", "",
    ];
    for _ in 0..dice.below(4) {
        argv.push(dice.word(&arguments));
    }
    if dice.percent(30) {
        // One that was granted in so many words.
        let near = [
            "git log",
            "git log --all",
            "grep -n x file",
            "sh -c ls",
            "/opt/git status",
            "git push origin",
        ];
        argv = dice.word(&near).split(' ').map(str::to_owned).collect();
    }
    if dice.percent(2) {
        argv.push("a\0".to_owned());
    }
    if dice.percent(1) {
        argv.clear();
    }
    Request::Terminal {
        argv,
        directory: path(dice, world, caller, "terminal"),
        timeout_ms: if dice.percent(50) {
            None
        } else {
            Some(dice.between(1, 150))
        },
    }
}

/// A host, and a port where the grant names one for it; one of the granted hosts most times.
fn host(dice: &mut Dice, world: &World, caller: &str) -> (String, Option<String>) {
    if dice.percent(3) {
        let odd = match dice.below(16) {
            14 => "a".repeat(64) + ".com",
            15 => "abc.".repeat(63) + "com",
            _ => dice.word(&ODD_HOSTS),
        };
        return (odd, None);
    }
    let key = dice.word(&["allowed_domains", "allowed_domains", "tcp", "intercept"]);
    let granted: Vec<&str> = world
        .given(caller, "network")
        .and_then(|given| given[&key].as_array())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_str())
        .collect();
    if granted.is_empty() || dice.percent(25) {
        return (dice.word(&HOSTS), None);
    }
    let entry = dice.word(&granted);
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry.as_str(), None),
    };
    let host = host.trim_matches(['[', ']']);
    let below = dice.word(&["api.", "a.b.", "x-"]);
    (host.replace("*.", &below), port.map(str::to_owned))
}

fn in_url(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

fn fetch(dice: &mut Dice, world: &World, caller: &str) -> Request {
    let method = match dice.percent(4) {
        true => dice.word(&["get", "", "CONNECT", "TRACE", "GE T", "A-B"]),
        false => dice.word(&["GET", "GET", "GET", "POST", "DELETE", "PURGE"]),
    };
    let scheme = match dice.percent(3) {
        true => dice.word(&["HTTPS://", "ftp://", "//", "", "http:/", "file://"]),
        false => dice.word(&["https://", "https://", "http://"]),
    };
    let user = if dice.percent(2) { "u:p@" } else { "" };
    let (host, granted) = host(dice, world, caller);
    let host = in_url(&host);
    let port = match (dice.below(40), granted) {
        (0..25, Some(port)) => format!(":{port}"),
        (0..25, None) => String::new(),
        (25, _) => dice.word(&[":", ":0", ":65536", ":+443", ":0443", ":x", ":443:1"]),
        _ => dice.word(&[":443", ":80", ":8443", ":5432", ":53", ":65535"]),
    };
    let paths = [
        "",
        "/",
        "/v1",
        "/v1/",
        "/v1/x",
        "/v1/x/y",
        "/a/b",
        "/v1//x",
        "/v1/../x",
        "/v1/%2e%2e/x",
        "/v1/a%2fb",
        "/v1/a%5Cb",
        "/v1/./x",
        "/V1/x",
        "/v1/x.y",
        "/v1/...",
    ];
    let path = dice.word(&paths);
    let query = match dice.percent(3) {
        true => dice.word(&["?a b", "?x#y", "?\u{e4}", "?\\", "?<"]),
        false => dice.word(&["", "", "?q=1", "?/v1/../", "?%2f"]),
    };
    let headers = match dice.percent(20) {
        true => dice.words(
            &[
                "X-HTTP-Method-Override",
                "x_original_url",
                "X-Forwarded-Path",
                "Accept",
            ],
            1,
            2,
        ),
        false => Vec::new(),
    };
    Request::Fetch {
        method,
        url: format!("{scheme}{user}{host}{port}{path}{query}"),
        headers,
    }
}

fn tunnel(dice: &mut Dice, world: &World, caller: &str) -> Request {
    let (host, granted) = host(dice, world, caller);
    let host = in_url(&host);
    let port = match (dice.below(40), granted) {
        (0, _) => dice.word(&["", ":", ":0", ":65536", ":0443", ":1:2"]),
        (1..25, Some(port)) => format!(":{port}"),
        _ => dice.word(&[":443", ":443", ":80", ":8443", ":5432", ":53"]),
    };
    let open_as = match dice.percent(35) {
        true => Some(dice.pick(&["tls", "intercepted", "http", "tcp"])),
        false => None,
    };
    Request::Tunnel {
        authority: host + &port,
        open_as,
    }
}

fn custom(dice: &mut Dice) -> Request {
    let handler = match dice.percent(5) {
        true => dice.word(&["../x", "Word", "network", "", "1a", "a-b", "no_such"]),
        false => dice.word(&HANDLERS),
    };
    Request::Custom {
        handler,
        bytes: dice.pick(&[0, 2, 100, 1 << 20, (1 << 20) + 1]),
        depth: dice.pick(&[0, 0, 0, 1, 3, 4, 5]),
    }
}

/// What is there, most times nothing unusual.
fn found(dice: &mut Dice, request: &Request) -> Found {
    let kind = |dice: &mut Dice, usual: &'static str| match dice.below(12) {
        0 => Some("symlink"),
        1 => Some("other"),
        2 => Some("directory"),
        3 => Some("file"),
        _ => Some(usual),
    };
    let mut found = Found {
        size: dice.between(0, 40),
        links: if dice.percent(10) { 2 } else { 1 },
        usage: (!dice.percent(4)).then(|| (dice.between(0, 60), dice.between(0, 60))),
        values: dice.between(0, 40),
        owner: if dice.percent(10) { 0 } else { 1000 },
        in_place: dice.percent(30),
        missing: dice.between(0, 3),
        handler: dice.pick(&[
            "ready",
            "ready",
            "ready",
            "ready, needs a scope",
            "missing",
            "refused",
        ]),
        arguments_fit: !dice.percent(15),
        hello: "unread".to_owned(),
        ..Found::default()
    };
    if dice.percent(12) {
        let root = dice.word(&ROOTS);
        found.leads_to = Some(below(dice, &root));
    }
    if dice.percent(12) {
        let root = dice.word(&ROOTS);
        found.to_leads_to = Some(below(dice, &root));
    }
    if dice.percent(6) {
        found.root_is = Some("/mnt/disk".to_owned());
        if found.leads_to.is_some() && dice.percent(50) {
            found.leads_to = Some(below(dice, "/mnt/disk"));
        }
    }
    match request {
        Request::FileRead { action, .. } => {
            found.kind = kind(
                dice,
                if *action == "list" {
                    "directory"
                } else {
                    "file"
                },
            );
        }
        Request::FileWrite { action, .. } => {
            let usual = if *action == "mkdir" {
                "directory"
            } else {
                "file"
            };
            let there = *action == "rename" || *action == "delete" || dice.percent(50);
            found.kind = there.then(|| kind(dice, usual)).flatten();
            let taken = *action == "rename" && dice.percent(30);
            found.to_kind = taken.then(|| kind(dice, "file")).flatten();
        }
        Request::Terminal { argv, .. } => found.programs = programs(dice, argv),
        Request::Fetch { url, .. } => addresses(dice, url, &mut found),
        Request::Tunnel { authority, .. } => addresses(dice, authority, &mut found),
        _ => {}
    }
    found
}

/// Where programs lie, links followed: `sh` is busybox here and there, and `/opt/git` is git's own.
fn programs(dice: &mut Dice, argv: &[String]) -> BTreeMap<String, String> {
    let sh = dice.word(&["/usr/bin/dash", "/usr/bin/busybox"]);
    let mut programs = BTreeMap::new();
    for (name, lies_at) in [
        ("ls", "/usr/bin/ls"),
        ("git", "/usr/bin/git"),
        ("/usr/bin/git", "/usr/bin/git"),
        ("grep", "/usr/bin/grep"),
        ("sh", sh.as_str()),
        ("/bin/sh", sh.as_str()),
        ("busybox", "/usr/bin/busybox"),
        ("sudo", "/usr/bin/sudo"),
        ("/opt/git", "/opt/git"),
    ] {
        programs.insert(name.to_owned(), lies_at.to_owned());
    }
    if let Some(program) = argv.first() {
        let program = program.clone();
        programs
            .entry(program)
            .or_insert_with(|| "/usr/bin/true".to_owned());
    }
    programs
}

fn addresses(dice: &mut Dice, target: &str, found: &mut Found) {
    let all = [
        "93.184.216.34",
        "93.184.216.34",
        "1.1.1.1",
        "1.1.1.1",
        "8.8.4.4",
        "2606:4700::1111",
        "10.0.0.7",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "::1",
        "fd00::7",
        "fe80::1",
    ];
    found.addresses = match dice.percent(40) {
        true => vec!["93.184.216.34".to_owned()],
        false => dice.words(&all, 0, 2),
    };
    for literal in ["93.184.216.34", "10.0.0.7", "2606:4700::1111"] {
        if target.contains(literal) && dice.percent(80) {
            found.addresses = vec![literal.to_owned()];
        }
    }
    if dice.percent(15) {
        found.own = dice.words(&["1.1.1.1", "10.0.0.7", "93.184.216.34", "fd00::7"], 1, 2);
    }
    if dice.percent(30) {
        let ranges = [
            "10.0.0.0/8",
            "10.0.0.7/32",
            "fd00::/8",
            "1.1.1.1/32",
            "127.0.0.0/8",
            "1.0.0.0/8",
        ];
        found.exceptions = dice.words(&ranges, 1, 2);
    }
    let host = HOSTS
        .iter()
        .filter(|host| target.contains(*host))
        .max_by_key(|host| host.len());
    found.hello = match (dice.below(10), host) {
        (0, _) => "nameless".to_owned(),
        (1, _) => "other".to_owned(),
        (2, _) => dice.word(&HOSTS),
        (3, _) => "unread".to_owned(),
        (_, Some(host)) => (*host).to_owned(),
        (_, None) => "example.com".to_owned(),
    };
}

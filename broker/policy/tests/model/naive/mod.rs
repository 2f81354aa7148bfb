//! The policy once more, from what its documentation says and from nothing else: plain texts, lists and
//! loops, as slow as they come.
//!
//! A request may be wrong in several ways. The model names all of them, in steps; the policy has to
//! name one of those of the first step in which there is any, because the documentation does not say
//! in which order it looks within a step.

mod custom;
mod env;
mod file_read;
mod file_write;
mod network;
mod places;
mod spelling;
mod terminal;
mod wildcards;

use serde_json::Value;

use crate::request::{Case, Request, Terms};
use crate::world::{File, World};

/// What holds against a request: each word is a reason to refuse it.
pub type Objections = Vec<&'static str>;

/// What it is allowed with, or all that holds against it.
pub type Opinion = Result<Terms, Objections>;

/// A permission as a component has it: what its grant says, and the scope.
pub struct Given<'a> {
    grant: &'a Value,
    scope: &'a Value,
    protected: &'a [String],
}

/// What every permission may have, so that it is nothing of a handler's configuration.
const NOT_CONFIGURATION: [&str; 8] = [
    "enabled",
    "mode",
    "not_before",
    "expires_at",
    "max_uses",
    "rate_per_minute",
    "ask",
    "always",
];

/// The first half: may this be asked.
pub fn ask(world: &World, case: &Case) -> Opinion {
    if spelling::is_malformed(&case.request) {
        return Err(vec!["bad_request"]);
    }
    let given = standing(world, case)?;
    match &case.request {
        Request::FileRead { action, path, .. } => file_read::ask(&given, action, path),
        Request::FileWrite {
            action,
            path,
            to,
            bytes,
        } => file_write::ask(&given, action, path, to, *bytes),
        Request::Env { key } => env::ask(&given, key),
        Request::Terminal {
            argv,
            directory,
            timeout_ms,
        } => terminal::ask(&given, argv, directory, *timeout_ms),
        Request::Fetch {
            method,
            url,
            headers,
        } => network::fetch(&given, method, url, headers),
        Request::Tunnel { authority, open_as } => network::tunnel(&given, authority, *open_as),
        Request::Resolve { host } => network::resolve(&given, host),
        Request::Custom { bytes, depth, .. } => custom::ask(&given, *bytes, *depth),
    }
}

/// The second half: is what was found what was allowed.
pub fn confirm(world: &World, case: &Case) -> Opinion {
    let given = standing(world, case)?;
    let found = &case.found;
    match &case.request {
        Request::FileRead {
            action,
            path,
            offset,
            length,
        } => file_read::confirm(&given, action, path, (*offset, *length), found),
        Request::FileWrite {
            action,
            path,
            to,
            bytes,
        } => file_write::confirm(&given, action, path, to, *bytes, found),
        Request::Env { .. } => env::confirm(&given, found),
        Request::Terminal {
            argv, directory, ..
        } => terminal::confirm(&given, argv, directory, found),
        Request::Fetch { url, .. } => network::confirm_fetch(url, found),
        Request::Tunnel { authority, .. } => network::confirm_tunnel(&given, authority, found),
        Request::Resolve { .. } => Ok(Terms::new()),
        Request::Custom { .. } => custom::confirm(&given, found),
    }
}

/// Whether the component has the permission at all.
fn standing<'a>(world: &'a World, case: &Case) -> Result<Given<'a>, Objections> {
    let permission = case.request.permission();
    let file = world.grants.iter().find(|(name, _)| *name == case.caller);
    let grant = match file {
        None => return Err(vec!["no_grant"]),
        Some((_, File::Broken(_))) => return Err(vec!["grant_invalid"]),
        Some((_, File::Sound(grant))) => grant,
    };
    let Some(given) = grant["permissions"].get(permission) else {
        return Err(vec!["no_grant"]);
    };
    let mut objections = Vec::new();
    if given["enabled"] != Value::Bool(true) {
        objections.push("disabled");
    }
    let scope = world.scopes.iter().find(|(name, _)| name == permission);
    let is_custom = matches!(case.request, Request::Custom { .. });
    let scope = match scope {
        Some((_, File::Sound(scope))) if scope["version"] == "1.0" => scope,
        // A handler needs no scope unless it says so.
        None if is_custom => &Value::Null,
        _ => {
            objections.push("scope_invalid");
            &Value::Null
        }
    };
    // From its first moment on, and up to its last and not in it.
    if time(&given["not_before"]).is_some_and(|begin| case.now < begin) {
        objections.push("not_yet_valid");
    }
    if time(&given["expires_at"]).is_some_and(|end| case.now >= end) {
        objections.push("expired");
    }
    if objections.is_empty() {
        Ok(Given {
            grant: given,
            scope,
            protected: &world.protected,
        })
    } else {
        Err(objections)
    }
}

/// Milliseconds since 1970 of a time such as `2023-11-15T00:13:20.5+02:00`, counted day by day.
fn time(value: &Value) -> Option<u64> {
    let text = value.as_str()?;
    let number = |from: usize, to: usize| -> u64 { text[from..to].parse().unwrap() };
    let mut days = 0;
    for year in 1970..number(0, 4) {
        days += if is_leap(year) { 366 } else { 365 };
    }
    let february = if is_leap(number(0, 4)) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for month in 1..number(5, 7) {
        days += months[usize::try_from(month).unwrap() - 1];
    }
    days += number(8, 10) - 1;
    let seconds = days * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    let zone = text[19..].find(['Z', 'z', '+', '-']).unwrap() + 19;
    let fraction = format!("{:0<4}", text[19..zone].trim_start_matches('.'));
    let millis = seconds * 1_000 + fraction[..3].parse::<u64>().unwrap();
    let Some(sign) = text[zone..].chars().next().filter(|c| "+-".contains(*c)) else {
        return Some(millis);
    };
    let offset = (number(zone + 1, zone + 3) * 60 + number(zone + 4, zone + 6)) * 60_000;
    Some(if sign == '+' {
        millis - offset
    } else {
        millis + offset
    })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The objections of the first step that has any; without any, the terms.
fn first(steps: Vec<Objections>, terms: Terms) -> Opinion {
    for step in steps {
        if !step.is_empty() {
            return Err(step);
        }
    }
    Ok(terms)
}

impl Given<'_> {
    /// A list of the grant; the scope's default where the grant is silent.
    fn texts(&self, key: &str) -> Option<Vec<String>> {
        texts(&self.grant[key]).or_else(|| texts(&self.scope["default_config"][key]))
    }

    fn ports(&self, key: &str) -> Option<Vec<u64>> {
        numbers(&self.grant[key]).or_else(|| numbers(&self.scope["default_config"][key]))
    }

    /// A list that only a grant has.
    fn granted(&self, key: &str) -> Vec<String> {
        texts(&self.grant[key]).unwrap_or_default()
    }

    /// A list of the scope's limits.
    fn limit_texts(&self, key: &str) -> Vec<String> {
        texts(&self.scope["limits"][key]).unwrap_or_default()
    }

    fn limit_ports(&self, key: &str) -> Vec<u64> {
        numbers(&self.scope["limits"][key]).unwrap_or_default()
    }

    /// What the grant says, else the scope's default, else what the broker has built in.
    fn wanted(&self, key: &str, built_in: u64) -> u64 {
        let granted = self.grant[key].as_u64();
        let default = self.scope["default_config"][key].as_u64();
        granted.or(default).unwrap_or(built_in)
    }

    fn ceiling(&self, key: &str) -> Option<u64> {
        self.scope["limits"][key].as_u64()
    }

    /// The smaller number counts.
    fn number(&self, key: &str, built_in: u64) -> u64 {
        let wanted = self.wanted(key, built_in);
        match self.ceiling(key) {
            Some(ceiling) if ceiling < wanted => ceiling,
            _ => wanted,
        }
    }

    /// What is said of so many bytes: too many for the grant, or for the scope.
    fn too_many(&self, bytes: u64, key: &str, built_in: u64) -> Objections {
        let mut objections = Vec::new();
        if bytes > self.wanted(key, built_in) {
            objections.push("too_large");
        }
        if self.ceiling(key).is_some_and(|ceiling| bytes > ceiling) {
            objections.push("scope_limit");
        }
        objections
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    Some(
        list.iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect(),
    )
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    let list = value.as_array()?;
    Some(list.iter().map(|port| port.as_u64().unwrap()).collect())
}

//! A small policy to ask things of.

use rumi_policy::{
    AbsPath, Capability, ComponentId, Denial, Permit, PolicySet, PolicySource, SourceFile,
    UnixMillis, decide,
};

pub const ME: &str = "default:tool:my_tool";

pub fn me() -> ComponentId {
    ME.parse().unwrap()
}

pub fn path(text: &str) -> AbsPath {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

pub fn file(name: impl Into<String>, text: impl AsRef<[u8]>) -> SourceFile {
    SourceFile {
        name: name.into(),
        bytes: text.as_ref().to_vec(),
    }
}

/// The scopes that are shipped.
pub fn scopes() -> Vec<SourceFile> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scopes");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        files.push(file(name, std::fs::read(entry.path()).unwrap()));
    }
    files
}

pub fn grant_text(permissions: &str) -> String {
    format!(r#"{{"component_id": "{ME}", "permissions": {permissions}}}"#)
}

/// A policy in which [`ME`] has these permissions under the shipped scopes.
pub fn policy(permissions: &str) -> PolicySet {
    let set = PolicySet::compile(source(permissions));
    assert!(set.problems().is_empty(), "{:?}", set.problems());
    set
}

pub fn source(permissions: &str) -> PolicySource {
    PolicySource {
        grants: vec![file(format!("{ME}.json"), grant_text(permissions))],
        scopes: scopes(),
        protected: vec![path("/srv/rumi/grants"), path("/srv/state")],
    }
}

/// The same with other limits for one permission.
pub fn policy_with_scope(permissions: &str, scope: &str, text: &str) -> PolicySet {
    let mut source = source(permissions);
    let name = format!("{scope}.json");
    source.scopes.retain(|file| file.name != name);
    source.scopes.push(file(name, text));
    let set = PolicySet::compile(source);
    assert!(set.problems().is_empty(), "{:?}", set.problems());
    set
}

pub fn ask<C: Capability>(set: &PolicySet, ask: C::Ask) -> Result<Permit<C>, Denial> {
    decide::<C>(set, &me(), ask, UnixMillis(1_700_000_000_000))
}

/// The reason of a refusal, or `ok`.
pub fn reason<T>(answer: &Result<T, Denial>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(denial) => denial.reason.as_str(),
    }
}

pub fn remedy(denial: &Denial) -> String {
    denial
        .remedy
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

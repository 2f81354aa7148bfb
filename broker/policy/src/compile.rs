//! From a grant and the scopes to the rules a request meets.

use std::collections::BTreeMap;

use crate::conditions::Conditions;
use crate::grant::{CustomGrant, EnvGrant, FileGrant, Grant, NetworkGrant, TerminalGrant};
use crate::host::Port;
use crate::ids::HandlerName;
use crate::json::JsonError;
use crate::path_glob;
use crate::permission::Permission;
use crate::quota::Quota;
use crate::rules::domains::Domains;
use crate::rules::endpoints::Endpoints;
use crate::rules::globs::Globs;
use crate::rules::injections::Injections;
use crate::rules::roots::Roots;
use crate::rules::{
    Ceiling, CustomRule, EnvRule, FileRule, Narrowed, NetworkRule, Slot, TerminalRule,
};
use crate::scope::custom::CustomScope;
use crate::scope::{
    Bound, EnvTerms, FileTerms, NetworkTerms, Scope, TerminalTerms, Terms, USUAL_METHODS,
};

/// The effective rights of one component.
#[derive(Debug)]
pub struct Rights {
    pub(crate) file: Box<str>,
    pub(crate) grant: Grant,
    pub(crate) file_read: Slot<FileRule>,
    pub(crate) file_write: Slot<FileRule>,
    pub(crate) env_read: Slot<EnvRule>,
    pub(crate) terminal: Slot<TerminalRule>,
    pub(crate) network: Slot<NetworkRule>,
    pub(crate) custom: BTreeMap<HandlerName, Slot<CustomRule>>,
}

/// The scopes that were read, each where its permission looks for it.
#[derive(Debug, Default)]
pub struct Scopes {
    list: Vec<Scope>,
    /// Scopes of handlers; nothing where the file is not valid.
    custom: BTreeMap<HandlerName, Option<CustomScope>>,
}

impl Scopes {
    pub(crate) fn insert(&mut self, scope: Scope) {
        self.list.push(scope);
    }

    pub(crate) fn get(&self, permission: Permission) -> Option<&Scope> {
        self.list
            .iter()
            .find(|scope| scope.permission() == permission)
    }

    pub(crate) fn insert_custom(&mut self, name: HandlerName, scope: Option<CustomScope>) {
        self.custom.insert(name, scope);
    }

    pub(crate) fn custom(&self, name: &HandlerName) -> Option<&CustomScope> {
        self.custom.get(name)?.as_ref()
    }

    pub(crate) fn file(&self, permission: Permission) -> Option<&FileTerms> {
        match &self.get(permission)?.terms {
            Terms::FileRead(terms) | Terms::FileWrite(terms) => Some(terms),
            _ => None,
        }
    }

    pub(crate) fn env(&self) -> Option<&EnvTerms> {
        match &self.get(Permission::EnvRead)?.terms {
            Terms::EnvRead(terms) => Some(terms),
            _ => None,
        }
    }

    pub(crate) fn terminal(&self) -> Option<&TerminalTerms> {
        match &self.get(Permission::Terminal)?.terms {
            Terms::Terminal(terms) => Some(terms),
            _ => None,
        }
    }

    pub(crate) fn network(&self) -> Option<&NetworkTerms> {
        match &self.get(Permission::Network)?.terms {
            Terms::Network(terms) => Some(terms),
            _ => None,
        }
    }
}

impl Rights {
    pub(crate) fn compile(file: &str, grant: Grant, scopes: &Scopes) -> Result<Self, JsonError> {
        let file_slot = |grant: Option<&FileGrant>, permission| {
            let terms = scopes.file(permission);
            slot(
                grant,
                |g| (g.enabled, &g.conditions),
                terms,
                |grant, terms| file_rule(grant, terms, permission),
            )
        };
        Ok(Self {
            file: file.into(),
            file_read: file_slot(grant.file_read(), Permission::FileRead)?,
            file_write: file_slot(grant.file_write(), Permission::FileWrite)?,
            env_read: slot(
                grant.env_read(),
                |g| (g.enabled, &g.conditions),
                scopes.env(),
                env_rule,
            )?,
            terminal: slot(
                grant.terminal(),
                |g| (g.enabled, &g.conditions),
                scopes.terminal(),
                terminal_rule,
            )?,
            network: slot(
                grant.network(),
                |g| (g.enabled, &g.conditions),
                scopes.network(),
                network_rule,
            )?,
            custom: grant
                .custom()
                .iter()
                .map(|(name, grant)| (name.clone(), custom_slot(name, grant, scopes)))
                .collect(),
            grant,
        })
    }
}

impl Rights {
    /// Configurations of handlers that do not fit their scopes.
    pub(crate) fn misfits(&self) -> impl Iterator<Item = JsonError> {
        self.custom.iter().filter_map(|(name, slot)| match slot {
            Slot::Ready(rule, _) => {
                let why = rule.config.as_ref().err()?;
                Some(JsonError::field(format!("permissions.{name}"), why.clone()))
            }
            _ => None,
        })
    }
}

/// A configuration that does not fit its scope denies the handler and not the whole grant: the
/// scope of a handler comes and goes with the handler.
fn custom_slot(name: &HandlerName, grant: &CustomGrant, scopes: &Scopes) -> Slot<CustomRule> {
    if !grant.enabled {
        return Slot::Disabled;
    }
    let (merged, scoped) = match scopes.custom.get(name) {
        Some(None) => return Slot::ScopeInvalid,
        Some(Some(scope)) => (scope.effective(&grant.config), true),
        None => (Ok(grant.config.clone()), false),
    };
    let config = merged
        .map(|config| serde_json::Value::Object(config).to_string().into())
        .map_err(|(key, message)| format!("`{key}`: {message}"));
    Slot::ready(CustomRule { config, scoped }, &grant.conditions)
}

fn slot<G, T, R>(
    grant: Option<&G>,
    head: impl Fn(&G) -> (bool, &Conditions),
    terms: Option<&T>,
    rule: impl Fn(&G, &T) -> Result<R, JsonError>,
) -> Result<Slot<R>, JsonError> {
    let Some(grant) = grant else {
        return Ok(Slot::Missing);
    };
    let (enabled, conditions) = head(grant);
    Ok(match terms {
        _ if !enabled => Slot::Disabled,
        None => Slot::ScopeInvalid,
        Some(terms) => Slot::ready(rule(grant, terms)?, conditions),
    })
}

fn ceiling(granted: Option<u64>, bound: Bound) -> Ceiling {
    Ceiling::of(granted, bound.default, bound.limit)
}

fn file_rule(
    grant: &FileGrant,
    terms: &FileTerms,
    permission: Permission,
) -> Result<FileRule, JsonError> {
    let exclude = grant.exclude.as_deref().unwrap_or(&terms.exclude);
    let globs = Globs::new(grant.patterns.as_deref(), exclude).map_err(|message| {
        JsonError::field(format!("permissions.{permission}.patterns"), message)
    })?;
    let mut files = grant.files.clone().unwrap_or_default();
    files.sort();
    Ok(FileRule {
        roots: Roots::new(grant.directories.clone()),
        files,
        globs,
        max_bytes: ceiling(grant.max_bytes, terms.max_bytes),
        quota: terms.quota.as_ref().map_or(Quota::NONE, |quota| Quota {
            bytes: ceiling(grant.quota_bytes, quota.bytes).value,
            files: ceiling(grant.quota_files, quota.files).value,
        }),
        passthrough: grant.passthrough.unwrap_or(false),
        limits: terms.limits.clone(),
    })
}

fn env_rule(grant: &EnvGrant, terms: &EnvTerms) -> Result<EnvRule, JsonError> {
    let mut keys = grant.allowed_keys.clone();
    keys.sort();
    Ok(EnvRule {
        keys,
        max_bytes: ceiling(grant.max_bytes, terms.max_bytes),
        limits: terms.limits.clone(),
    })
}

fn terminal_rule(grant: &TerminalGrant, terms: &TerminalTerms) -> Result<TerminalRule, JsonError> {
    Ok(TerminalRule {
        roots: Roots::new(grant.directories.clone()),
        commands: grant.allowed_commands.clone(),
        env: grant.env.clone().unwrap_or_default().into_iter().collect(),
        mode: grant.mode,
        timeout_ms: ceiling(grant.timeout_ms, terms.timeout_ms).value,
        max_output_bytes: ceiling(grant.max_output_bytes, terms.max_output_bytes).value,
        memory_bytes: ceiling(grant.memory_mb, terms.memory_mb)
            .value
            .saturating_mul(1 << 20),
        limits: terms.limits.clone(),
    })
}

fn network_rule(grant: &NetworkGrant, terms: &NetworkTerms) -> Result<NetworkRule, JsonError> {
    let ports = grant.allowed_ports.as_ref().map_or_else(
        || terms.ports.clone(),
        |ports| ports.iter().filter_map(|port| Port::new(*port)).collect(),
    );
    let paths = grant.paths.as_deref().map(path_glob::compile).transpose();
    let paths = paths.map_err(|message| JsonError::field("permissions.network.paths", message))?;
    let methods = grant
        .methods
        .clone()
        .unwrap_or_else(|| terms.methods.clone());
    let has = |usual: &&str| methods.iter().any(|method| method.as_str() == *usual);
    Ok(NetworkRule {
        domains: Domains::new(&grant.allowed_domains),
        ports,
        tcp: Endpoints::new(grant.tcp.as_deref().unwrap_or_default()),
        paths,
        narrowed: Narrowed {
            // A scope narrows as well, by what it has apply where the grant is silent.
            methods: grant.methods.is_some() || !USUAL_METHODS.iter().all(has),
            paths: grant.paths.is_some(),
        },
        inject: Injections::new(grant.inject.as_ref()),
        intercept: grant.intercept.iter().flatten().cloned().collect(),
        methods,
        timeout_ms: ceiling(grant.timeout_ms, terms.timeout_ms).value,
        max_response_bytes: ceiling(grant.max_response_bytes, terms.max_response_bytes).value,
        limits: terms.limits.clone(),
    })
}

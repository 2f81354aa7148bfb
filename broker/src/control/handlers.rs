//! `packctl handlers ls`, and what `doctor` says of handlers.

use std::{collections::BTreeSet, sync::Arc};

use rumi_policy::HandlerName;
use rumi_proto::v1;

use super::{ControlService, doctor::Findings};
use crate::custom::{Handlers, Shown};

impl ControlService {
    /// All handlers, then files that cannot be any.
    pub(super) fn handler_list(&self) -> Vec<v1::HandlerStatus> {
        let Some(handlers) = self.packs.broker().handlers() else {
            return Vec::new();
        };
        let shown = handlers
            .shown()
            .into_iter()
            .map(|shown| self.status_of(shown));
        let strangers = handlers
            .strangers()
            .into_iter()
            .map(|stranger| v1::HandlerStatus {
                name: stranger.file,
                state: "refused".to_owned(),
                message: stranger.why,
                ..v1::HandlerStatus::default()
            });
        shown.chain(strangers).collect()
    }

    fn status_of(&self, shown: Shown) -> v1::HandlerStatus {
        let (mut state, mut message) = (shown.state, shown.message);
        let requires_scope = shown.meta.as_ref().is_some_and(|meta| meta.requires_scope);
        let policy = self.packs.broker().policy().current();
        if requires_scope && policy.set.custom_scope(&shown.name).is_none() {
            state = "refused";
            message = format!(
                "it requires a scope, and there is no valid scopes/{}.json",
                shown.name
            );
        }
        v1::HandlerStatus {
            state: state.to_owned(),
            message,
            requires_scope,
            has_schema: shown
                .meta
                .as_ref()
                .is_some_and(|meta| meta.schema.is_some()),
            description: shown.meta.map(|meta| meta.description).unwrap_or_default(),
            calls: shown.calls,
            component_id: shown.name.component().to_string(),
            name: shown.name.to_string(),
        }
    }

    pub(super) fn handler_findings(&self, findings: &mut Findings) {
        for handler in self.handler_list() {
            let name = &handler.name;
            if handler.state == "refused" {
                findings.error(
                    "handler",
                    format!("`{name}` is refused: {}", handler.message),
                    "mend or remove its file in docker/handlers; docker/handlers/README.md says what one needs",
                );
            } else {
                findings.ok("handler", format!("`{name}` is {}", handler.state));
            }
        }
        let Some(handlers) = self.packs.broker().handlers() else {
            return;
        };
        self.grants_without_handler(handlers, findings);
        self.reserved_directories(findings);
    }

    /// A grant may come before its handler, or outlive it; whoever relies on it should know.
    fn grants_without_handler(&self, handlers: &Arc<Handlers>, findings: &mut Findings) {
        let known: BTreeSet<HandlerName> = handlers
            .shown()
            .into_iter()
            .map(|shown| shown.name)
            .collect();
        let policy = self.packs.broker().policy().current();
        let mut missing = BTreeSet::new();
        for component in policy.set.components() {
            let grant = policy.set.grant(component);
            let named = grant.into_iter().flat_map(|grant| grant.custom().keys());
            let unknown = named.filter(|name| !known.contains(*name));
            missing.extend(unknown.map(|name| (component.clone(), name.clone())));
        }
        for (component, name) in missing {
            findings.warning(
                "grant",
                format!("the grant of `{component}` names `{name}`, and there is no such handler"),
                &format!(
                    "put it into docker/handlers/{name}.py, or: packctl grant rm {component} {name}"
                ),
            );
        }
    }

    /// Packs of these names are made of handlers; a directory of the admin's is never looked into.
    fn reserved_directories(&self, findings: &mut Findings) {
        let packs = self.packs.broker().layout().packs();
        let entries = std::fs::read_dir(packs).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("handler-") && entry.path().is_dir() {
                findings.error(
                    "pack",
                    format!(
                        "`docker/packs/{}` is not used: such names are kept for custom handlers",
                        name.escape_debug()
                    ),
                    "rename the directory, and `id` in its pack.json",
                );
            }
        }
    }
}

//! The names of granted commands, as programs in a component's container: links to the guest, which asks
//! for what it is called.

use std::{collections::BTreeSet, fs, io, os::unix::fs::symlink, path::Path, sync::Arc};

use rumi_policy::{ComponentId, TerminalGrant};

use super::Packs;
use crate::container::GUEST;

impl Packs {
    /// Makes the names of a component's commands what its grant says now.
    pub(super) fn name_commands(&self, component: &ComponentId) {
        let policy = self.broker.policy().current();
        let grant = policy.set.grant(component);
        let names = names(grant.and_then(|grant| grant.terminal()));
        let directory = self.broker.layout().component_programs(component);
        if let Err(error) = keep(&directory, &names) {
            // Nothing is allowed or refused by these names; the command can still be asked for.
            tracing::error!(%component, %error, "the names of its commands are not up to date");
        }
    }

    /// Follows the grants for as long as the process lives.
    pub fn follow_grants(self: &Arc<Self>) {
        let mut changes = self.broker.policy().subscribe();
        let packs = Arc::downgrade(self);
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(packs) = packs.upgrade() else {
                    return;
                };
                for running in packs.shown(&[]).into_iter().filter_map(|one| one.running) {
                    for user in &running.components {
                        packs.name_commands(&user.component);
                    }
                }
            }
        });
    }
}

/// The last part of each granted command, where it is one that can be a program's.
fn names(grant: Option<&TerminalGrant>) -> BTreeSet<String> {
    grant
        .filter(|grant| grant.enabled)
        .into_iter()
        .flat_map(|grant| &grant.allowed_commands)
        .map(|command| command.program().name())
        // The guest would take itself for the guest.
        .filter(|name| *name != "guest" && !name.starts_with("rumi-guest"))
        .map(str::to_owned)
        .collect()
}

fn keep(directory: &Path, wanted: &BTreeSet<String>) -> io::Result<()> {
    let mut missing = wanted.clone();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let known = entry
            .file_name()
            .to_str()
            .is_some_and(|name| missing.remove(name));
        if !known {
            fs::remove_file(entry.path())?;
        }
    }
    for name in missing {
        symlink(GUEST, directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go_with_the_grant() {
        let directory = tempfile::tempdir().unwrap();
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let there = || {
            let entries = fs::read_dir(directory.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<BTreeSet<String>>()
        };
        for wanted in [of(&["git", "ls"]), of(&["ls", "wc"]), of(&[])] {
            keep(directory.path(), &wanted).unwrap();
            assert_eq!(there(), wanted);
        }
        keep(directory.path(), &of(&["git"])).unwrap();
        let target = fs::read_link(directory.path().join("git")).unwrap();
        assert_eq!(target, Path::new(GUEST));
    }
}

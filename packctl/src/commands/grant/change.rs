//! What `grant add` and `grant rm` share: validate, write, show what changed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rumi_policy::{
    ComponentId, Grant, PolicySet, SourceFile,
    edit::{EditError, Edited},
};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{in_force, place_and_message, report};
use crate::{
    atomic,
    context::Context,
    diff,
    failure::{Exit, Failure},
    policy_files,
};

/// What became of the file.
#[derive(Debug, Serialize)]
struct Changed {
    component: String,
    file: String,
    changed: bool,
    diff: Vec<String>,
}

/// A file before and after its edit.
pub(super) struct Written {
    path: PathBuf,
    before: Option<Vec<u8>>,
    edited: Edited,
}

/// Edits the grant of `component`, shows what changed, and waits until that is in force.
pub(in crate::commands) fn apply(
    context: &mut Context,
    component: &ComponentId,
    edit: impl FnOnce(Option<&[u8]>) -> Result<Edited, Failure>,
) -> Result<(), Failure> {
    let written = write(context, component, edit)?;
    let Written {
        path,
        before,
        edited,
    } = &written;
    show(context, component, path, before.as_deref(), edited)?;
    if edited.changed {
        in_force::wait(context);
    }
    Ok(())
}

/// Edits the grant of `component` under a lock. An invalid file is neither
/// edited nor written.
pub(super) fn write(
    context: &Context,
    component: &ComponentId,
    edit: impl FnOnce(Option<&[u8]>) -> Result<Edited, Failure>,
) -> Result<Written, Failure> {
    let directory = context.grants()?;
    fs::create_dir_all(&directory).map_err(Failure::files("create", &directory))?;
    let lock = lock(&directory)?;
    let path = policy_files::grant_path(context, component)?;
    let before = policy_files::read_existing(&path)?;
    if let Some(bytes) = &before
        && let Err(problem) = Grant::parse(&component.grant_file(), bytes)
    {
        report(context.console, &problem);
        context
            .console
            .say("nothing was changed: packctl does not edit a grant it cannot read");
        return Err(Failure::Said(Exit::Failed));
    }
    let edited = edit(before.as_deref())?;
    if edited.changed {
        validate(context, component, &edited.bytes)?;
        atomic::replace(&path, &edited.bytes)?;
    }
    drop(lock);
    Ok(Written {
        path,
        before,
        edited,
    })
}

/// Whether an edit could be made now; nothing is written.
pub(in crate::commands) fn check(
    context: &Context,
    component: &ComponentId,
    edit: impl FnOnce(Option<&[u8]>) -> Result<Edited, Failure>,
) -> Result<(), Failure> {
    let directory = context.grants()?;
    rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK)
        .map_err(|error| Failure::files("write to", &directory)(error.into()))?;
    let path = policy_files::grant_path(context, component)?;
    let before = policy_files::read_existing(&path)?;
    validate(context, component, &edit(before.as_deref())?.bytes)
}

/// Two packctl at once would each lose the other's change. The lock is on the
/// directory, because the file itself is replaced.
fn lock(directory: &Path) -> Result<File, Failure> {
    let file = File::open(directory).map_err(Failure::files("open", directory))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|error| Failure::files("lock", directory)(error.into()))?;
    Ok(file)
}

/// Refuses what the broker would refuse; the scopes are asked too.
fn validate(context: &Context, component: &ComponentId, bytes: &[u8]) -> Result<(), Failure> {
    let name = component.grant_file();
    let refuse = |problem: &rumi_policy::Problem| Failure::Failed {
        message: format!(
            "the grant would be invalid: {}; nothing was changed",
            place_and_message(problem)
        ),
        hint: problem.remedy.clone(),
    };
    Grant::parse(&name, bytes).map_err(|problem| refuse(&problem))?;
    let mut source = policy_files::source(context)?;
    source.grants.retain(|file| file.name != name);
    source.grants.push(SourceFile {
        name: name.clone(),
        bytes: bytes.to_vec(),
    });
    let set = PolicySet::compile(source);
    let own = format!("grants/{name}");
    match set.problems().iter().find(|problem| problem.file == own) {
        Some(problem) => Err(refuse(problem)),
        None => Ok(()),
    }
}

fn show(
    context: &mut Context,
    component: &ComponentId,
    path: &Path,
    before: Option<&[u8]>,
    edited: &Edited,
) -> Result<(), Failure> {
    let old = String::from_utf8_lossy(before.unwrap_or_default()).into_owned();
    let new = String::from_utf8_lossy(&edited.bytes).into_owned();
    let lines = if edited.changed {
        diff::marked(&diff::lines(&old, &new))
    } else {
        Vec::new()
    };
    let changed = Changed {
        component: component.to_string(),
        file: path.display().to_string(),
        changed: edited.changed,
        diff: lines,
    };
    if !changed.changed {
        context
            .console
            .say(&format!("nothing to change in `{}`", path.display()));
    }
    context.out.one(&changed, |changed| {
        let mut lines = Vec::new();
        if changed.changed {
            let from = if before.is_some() {
                changed.file.as_str()
            } else {
                "/dev/null"
            };
            lines.push(format!("--- {from}"));
            lines.push(format!("+++ {}", changed.file));
            lines.extend(changed.diff.iter().cloned());
        }
        lines
    })
}

/// A change that is none, or that the file does not take.
pub(in crate::commands) fn refused(error: &EditError) -> Failure {
    let message = error.to_string();
    match error {
        EditError::Value(_) | EditError::Values { .. } | EditError::Config(_) => Failure::Usage {
            message,
            hint: "`packctl grant add --help` shows what each permission takes".to_owned(),
        },
        EditError::Missing {
            component,
            permission,
        } => Failure::Usage {
            message,
            hint: format!(
                "grant something with it, as in `packctl grant add {component} {permission} …`"
            ),
        },
        EditError::File(_) | EditError::Shape | EditError::Disabled { .. } => Failure::Failed {
            message,
            hint: "nothing was changed; `packctl grant lint` checks all files".to_owned(),
        },
    }
}

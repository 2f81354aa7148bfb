//! `packctl tool rm NAME`

use std::{fs, io};

use serde::Serialize;

use super::{name::ToolName, place::Place, show, start};
use crate::{broker, context::Context, failure::Failure, policy_files};

/// Stop a tool that was added, and remove it with its grants
///
/// The grants go with it, so that a tool which is given this name later has none of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Name of the tool
    name: ToolName,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    component: String,
    /// Permissions that it had been granted.
    grants: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let place = Place::new(context, &self.name)?;
        place.read()?;
        let row = Row {
            name: self.name.to_string(),
            component: self.name.component().to_string(),
            grants: show::grants(context, &self.name)?,
        };
        let grant = policy_files::grant_path(context, self.name.component())?;
        broker::converse(context, async move |mut client, context| {
            // First, so that the broker forgets a pack which has no directory.
            let before = place.take()?;
            if let Err(failure) = start::down(&mut client, self.name.pack()).await {
                before.put_back()?;
                return Err(failure);
            }
            match fs::remove_file(&grant) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::files("remove", grant)(error));
                }
                _ => {}
            }
            drop(before);
            context.out.one(&row, |row| {
                let mut lines = vec![format!("removed {}", row.component)];
                if !row.grants.is_empty() {
                    lines.push(format!(
                        "its grants are gone as well: {}",
                        row.grants.join(", ")
                    ));
                }
                lines
            })
        })
    }
}

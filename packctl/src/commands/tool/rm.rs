//! `packctl tool rm NAME…`

use std::{fs, io, path::PathBuf};

use rumi_policy::PackId;
use serde::Serialize;

use super::{name::ToolName, place::Place, show, start};
use crate::{
    broker::{self, Client},
    context::Context,
    failure::Failure,
    policy_files,
};

/// Stop tools that were added, and remove them with their grants
///
/// The grants go with a tool, so that one which is given its name later has none of them. Where one of the
/// names is no tool's, none is removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// Names of the tools
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ToolName>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    component: String,
    /// Permissions that it had been granted.
    grants: Vec<String>,
}

/// A tool that is there, and what goes with it.
#[derive(Debug)]
struct Doomed {
    place: Place,
    pack: PackId,
    grant: PathBuf,
    row: Row,
}

impl Doomed {
    fn find(context: &Context, name: &ToolName) -> Result<Self, Failure> {
        let place = Place::new(context, name)?;
        place.read()?;
        Ok(Self {
            place,
            pack: name.pack().clone(),
            grant: policy_files::grant_path(context, name.component())?,
            row: Row {
                name: name.to_string(),
                component: name.component().to_string(),
                grants: show::grants(context, name)?,
            },
        })
    }

    async fn remove(self, client: &mut Client) -> Result<Row, Failure> {
        // First, so that the broker forgets a pack which has no directory.
        let before = self.place.take()?;
        if let Err(failure) = start::down(client, &self.pack).await {
            before.put_back()?;
            return Err(failure);
        }
        match fs::remove_file(&self.grant) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::files("remove", self.grant)(error));
            }
            _ => {}
        }
        drop(before);
        Ok(self.row)
    }
}

impl Rm {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let mut names: Vec<&ToolName> = Vec::new();
        for name in &self.names {
            if !names.iter().any(|known| known.pack() == name.pack()) {
                names.push(name);
            }
        }
        let found = names.iter().map(|name| Doomed::find(context, name));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        broker::converse(context, async move |mut client, context| {
            for tool in found {
                let row = tool.remove(&mut client).await?;
                context.out.one(&row, said)?;
            }
            Ok(())
        })
    }
}

fn said(row: &Row) -> Vec<String> {
    let mut lines = vec![format!("removed {}", row.component)];
    if !row.grants.is_empty() {
        let grants = row.grants.join(", ");
        lines.push(format!("its grants are gone as well: {grants}"));
    }
    lines
}

//! `packctl init PACK`

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rumi_policy::PackId;
use serde::Serialize;

use crate::{context::Context, failure::Failure};

const MANIFEST: &str = include_str!("pack.json");
const CODE: &str = include_str!("main.py");
const README: &str = include_str!("README.md");
/// Stands for the pack's id in the files above.
const PLACEHOLDER: &str = "PACK_ID";

/// Write the skeleton of a new pack
///
/// It has one tool that works at once: build it, call it, and grant it something.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Name of the pack: lower-case letters, digits, `_` and `-`
    pack: PackId,
}

#[derive(Debug, Serialize)]
struct Written {
    pack: String,
    directory: String,
    files: Vec<String>,
    next: Vec<String>,
}

impl Init {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let packs = context.packs()?;
        let directory = packs.join(self.pack.as_str());
        if directory.symlink_metadata().is_ok() {
            return Err(Failure::Failed {
                message: format!(
                    "pack `{}` exists already (`{}`); nothing was changed",
                    self.pack,
                    directory.display()
                ),
                hint: "choose another name".to_owned(),
            });
        }
        fs::create_dir_all(&packs).map_err(Failure::files("create", &packs))?;
        let files = [
            ("pack.json", MANIFEST),
            ("main.py", CODE),
            ("README.md", README),
        ];
        write(&packs, &directory, self.pack.as_str(), &files)?;
        let written = Written {
            pack: self.pack.to_string(),
            files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
            next: next(self.pack.as_str()),
            directory: directory.display().to_string(),
        };
        context.out.one(&written, |written| {
            let mut lines: Vec<String> = written
                .files
                .iter()
                .map(|file| format!("wrote {}/{file}", written.directory))
                .collect();
            lines.push(String::new());
            lines.push("next:".to_owned());
            lines.extend(written.next.iter().map(|command| format!("  {command}")));
            lines
        })
    }
}

fn next(pack: &str) -> Vec<String> {
    vec![
        format!("packctl up {pack} --yes"),
        format!(r#"packctl call {pack}:tool:hello --args '{{"name": "world"}}'"#),
        format!("packctl grant add {pack}:tool:hello file_read DIR"),
    ]
}

/// Writes beside and renames, so that the pack is there whole or not at all.
fn write(
    packs: &Path,
    directory: &Path,
    pack: &str,
    files: &[(&str, &str)],
) -> Result<(), Failure> {
    let temporary = tempfile::Builder::new()
        .prefix(".packctl-")
        .tempdir_in(packs)
        .map_err(Failure::files("write into", packs))?;
    for (name, text) in files {
        let path = temporary.path().join(name);
        fs::write(&path, text.replace(PLACEHOLDER, pack))
            .map_err(Failure::files("write", &path))?;
    }
    // Temporary directories are private; packs are read by whoever builds them.
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755))
        .map_err(Failure::files("open up", directory))?;
    fs::rename(temporary.path(), directory).map_err(Failure::files("write", directory))?;
    // What was renamed away is no longer there to be removed.
    drop(temporary.keep());
    Ok(())
}

#[cfg(test)]
mod tests {
    use rumi_policy::manifest::Manifest;

    use super::*;

    #[test]
    fn the_manifest_is_valid_for_short_and_long_names() {
        for pack in ["a", "my-pack_2", &"x".repeat(48)] {
            let text = MANIFEST.replace(PLACEHOLDER, pack);
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            assert_eq!(manifest.id.as_str(), pack);
            let component = manifest.components.first().unwrap();
            assert_eq!(component.id.to_string(), format!("{pack}:tool:hello"));
            assert_eq!(component.entry.as_str(), "main.py");
        }
    }
}

//! A policy as an admin has it: files with text in them, and what is meant by them.

use rumi_policy::{AbsPath, PolicySet, PolicySource, SourceFile};
use serde_json::Value;

/// A file of the policy.
#[derive(Clone, Debug, PartialEq)]
pub enum File {
    /// What it says, in the form the documentation describes.
    Sound(Value),
    /// A text that is no valid file of its kind, whatever it is.
    Broken(String),
}

impl File {
    fn text(&self) -> String {
        match self {
            Self::Sound(value) => value.to_string(),
            Self::Broken(text) => text.clone(),
        }
    }
}

/// All files, by the names they have without `.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub grants: Vec<(String, File)>,
    pub scopes: Vec<(String, File)>,
    pub protected: Vec<String>,
}

impl World {
    pub fn compile(&self) -> PolicySet {
        let files = |files: &[(String, File)]| {
            let file = |(name, file): &(String, File)| SourceFile {
                name: format!("{name}.json"),
                bytes: file.text().into_bytes(),
            };
            files.iter().map(file).collect()
        };
        let protected = self.protected.iter();
        PolicySet::compile(PolicySource {
            grants: files(&self.grants),
            scopes: files(&self.scopes),
            protected: protected
                .map(|path| path.parse::<AbsPath>().unwrap())
                .collect(),
        })
    }

    /// What the grant of a component says of a permission, where there is something to be read.
    pub fn given(&self, component: &str, permission: &str) -> Option<&Value> {
        let (_, file) = self.grants.iter().find(|(name, _)| name == component)?;
        match file {
            File::Sound(grant) => grant["permissions"].get(permission),
            File::Broken(_) => None,
        }
    }

    /// As it can be pasted into files.
    pub fn show(&self) -> String {
        let mut shown = String::new();
        for (directory, files) in [("grants", &self.grants), ("scopes", &self.scopes)] {
            for (name, file) in files {
                let text = match file {
                    File::Sound(value) => format!("{value:#}"),
                    File::Broken(text) => format!("(not valid) {text}"),
                };
                shown.push_str(&format!("--- {directory}/{name}.json\n{text}\n"));
            }
        }
        shown.push_str(&format!("--- protected: {:?}\n", self.protected));
        shown
    }
}

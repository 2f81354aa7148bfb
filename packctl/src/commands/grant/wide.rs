//! What of a grant is wider than anybody should mean.

use rumi_policy::{AbsPath, Grant};

use super::directories::Remark;

/// Everything too wide about directories of one grant.
pub(super) fn remarks(grant: &Grant) -> Vec<Remark> {
    let read = grant.file_read().map(|file| &file.directories);
    let write = grant.file_write().map(|file| &file.directories);
    let work = grant.terminal().map(|terminal| &terminal.directories);
    let of = [
        ("file_read", read),
        ("file_write", write),
        ("terminal", work),
    ];
    let directories = of.into_iter().flat_map(|(permission, directories)| {
        let directories = directories.into_iter().flatten();
        directories.map(move |directory| (permission, directory))
    });
    directories
        .filter_map(|(permission, directory)| {
            let what = too_wide(directory)?;
            Some(Remark {
                message: format!("`{permission}` of `{directory}`, which is {what}"),
                remedy: "grant the directory that is needed, or single files with `--file`"
                    .to_owned(),
            })
        })
        .collect()
}

fn too_wide(directory: &AbsPath) -> Option<&'static str> {
    let mut segments = directory
        .as_str()
        .split('/')
        .filter(|name| !name.is_empty());
    match (segments.next(), segments.next(), segments.next()) {
        (None, _, _) => Some("everything on this host that no scope forbids"),
        (Some("home"), None, _) => Some("the homes of everybody"),
        (Some("root"), None, _) | (Some("home"), Some(_), None) => Some("a whole home directory"),
        (Some(_), None, _) => Some("a whole top-level directory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wholes_are_told_from_parts() {
        for (directory, wide) in [
            ("/", true),
            ("/home", true),
            ("/home/anna", true),
            ("/home/anna/notes", false),
            ("/root", true),
            ("/root/notes", false),
            ("/srv", true),
            ("/srv/data", false),
        ] {
            let directory = directory.parse().unwrap();
            assert_eq!(too_wide(&directory).is_some(), wide, "{directory}");
        }
    }
}

//! What a person may have overlooked about the commands of a grant.

use rumi_policy::{AllowedCommand, TerminalGrant, TerminalMode};

use super::directories::Remark;

/// Programs whose arguments, or whose input, are a program. An allow-list with one of them in it
/// allows everything.
const INTERPRETERS: [&str; 26] = [
    "ash", "awk", "bash", "busybox", "csh", "dash", "deno", "ed", "expect", "fish", "gawk", "gdb",
    "ksh", "lua", "m4", "mawk", "node", "nodejs", "perl", "php", "pwsh", "ruby", "sh", "tclsh",
    "vim", "zsh",
];

/// Programs that run others when an argument, or a file in the working directory, tells them to.
const RUN_OTHERS: [(&str, &str); 33] = [
    ("apt-get", "its options name programs"),
    ("cargo", "build scripts"),
    ("cmake", "the files of the directory"),
    ("cpio", "`--rsh-command`"),
    ("docker", "everything"),
    ("env", "its arguments"),
    ("find", "`-exec`"),
    ("flock", "its arguments"),
    ("git", "`-c core.pager=…`, hooks and aliases"),
    ("less", "`!`"),
    ("make", "the files of the directory"),
    ("man", "`-P`"),
    ("more", "`!`"),
    ("nice", "its arguments"),
    ("nohup", "its arguments"),
    ("npm", "scripts"),
    ("npx", "its arguments"),
    ("parallel", "its arguments"),
    ("pip", "the files it builds"),
    ("rsync", "`-e`"),
    ("scp", "`-S`"),
    ("sed", "the command `e`"),
    ("setsid", "its arguments"),
    ("sort", "`--compress-program`"),
    ("split", "`--filter`"),
    ("ssh", "`-o ProxyCommand`"),
    ("stdbuf", "its arguments"),
    ("strace", "its arguments"),
    ("tar", "`--checkpoint-action` and `--to-command`"),
    ("time", "its arguments"),
    ("timeout", "its arguments"),
    ("xargs", "its arguments"),
    ("zip", "`-TT`"),
];

/// Everything odd about the commands of one grant.
pub(crate) fn remarks(grant: &TerminalGrant) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = grant.allowed_commands.iter().filter_map(remark).collect();
    if grant.mode == TerminalMode::Host {
        remarks.insert(0, host());
    }
    remarks
}

fn host() -> Remark {
    Remark {
        message: "THIS IS NO SANDBOX: `\"mode\": \"host\"` runs the commands on the host itself, where they \
                  read and do whatever the owner of the directory may, the network included"
            .to_owned(),
        remedy: "take `mode` out, unless the commands must see the host and the pack's author is \
                 trusted with the owner's account"
            .to_owned(),
    }
}

fn remark(entry: &AllowedCommand) -> Option<Remark> {
    let how = runs_others(entry.program().name())?;
    let message = if entry.takes_anything() {
        format!("`{entry}` can run other programs ({how})")
    } else {
        format!("`{entry}` is of a program that can run others ({how}), if a glob takes that")
    };
    Some(Remark {
        message,
        remedy: "to allow it is to allow everything the sandbox allows in that directory; the \
                 sandbox is the wall, the list is hygiene"
            .to_owned(),
    })
}

fn runs_others(name: &str) -> Option<&'static str> {
    // `python3.11` and `gcc-12` are named after their versions.
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    if INTERPRETERS.contains(&stem) || matches!(stem, "python" | "pypy") {
        return Some("its arguments are a program");
    }
    let known = RUN_OTHERS
        .iter()
        .find(|(known, _)| *known == name || *known == stem);
    known.map(|(_, how)| *how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_run_others_are_known_by_any_name() {
        for name in [
            "python3",
            "python3.11",
            "sh",
            "find",
            "git",
            "xargs",
            "awk",
            "tar",
            "env",
        ] {
            assert!(runs_others(name).is_some(), "{name}");
        }
        for name in ["ls", "cat", "wc", "pythonic", "gitk", "shasum"] {
            assert!(runs_others(name).is_none(), "{name}");
        }
    }

    #[test]
    fn globs_are_told_from_a_program_with_any_arguments() {
        let message = |entry: &str| remark(&entry.parse().unwrap()).map(|remark| remark.message);
        assert!(
            message("/usr/bin/git")
                .unwrap()
                .contains("can run other programs")
        );
        assert!(
            message("git log *")
                .unwrap()
                .contains("if a glob takes that")
        );
        assert_eq!(message("ls -l"), None);
    }
}

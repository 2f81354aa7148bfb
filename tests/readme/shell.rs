//! One shell that is given block after block.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

#[derive(Debug)]
pub(crate) struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

const END: &str = "==the block ends here==";

impl Shell {
    /// A shell in `home`, whose broker keeps state and sockets beside it.
    pub(crate) fn new(home: &Path, state: &Path, run: &Path) -> Self {
        let mut child = Command::new("bash")
            .current_dir(home)
            .env_remove("RUMI_HOME")
            .env("RUMI_STATE", state)
            .env("RUMI_RUN", run)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shell = Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(shell.run("exec 2>&1"), (0, String::new()));
        shell
    }

    /// Runs commands; their exit code and what they printed.
    pub(crate) fn run(&mut self, commands: &str) -> (i32, String) {
        let stdin = self.stdin.as_mut().unwrap();
        // What is run must not read the commands that follow.
        writeln!(
            stdin,
            "{{ {commands}\n}} </dev/null; printf '\\n{END}%d\\n' $?"
        )
        .unwrap();
        stdin.flush().unwrap();
        let mut shown = String::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the shell ended: {shown}");
            if let Some(code) = line.strip_prefix(END) {
                return (code.trim().parse().unwrap(), shown.trim_end().to_owned());
            }
            shown.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Also when an assertion failed half-way: no broker and no container may stay.
        if let Some(mut stdin) = self.stdin.take() {
            writeln!(
                stdin,
                "packctl down >/dev/null 2>&1; kill $(jobs -p) 2>/dev/null; wait; umount \"$RUMI_RUN/packs\"; exit"
            )
            .unwrap_or_default();
        }
        self.child.wait().unwrap();
    }
}

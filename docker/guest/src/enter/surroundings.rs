//! The environment of a command, as it arrives: four bytes of length, big-endian, then
//! `KEY=VALUE`, each closed by a NUL byte.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    process::Command,
};

/// Longer than what the kernel would take.
const LONGEST: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Environment(Vec<u8>);

impl Environment {
    /// Takes the environment and not one byte more.
    pub(crate) fn take(mut input: &File) -> io::Result<Self> {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Makes it all of the environment of a command.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env_clear();
        for entry in self.0.split(|byte| *byte == 0) {
            if let Some(at) = entry.iter().position(|byte| *byte == b'=') {
                let (key, value) = entry.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                command.env(OsStr::from_bytes(key), OsStr::from_bytes(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn takes_the_environment_and_leaves_the_input() {
        let mut input = file(b"\0\0\0\x08A=1\0B==\0input");
        let environment = Environment::take(&input).unwrap();
        let mut command = Command::new("x");
        environment.give_to(&mut command);
        let env: Vec<_> = command.get_envs().collect();
        let set = |key, value| (OsStr::new(key), Some(OsStr::new(value)));
        assert_eq!(env, [set("A", "1"), set("B", "=")]);
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "input");
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x02A", b"\xff\xff\xff\xff"] {
            assert!(Environment::take(&file(bytes)).is_err(), "{bytes:?}");
        }
    }
}

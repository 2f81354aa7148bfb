//! Containers whose network namespace is the runtime's work alone.
//!
//! The engine makes the namespace of a container without a network in two further processes of its own, which takes
//! longer than all else that it does to start one. Told that there is nothing to set up (`NetworkDisabled`), it leaves
//! that to the runtime: the same empty namespace with its loopback, and no files for names, which are written here. What
//! the runtime made is looked at, for an engine could understand it otherwise.

use std::{fs, io, path::Path};

use bollard::models::Mount;

use super::{
    error::EngineError,
    hardening::{Access, bind},
    surroundings::NAME_SERVER,
};

/// Names that need no asking.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Writes the files for names below `directory`, and shows them where programs look for them.
pub(super) fn names(directory: &Path) -> Result<[Mount; 2], EngineError> {
    let asked = format!("nameserver {NAME_SERVER}\noptions timeout:2 attempts:2\n");
    let written = |name: &str, text: &str, target: &str| {
        let path = directory.join(name);
        match fs::write(&path, text) {
            Ok(()) => bind(&path, target, Access::ReadOnly),
            Err(source) => Err(EngineError::Names { path, source }),
        }
    };
    Ok([
        written("resolv.conf", &asked, "/etc/resolv.conf")?,
        written("hosts", HOSTS, "/etc/hosts")?,
    ])
}

/// Whether a process has a network namespace that is not this broker's, and nothing in it but its loopback.
pub(super) fn is_alone(pid: i32) -> io::Result<bool> {
    let ours = fs::read_link("/proc/self/ns/net")?;
    let its = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let devices = fs::read_to_string(format!("/proc/{pid}/net/dev"))?;
    Ok(ours != its && only_loopback(&devices))
}

/// Two lines of headings, then one for each device: its name, a colon, its counters.
fn only_loopback(devices: &str) -> bool {
    let mut names = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim());
    names.next() == Some("lo") && names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_shares_our_network_or_has_one_is_not_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        assert!(!is_alone(child.id() as i32).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let head = "Inter-|   Receive\n face |bytes\n";
        assert!(only_loopback(&format!("{head}    lo: 0 0\n")));
        for more in ["", "  eth0: 0 0\n", "    lo: 0 0\n  eth0: 0 0\n"] {
            assert!(!only_loopback(&format!("{head}{more}")), "{more}");
        }
    }

    #[test]
    fn names_are_asked_of_the_guest() {
        let directory = tempfile::tempdir().unwrap();
        let [asked, known] = names(directory.path()).unwrap();
        assert_eq!(asked.target.as_deref(), Some("/etc/resolv.conf"));
        assert_eq!((asked.read_only, known.read_only), (Some(true), Some(true)));
        let text = fs::read_to_string(directory.path().join("resolv.conf")).unwrap();
        assert!(text.starts_with("nameserver 127.0.0.1\n"));
    }
}

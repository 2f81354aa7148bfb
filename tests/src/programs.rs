//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
        .to_owned()
}

/// A binary of the project, built beside the tests.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let mut directory = std::env::current_exe().expect("a test has an executable");
    while directory.pop() {
        let found = directory.join(name);
        if found.is_file() {
            return found;
        }
    }
    panic!("`{name}` is not built; run the tests with: make test")
}

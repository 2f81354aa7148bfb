//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ has a parent").to_owned()
}

/// A program that was built beside the test: `rumi-broker`, `packctl`, `rumi-guest`.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/functional-0123 lies one level below the programs.
    let profile = test.parent().and_then(Path::parent);
    let path = profile
        .expect("a test lies in target/PROFILE/deps")
        .join(name);
    assert!(
        path.is_file(),
        "`{}` is not built; run the tests by `make test`, which builds it first",
        path.display()
    );
    path
}

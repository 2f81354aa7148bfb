use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    super::{Running, Tmp},
    Home,
};

/// Runs Python in the container, waiting for its end or not.
fn python(up: &Running, detached: bool, code: &str) {
    let mut command = Command::new("docker");
    command.arg("exec");
    if detached {
        command.arg("--detach");
    }
    command.args(["-u", "200002:200000", up.container.as_str()]);
    let ran = command.args(["/usr/bin/python3.11", "-c", code]).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

#[tokio::test]
async fn the_kernel_counts_what_lies_in_the_tmp_of_a_container() {
    let home = Home::new().await;
    let up = home.up("tmp").await;
    let tmp = Tmp::of_init(up.pid().unwrap()).expect("a container has a /tmp of its own");
    assert!(tmp.is_empty());
    python(&up, false, "import os; os.mkdir('/tmp/directory')");
    assert!(!tmp.is_empty());
    python(&up, false, "import os; os.rmdir('/tmp/directory')");
    assert!(tmp.is_empty());
    let nameless = "import os, time; os.open('/tmp', os.O_TMPFILE | os.O_RDWR); time.sleep(100)";
    python(&up, true, nameless);
    let end = Instant::now() + Duration::from_secs(10);
    while tmp.is_empty() {
        assert!(
            Instant::now() < end,
            "a file that has no name is not counted"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn of_a_tmp_that_is_not_a_containers_nothing_is_said() {
    let host = i32::try_from(std::process::id()).unwrap();
    assert!(Tmp::of_init(host).is_none());
}

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    super::{CallCgroup, CgroupError, ContainerCgroup, Running, cgroup::freezer_only},
    Home,
};

/// Starts Python in the container, detached, and gives its pid on the host.
async fn python(home: &Home, up: &Running, code: &str) -> i32 {
    let before = pids(up);
    let started = Command::new("docker")
        .args([
            "exec",
            "-d",
            "-u",
            "200002:200000",
            up.container.as_str(),
            "/usr/bin/python3.11",
            "-c",
            code,
        ])
        .output()
        .unwrap();
    assert!(started.status.success(), "{started:?}");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(new) = pids(up).into_iter().find(|pid| !before.contains(pid)) {
            let command =
                std::fs::read_to_string(format!("/proc/{new}/cmdline")).unwrap_or_default();
            if command.contains("python3.11") && command.contains(code.get(..10).unwrap()) {
                return new;
            }
        }
        assert!(
            Instant::now() < end,
            "no process in {:?}",
            home.engine.instance()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pids(up: &Running) -> Vec<i32> {
    let output = Command::new("docker")
        .args(["top", up.container.as_str(), "-eo", "pid"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .skip(1)
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// The container's groups as they are, and as they would be without a v2 beside v1.
fn both(up: &Running) -> Vec<ContainerCgroup> {
    let found = ContainerCgroup::of_init(up.pid().unwrap()).unwrap();
    found.prepare().unwrap();
    let frozen = freezer_only(&found, up.pid().unwrap());
    std::iter::once(found).chain(frozen).collect()
}

#[tokio::test]
async fn a_call_is_limited_measured_and_ended() {
    let home = Home::new().await;
    let up = home.up("calls").await;
    for (number, cgroup) in both(&up).into_iter().enumerate() {
        let call = CallCgroup::create(&cgroup, &format!("m{number}"), 64 << 20, 20).unwrap();
        let pid = python(
            &home,
            &up,
            "import time\ntime.sleep(0.7)\nx = b'x' * (20 << 20)\ntime.sleep(100)",
        )
        .await;
        call.add(pid).unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let peak = call.memory_peak().unwrap();
        assert!(((20 << 20)..(64 << 20)).contains(&peak), "{peak}");
        assert!(!call.is_empty() && !call.oom_killed());
        let ended = call.end(Duration::from_secs(5)).await.unwrap();
        assert!(ended.memory_peak >= Some(20 << 20) && !ended.out_of_memory);
        assert!(!pids(&up).contains(&pid));
    }
}

#[tokio::test]
async fn a_call_that_takes_too_much_memory_is_seen() {
    let home = Home::new().await;
    let up = home.up("oom").await;
    for (number, cgroup) in both(&up).into_iter().enumerate() {
        let call = CallCgroup::create(&cgroup, &format!("o{number}"), 24 << 20, 20).unwrap();
        let pid = python(
            &home,
            &up,
            "import time\ntime.sleep(0.7)\nx = b'x' * (60 << 20)\ntime.sleep(100)",
        )
        .await;
        call.add(pid).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !call.oom_killed() {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(
            call.end(Duration::from_secs(5))
                .await
                .unwrap()
                .out_of_memory
        );
    }
}

#[tokio::test]
async fn nothing_escapes_the_end_of_a_call() {
    let home = Home::new().await;
    let up = home.up("chain").await;
    // Each process starts its successor in a session of its own and dies.
    let chain = "import os, time\ntime.sleep(0.5)\nfor n in range(3):\n    os.fork()\nwhile True:\n    try:\n        if os.fork():\n            os._exit(0)\n        os.setsid()\n    except OSError:\n        pass\n";
    for (number, cgroup) in both(&up).into_iter().enumerate() {
        let call = CallCgroup::create(&cgroup, &format!("c{number}"), 64 << 20, 20).unwrap();
        let pid = python(&home, &up, chain).await;
        call.add(pid).unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!call.is_empty(), "the chain broke by itself");
        let begin = Instant::now();
        call.end(Duration::from_secs(5)).await.unwrap();
        let took = begin.elapsed();
        println!("chain ended in {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = Command::new("docker")
            .args(["top", up.container.as_str(), "-eo", "pid,args"])
            .output()
            .unwrap();
        let left = String::from_utf8(left.stdout).unwrap();
        assert!(!left.contains("setsid"), "{left}");
    }
}

#[tokio::test]
async fn groups_serve_another_call_only_where_nothing_is_left_in_them() {
    let home = Home::new().await;
    let up = home.up("again").await;
    let found = both(&up);
    let patience = Duration::from_secs(20);
    let begin = async |call: &CallCgroup, code: &str| {
        let code = format!("import time\ntime.sleep(0.7)\n{code}\ntime.sleep(100)");
        let pid = python(&home, &up, &code).await;
        call.add(pid).unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        pid
    };
    for (number, cgroup) in found.iter().enumerate() {
        let new = |name: &str| {
            CallCgroup::create(cgroup, &format!("{name}{number}"), 64 << 20, 20).unwrap()
        };
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let call = new("a");
        let pid = begin(&call, "x = b'x' * (20 << 20)").await;
        assert!(call.memory_peak().unwrap() > 20 << 20);
        call.kill().unwrap();
        let again = call.bury(patience, held).await.unwrap();
        // What was held was let go of, and nothing lives.
        assert!(gone.await.is_err());
        assert!(!pids(&up).contains(&pid));
        // One group of v2 is made anew.
        let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        assert_eq!(again.is_some(), !v2);
        if let Some(again) = again {
            assert!(again.is_empty());
            let peak = again.memory_peak().unwrap();
            assert!(peak < 2 << 20, "{peak}");
            let pid = begin(&again, "x = b'x' * (5 << 20)").await;
            let peak = again.memory_peak().unwrap();
            assert!(((5 << 20)..(20 << 20)).contains(&peak), "{peak}");
            again.kill().unwrap();
            drop(again.bury(patience, ()).await.unwrap());
            assert!(!pids(&up).contains(&pid));
        }

        // A file that it left counts as its memory for as long as it is there.
        let left = format!("open('/tmp/left{number}', 'wb').write(b'x' * (4 << 20))");
        // It ran out of processes, and is asked how often that was.
        let many = "import os\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(100)\nexcept OSError:\n    pass";
        for (name, code) in [("l", left.as_str()), ("p", many)] {
            let call = new(name);
            begin(&call, code).await;
            call.kill().unwrap();
            assert!(call.bury(patience, ()).await.unwrap().is_none(), "{name}");
        }
        assert_eq!(cgroup.sweep().unwrap(), 0);
    }
}

#[tokio::test]
async fn only_processes_of_the_container_are_moved() {
    let home = Home::new().await;
    let up = home.up("foreign").await;
    let cgroup = ContainerCgroup::of_init(up.pid().unwrap()).unwrap();
    cgroup.prepare().unwrap();
    let call = CallCgroup::create(&cgroup, "f", 64 << 20, 20).unwrap();
    let mut host = Command::new("sleep").arg("100").spawn().unwrap();
    let pid = i32::try_from(host.id()).unwrap();
    assert!(matches!(call.add(pid), Err(CgroupError::Foreign { .. })));
    host.kill().unwrap();
    host.wait().unwrap();
    assert!(matches!(call.add(pid), Err(CgroupError::Gone { .. })));
    let other = home.up("neighbour").await;
    assert!(matches!(
        call.add(other.pid().unwrap()),
        Err(CgroupError::Foreign { .. })
    ));
    assert!(call.is_empty());
    for name in ["", "../x", "a/b", "a b"] {
        assert!(matches!(
            CallCgroup::create(&cgroup, name, 1 << 20, 1),
            Err(CgroupError::Name { .. })
        ));
    }
}

#[tokio::test]
async fn calls_of_a_dead_broker_are_swept() {
    let home = Home::new().await;
    let up = home.up("swept").await;
    let cgroup = ContainerCgroup::of_init(up.pid().unwrap()).unwrap();
    cgroup.prepare().unwrap();
    let call = CallCgroup::create(&cgroup, "s", 64 << 20, 20).unwrap();
    let pid = python(&home, &up, "import time\ntime.sleep(100)").await;
    call.add(pid).unwrap();
    std::mem::forget(call);
    let again = ContainerCgroup::of_init(up.pid().unwrap()).unwrap();
    assert_eq!(again.sweep().unwrap(), 1);
    assert_eq!(again.sweep().unwrap(), 0);
    assert!(!pids(&up).contains(&pid));
    assert!(pids(&up).contains(&up.pid().unwrap()));
}

/// Not a test of right or wrong: prints what a group costs. Run with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_a_group() {
    let home = Home::new().await;
    let up = home.up("measured").await;
    for (number, cgroup) in both(&up).into_iter().enumerate() {
        let mut steps = [Duration::ZERO; 5];
        let rounds = 30;
        for round in 0..rounds {
            let pid = python(&home, &up, "import time\ntime.sleep(100)").await;
            let mut begin = Instant::now();
            let mut lap = |step: usize| {
                steps[step] += begin.elapsed();
                begin = Instant::now();
            };
            let mut call =
                CallCgroup::create(&cgroup, &format!("x{number}-{round}"), 64 << 20, 20).unwrap();
            lap(0);
            call.add(pid).unwrap();
            lap(1);
            call.memory_peak().unwrap();
            lap(2);
            call.kill().unwrap();
            while !call.is_empty() {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            lap(3);
            call.remove().unwrap();
            lap(4);
        }
        let names = ["create", "add", "peak", "kill until empty", "remove"];
        let line: Vec<String> = names
            .iter()
            .zip(steps)
            .map(|(name, sum)| format!("{name} {:?}", sum / rounds))
            .collect();
        println!("way {number}: {}", line.join(", "));
    }
}

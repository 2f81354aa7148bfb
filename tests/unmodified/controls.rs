//! The servers themselves, spoken to from the host: what a pack is refused is there, and is refused by rumi alone.

use std::process::Command;

use rumi_tests::{Output, Postgres, content_sha256, own_address};

use crate::{
    sites,
    world::{DATABASE, SITES, World, world},
};

fn curl(world: &World, host: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command.arg("--cacert").arg(&world.bundle);
    for port in [80, 443] {
        command.args(["--resolve", &format!("{host}:{port}:{}", own_address())]);
    }
    Output::of(command.args(arguments)).ok()
}

#[test]
fn every_site_is_there() {
    let world = world();
    sites::packages(world);
    for host in SITES {
        for scheme in ["http", "https"] {
            let said = curl(world, host, &[&format!("{scheme}://{host}/hello")]);
            assert_eq!(said.stdout, "hello\n", "{host}");
        }
    }
    let index = curl(
        world,
        SITES[3],
        &["https://packages.example.test/simple/rumi-sample/"],
    );
    index.says(&["rumi_sample-1.0-py3-none-any.whl"]);
    let echoed = curl(
        world,
        SITES[0],
        &["--data", "sent", "https://www.example.test/echo"],
    );
    assert_eq!(echoed.stdout, "sent");
    let length = 200_000;
    let mut large = Command::new("sh");
    let program = "curl --silent --insecure --connect-to \"::$1\" https://www.example.test/large/200000 | sha256sum";
    large.args(["-c", program, "sh", &own_address().to_string()]);
    assert!(
        Output::of(&mut large)
            .stdout
            .starts_with(&content_sha256(length))
    );
}

#[test]
fn the_repository_can_be_cloned() {
    let world = world();
    sites::repository(world);
    let target = tempfile::tempdir().unwrap();
    let mut git = Command::new("git");
    let resolve = format!("http.curloptResolve=git.example.test:443:{}", own_address());
    git.env_remove("https_proxy")
        .env("GIT_SSL_CAINFO", &world.bundle);
    git.args(["-c", &resolve, "clone", "--quiet"]);
    Output::of(
        git.arg("https://git.example.test/git/notes.git")
            .arg(target.path()),
    )
    .ok();
    assert!(target.path().join("plan.md").exists());
}

#[test]
fn the_database_answers_with_and_without_tls() {
    let world = world();
    assert_eq!(world.postgres().sql("select 6 * 7"), "42");
    for (mode, tls) in [("disable", "f"), ("verify-full", "t")] {
        let place = format!(
            "host={DATABASE} hostaddr={} port={} user=rumi dbname=postgres sslmode={mode} sslrootcert={}",
            own_address(),
            Postgres::PORT,
            world.bundle.display()
        );
        let mut psql = Command::new("psql");
        psql.env("PGPASSWORD", Postgres::PASSWORD)
            .args(["-XAt", "-d", &place]);
        psql.args([
            "-c",
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
        ]);
        assert_eq!(Output::of(&mut psql).ok().stdout.trim(), tls, "{mode}");
    }
}

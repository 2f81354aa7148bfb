//! `psycopg` and a PostgreSQL server on the host.

use rumi_tests::Postgres;
use serde_json::{Value, json};

use crate::{
    surroundings::sees_nothing_else,
    world::{DATABASE, World, world},
};

fn query(world: &World, mode: &str) -> Value {
    world.postgres();
    let (password, port) = (Postgres::PASSWORD, Postgres::PORT);
    let database = format!(
        "host={DATABASE} port={port} dbname=postgres user=rumi password='{password}' sslmode={mode} connect_timeout=10"
    );
    json!({"database": database, "query": "select 6 * 7, current_user"})
}

fn grant(world: &World, component: &str) {
    let network = json!({"enabled": true, "allowed_domains": [], "tcp": [format!("{DATABASE}:{}", Postgres::PORT)]});
    world.grant(component, &json!({"network": network}));
}

#[test]
fn a_granted_database_answers_and_nothing_else_is_seen() {
    let world = world();
    world.pack("psycopg");
    let component = "psycopg:tool:granted";
    grant(world, component);
    // The last one checks the server's certificate against the roots that the container has.
    for (mode, tls) in [
        ("disable", false),
        ("require", true),
        ("verify-full sslrootcert=system", true),
    ] {
        let ran = sees_nothing_else(world, component, "query", &query(world, mode));
        assert_eq!(
            ran.answered(),
            &json!({"rows": [[42, "rumi"]], "tls": tls}),
            "{mode}: {ran:?}"
        );
    }
    let records = world.records(component, DATABASE);
    let (out, sent) = world.bytes(component, DATABASE);
    assert!(out > 0 && sent > 0, "{records:#?}");
    let log = serde_json::to_string(&records).unwrap();
    assert!(!log.contains(Postgres::PASSWORD));
}

#[test]
fn a_database_that_was_not_granted_does_not_exist() {
    let world = world();
    world.pack("psycopg");
    let component = "psycopg:tool:refused";
    for (granted, reason) in [
        (None, "no_grant"),
        (Some("www.example.test"), "domain_not_allowed"),
    ] {
        if let Some(host) = granted {
            world.grant_hosts(component, &[host]);
        }
        let ran = world.run(component, "query", &query(world, "prefer"));
        let error = ran.raised_at_once();
        assert!(error.contains("OperationalError"), "{error}");
        ran.denied(reason, DATABASE);
    }
}

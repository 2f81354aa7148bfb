//! What name servers may answer, and what becomes of it.

use std::time::{Duration, Instant};

use hickory_resolver::proto::{op::ResponseCode, rr::RecordType};
use rumi_policy::{Host, NetworkFound, Reason};

use super::{
    confirmation::{Wish, addresses},
    name_server::{Answer, NameServer, alias, at},
};
use crate::outbound::{NameServers, ResolveError, Resolver, own_addresses};

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

/// Answers A questions with these and AAAA questions with none.
async fn only_v4(name: &'static str, texts: &'static [&'static str]) -> NameServer {
    NameServer::start(move |_, kind, _| match kind {
        RecordType::A => Answer::Records(at(name, texts)),
        _ => Answer::Records(Vec::new()),
    })
    .await
}

#[tokio::test]
async fn both_families_are_asked_and_the_old_one_comes_first() {
    let server = NameServer::start(|name, kind, _| match kind {
        RecordType::A => {
            Answer::Records(at(name, &["198.51.100.1", "198.51.100.2", "198.51.100.1"]))
        }
        RecordType::AAAA => Answer::Records(at(name, &["2001:db8::1"])),
        other => panic!("{other}"),
    })
    .await;
    let found = server
        .resolver()
        .resolve(&host("api.test"))
        .await
        .unwrap()
        .addresses;
    assert_eq!(
        found,
        addresses(&["198.51.100.1", "198.51.100.2", "2001:db8::1"])
    );
}

#[tokio::test]
async fn a_literal_address_asks_nobody() {
    let server = NameServer::start(|_, _, _| Answer::Silence).await;
    for literal in ["198.51.100.7", "2001:db8::7"] {
        let found = server
            .resolver()
            .resolve(&host(literal))
            .await
            .unwrap()
            .addresses;
        assert_eq!(found, addresses(&[literal]));
    }
    assert!(server.names_asked().is_empty());
}

#[tokio::test]
async fn each_lookup_is_made_anew() {
    let server = NameServer::start(|name, kind, earlier| match kind {
        RecordType::A if earlier == 0 => Answer::Records(at(name, &["198.51.100.1"])),
        RecordType::A => Answer::Records(at(name, &["127.0.0.1"])),
        _ => Answer::Records(Vec::new()),
    })
    .await;
    let resolver = server.resolver();
    let name = host("rebinding.test");
    assert_eq!(
        resolver.resolve(&name).await.unwrap().addresses,
        addresses(&["198.51.100.1"])
    );
    assert_eq!(
        resolver.resolve(&name).await.unwrap().addresses,
        addresses(&["127.0.0.1"])
    );
}

#[tokio::test]
async fn one_bad_address_denies_the_name() {
    for bad in [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "fd00::1",
    ] {
        let server = NameServer::start(move |name, kind, _| {
            let family = if bad.contains(':') {
                RecordType::AAAA
            } else {
                RecordType::A
            };
            Answer::Records(match kind {
                RecordType::A if family == kind => at(name, &["1.1.1.1", bad]),
                RecordType::A => at(name, &["1.1.1.1"]),
                _ if family == kind => at(name, &[bad]),
                _ => Vec::new(),
            })
        })
        .await;
        let resolver = server.resolver();
        let found = resolver
            .resolve(&host("mixed.test"))
            .await
            .unwrap()
            .addresses;
        assert!(found.contains(&bad.parse().unwrap()), "{bad}: {found:?}");
        let own = own_addresses(&resolver, &found).unwrap();
        let denial = Wish::get("https://mixed.test/")
            .judged(&NetworkFound {
                addresses: found,
                own,
                exceptions: Vec::new(),
            })
            .unwrap_err();
        assert_eq!(denial.reason, Reason::BlockedAddress, "{bad}");
        assert!(!denial.sentence.contains(bad), "{}", denial.sentence);
    }
}

#[tokio::test]
async fn aliases_are_followed_to_their_end() {
    let in_one_answer = NameServer::start(|name, kind, _| match kind {
        RecordType::A => Answer::Records(
            [
                vec![alias(name, "b.test."), alias("b.test.", "c.test.")],
                at("c.test.", &["198.51.100.3"]),
            ]
            .concat(),
        ),
        _ => Answer::Records(Vec::new()),
    })
    .await;
    let one_by_one = NameServer::start(|name, kind, _| match (name, kind) {
        ("a.test.", _) => Answer::Records(vec![alias(name, "b.test.")]),
        ("b.test.", _) => Answer::Records(vec![alias(name, "c.test.")]),
        (_, RecordType::A) => Answer::Records(at(name, &["198.51.100.3"])),
        _ => Answer::Records(Vec::new()),
    })
    .await;
    for server in [in_one_answer, one_by_one] {
        let found = server
            .resolver()
            .resolve(&host("a.test"))
            .await
            .unwrap()
            .addresses;
        assert_eq!(found, addresses(&["198.51.100.3"]));
    }
}

#[tokio::test]
async fn an_alias_for_this_machine_is_found_out() {
    let server =
        NameServer::start(|name, _, _| Answer::Records(vec![alias(name, "localhost.")])).await;
    let resolver = server.resolver();
    let found = resolver
        .resolve(&host("harmless.test"))
        .await
        .unwrap()
        .addresses;
    assert!(
        found.iter().all(|address| address.is_loopback()),
        "{found:?}"
    );
    let own = own_addresses(&resolver, &found).unwrap();
    assert!(found.iter().all(|address| own.contains(address)), "{own:?}");
}

#[tokio::test]
async fn aliases_in_a_circle_end() {
    let server = NameServer::start(|name, _, _| {
        Answer::Records(vec![alias(
            name,
            if name == "a.test." {
                "b.test."
            } else {
                "a.test."
            },
        )])
    })
    .await;
    let started = Instant::now();
    server
        .resolver()
        .resolve(&host("a.test"))
        .await
        .unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_name_without_addresses_is_not_found() {
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let server = NameServer::start(move |_, _, _| Answer::Code(code)).await;
        let error = server
            .resolver()
            .resolve(&host("nowhere.test"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ResolveError::NotFound { .. }),
            "{code}: {error:?}"
        );
        assert!(error.to_string().contains("`nowhere.test`"), "{error}");
    }
}

#[tokio::test]
async fn a_failing_server_is_an_error_of_its_own() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let server = NameServer::start(move |_, _, _| Answer::Code(code)).await;
        let error = server
            .resolver()
            .resolve(&host("api.test"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ResolveError::Failed { .. }),
            "{code}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_server_costs_five_seconds_at_most() {
    let server = NameServer::start(|_, _, _| Answer::Silence).await;
    let started = Instant::now();
    let error = server
        .resolver()
        .resolve(&host("slow.test"))
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Timeout { .. }), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn half_an_answer_is_enough() {
    let server = NameServer::start(|name, kind, _| match kind {
        RecordType::A => Answer::Records(at(name, &["198.51.100.1"])),
        _ => Answer::Code(ResponseCode::ServFail),
    })
    .await;
    let found = server
        .resolver()
        .resolve(&host("old.test"))
        .await
        .unwrap()
        .addresses;
    assert_eq!(found, addresses(&["198.51.100.1"]));
}

#[tokio::test]
async fn a_flood_of_addresses_is_refused_as_a_whole() {
    // 1,500 addresses fit into a message over TCP and into no datagram.
    for (count, accepted) in [(64, true), (65, false), (1_500, false)] {
        let server = NameServer::start(move |name, kind, _| {
            let texts: Vec<String> = (0..count)
                .map(|number| format!("198.{}.{}.1", 18 + number / 256, number % 256))
                .collect();
            Answer::Records(match kind {
                RecordType::A => at(name, &texts.iter().map(String::as_str).collect::<Vec<_>>()),
                _ => Vec::new(),
            })
        })
        .await;
        match server.resolver().resolve(&host("huge.test")).await {
            Ok(found) => {
                let found = found.addresses.len();
                assert!(accepted && found == count, "{count}: {found}");
            }
            Err(error) => assert!(
                !accepted
                    && matches!(error, ResolveError::TooMany { count: seen, .. } if seen == count),
                "{count}: {error:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_bare_name_gets_no_search_domain_and_no_hosts_file() {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let local = hosts
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(1))
        .find(|name| {
            !name.contains("localhost")
                && name
                    .parse::<Host>()
                    .is_ok_and(|host| host.address().is_none())
        })
        .unwrap_or("intranet")
        .to_owned();
    for name in ["intranet".to_owned(), local] {
        let server = only_v4("elsewhere.test.", &["198.51.100.1"]).await;
        let answer = server.resolver().resolve(&host(&name)).await;
        assert_eq!(server.names_asked(), [format!("{name}.")], "{answer:?}");
    }
}

#[tokio::test]
async fn the_second_server_is_asked_when_the_first_is_dead() {
    let dead = NameServer::start(|_, _, _| Answer::Silence).await;
    let alive = only_v4("api.test.", &["198.51.100.1"]).await;
    let resolver = Resolver::new(NameServers::Listed(vec![dead.address, alive.address]));
    let found = resolver.resolve(&host("api.test")).await.unwrap().addresses;
    assert_eq!(found, addresses(&["198.51.100.1"]));
}

#[test]
fn own_addresses_are_interfaces_name_servers_and_what_leads_here() {
    let server: std::net::SocketAddr = "198.51.100.53:53".parse().unwrap();
    let resolver = Resolver::new(NameServers::Listed(vec![server]));
    let own = own_addresses(
        &resolver,
        &addresses(&["127.9.8.7", "::ffff:127.9.8.6", "198.51.100.99"]),
    )
    .unwrap();
    for expected in ["127.0.0.1", "198.51.100.53", "127.9.8.7", "127.9.8.6"] {
        assert!(
            own.contains(&expected.parse().unwrap()),
            "{expected}: {own:?}"
        );
    }
    assert!(!own.contains(&"198.51.100.99".parse().unwrap()), "{own:?}");
}

use std::net::IpAddr;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rows() -> &'static [Row] {
    ROWS.as_deref().expect("every row of the table can be read")
}

fn from_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap())),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

#[test]
fn every_row_of_the_table_is_in_force() {
    let ranges = TABLE
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with('*'))
        .count();
    assert_eq!(rows().len(), ranges);
    assert!(ranges >= 36, "the table has lost rows: {ranges}");
    assert_eq!(
        TABLE.lines().filter(|line| line.starts_with('*')).count(),
        3
    );
}

#[test]
fn each_range_is_refused_from_its_first_to_its_last_address() {
    for row in rows() {
        let first = number(row.range.network);
        let width = width_of(row.range.network);
        let last = first | (mask(width, width) & !mask(row.range.bits, width));
        for inside in [first, first + (last - first) / 2, last] {
            let inside = from_number(inside, row.range.network);
            let error = judge(inside, &[], &[]).expect_err(&format!("{inside} in {}", row.range));
            assert!(!error.why.is_empty(), "{inside}");
            assert!(error.to_string().contains("never dialled"), "{error}");
        }
    }
}

#[test]
fn what_lies_just_outside_a_range_is_judged_on_its_own() {
    let global = |address: IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    };
    let mut allowed = 0;
    for row in rows() {
        let first = number(row.range.network);
        let width = width_of(row.range.network);
        let last = first | (mask(width, width) & !mask(row.range.bits, width));
        let neighbours = [first.checked_sub(1), last.checked_add(1)];
        for outside in neighbours
            .into_iter()
            .flatten()
            .filter(|n| *n <= mask(width, width))
        {
            let outside = from_number(outside, row.range.network);
            let mapped = matches!(outside, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
            let elsewhere = rows().iter().any(|other| other.range.contains(outside));
            if !mapped {
                let expected = global(outside) && !elsewhere;
                assert_eq!(
                    judge(outside, &[], &[]).is_ok(),
                    expected,
                    "{outside} beside {}",
                    row.range
                );
                allowed += usize::from(expected);
            }
        }
    }
    assert!(
        allowed >= 20,
        "only {allowed} neighbours were reachable, so little was shown"
    );
}

#[test]
fn known_addresses() {
    let refused = [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "172.17.0.1",
        "192.168.1.1",
        "192.0.0.192",
        "255.255.255.255",
        "224.0.0.251",
        "198.18.0.1",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2001:0:7f00:1::1",
        "2001:db8::1",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
        "100::1",
        "3fff::1",
        "5f00::1",
        "4000::1",
        "e000::1",
        "1fff:ffff::1",
        "2606:4700::5efe:7f00:1",
        "2606:4700:0:0:200:5efe:a00:1",
        "2606:4700::5efe:808:808",
    ];
    for text in refused {
        assert!(
            judge(address(text), &[], &[]).is_err(),
            "{text} must be refused"
        );
    }
    let allowed = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "2000::1",
        "3ffe::1",
        "2003::1",
        "2606:4700::100:5efe:7f00:1",
    ];
    for text in allowed {
        assert_eq!(
            judge(address(text), &[], &[]),
            Ok(address(text)),
            "{text} must be reachable"
        );
    }
}

#[test]
fn mapped_addresses_are_unmapped_before_they_are_dialled() {
    assert_eq!(
        judge(address("::ffff:8.8.8.8"), &[], &[]),
        Ok(address("8.8.8.8"))
    );
}

#[test]
fn own_addresses_are_refused_in_either_form() {
    let own = [
        address("203.0.114.9"),
        address("::ffff:203.0.114.8"),
        address("2a00::5"),
    ];
    for text in [
        "203.0.114.9",
        "::ffff:203.0.114.9",
        "203.0.114.8",
        "2a00::5",
    ] {
        let error = judge(address(text), &own, &[]).unwrap_err();
        assert!(error.why.contains("this host"), "{text}: {error}");
    }
    assert!(judge(address("203.0.114.7"), &own, &[]).is_ok());
}

#[test]
fn an_exception_opens_its_range_and_nothing_beside_it() {
    let exceptions: Vec<Cidr> = vec![
        "127.0.0.1/32".parse().unwrap(),
        "10.1.0.0/16".parse().unwrap(),
    ];
    for text in ["127.0.0.1", "10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"] {
        assert!(judge(address(text), &[], &exceptions).is_ok(), "{text}");
    }
    for text in [
        "127.0.0.2",
        "10.0.255.255",
        "10.2.0.0",
        "::1",
        "64:ff9b::7f00:1",
    ] {
        assert!(judge(address(text), &[], &exceptions).is_err(), "{text}");
    }
    let own = [address("127.0.0.1")];
    assert!(
        judge(address("127.0.0.1"), &own, &exceptions).is_ok(),
        "exceptions cover own addresses"
    );
}

#[test]
fn an_exception_for_a_translator_does_not_open_what_is_behind_it() {
    let nat64: Vec<Cidr> = ["64:ff9b::/96", "2002::/16", "2001::/32", "2606::/16"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    assert!(judge(address("64:ff9b::808:808"), &[], &nat64).is_ok());
    assert!(judge(address("2002:808:808::1"), &[], &nat64).is_ok());
    for text in [
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2606::5efe:7f00:1",
        "2001:0:808:808:0:0:80ff:fffe",
    ] {
        assert!(judge(address(text), &[], &nat64).is_err(), "{text}");
    }
    let own = [address("8.8.8.8")];
    assert!(
        judge(address("64:ff9b::808:808"), &own, &nat64).is_err(),
        "our own, behind NAT64"
    );
}

#[test]
fn ranges_are_spelled_in_one_way() {
    for text in [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::/129",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10/8",
        "fe80::1/10",
        "10.0.0.0/8/8",
        "10.0.0.0/ 8",
        "010.0.0.0/8",
    ] {
        assert!(text.parse::<Cidr>().is_err(), "`{text}` must be refused");
    }
    let all: Cidr = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains(address("255.1.2.3")) && !all.contains(address("::1")));
    let one: Cidr = "2a00::1/128".parse().unwrap();
    assert!(one.contains(address("2a00::1")) && !one.contains(address("2a00::2")));
}

#[test]
fn an_exception_for_a_range_does_not_open_the_host_itself() {
    let own: Vec<IpAddr> = vec!["10.20.0.5".parse().unwrap()];
    let range: Cidr = "10.20.0.0/16".parse().unwrap();
    let just_that: Cidr = "10.20.0.5/32".parse().unwrap();
    let neighbour = "10.20.0.6".parse().unwrap();
    assert!(judge(neighbour, &own, std::slice::from_ref(&range)).is_ok());
    assert!(judge(own[0], &own, std::slice::from_ref(&range)).is_err());
    assert!(judge(own[0], &own, &[range, just_that]).is_ok());
}

#[test]
fn the_platform_service_with_a_public_address_is_refused() {
    let address = "168.63.129.16".parse().unwrap();
    assert!(judge(address, &[], &[]).is_err());
}

#[test]
fn loopback_of_ipv6_can_be_excepted() {
    let loopback: IpAddr = "::1".parse().unwrap();
    let exception: Cidr = "::1/128".parse().unwrap();
    assert!(judge(loopback, &[loopback], &[exception]).is_ok());
}

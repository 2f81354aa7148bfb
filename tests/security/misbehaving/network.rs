//! Ways out to a network.

use super::{Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[OUT];

const OUT: &[Misdeed] = &[
    Misdeed::new("connect_out", Ends::Refused),
    Misdeed::new("send_datagrams", Ends::Refused),
    Misdeed::new("resolve_names", Ends::Refused),
    Misdeed::new("list_interfaces", Ends::Refused),
    Misdeed::new("list_abstract_sockets", Ends::Refused),
    Misdeed::new("use_proxies", Ends::Refused),
];

#[test]
fn a_pack_has_no_network_no_names_and_no_proxy() {
    Scene::enter().commit_all(OUT);
}

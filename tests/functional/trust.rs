//! What a component's programs are told to trust.

use std::{fs, os::unix::fs::MetadataExt as _};

use rumi_tests::{Broker, Home};

#[test]
fn a_component_trusts_what_the_broker_trusts_and_cannot_change_it() {
    let home = Home::new();
    home.write_pack(
        "trusts",
        r#"
import os, ssl
def run(args):
    path = os.environ["SSL_CERT_FILE"]
    try:
        open(path, "a")
    except OSError as error:
        refused = error.strerror
    context = ssl.create_default_context()
    return {"path": path, "refused": refused, "loaded": context.cert_store_stats()["x509_ca"]}
"#,
    );
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let two: Vec<_> = system
        .split_inclusive("-----END CERTIFICATE-----\n")
        .take(2)
        .collect();
    let roots = home.file("roots.pem", two.concat());
    let empty = home.data("no-roots");
    let mut broker = Broker::start_with(
        home,
        &[
            ("SSL_CERT_FILE", roots.to_str().unwrap()),
            ("SSL_CERT_DIR", empty.to_str().unwrap()),
        ],
    );
    broker.up(&["trusts"]);
    let path = broker
        .home()
        .run()
        .join("packs/trusts/ca/trusts:tool:run.pem");
    let text = fs::read_to_string(&path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o644));
    // In whatever order; certificates are too long to be shown.
    assert!(text.len() == two.concat().len() && two.iter().all(|root| text.contains(root.trim())));

    let called = broker.call("trusts:tool:run", &serde_json::json!({}));
    let data = called.data();
    assert_eq!(data["path"], "/run/rumi/ca/trusts:tool:run.pem");
    assert_eq!(data["refused"], "Permission denied");
    assert_eq!(data["loaded"], 2);

    // What runs is adopted by the next start, and so is what it trusts.
    fs::write(&path, "nothing").unwrap();
    broker.restart();
    assert!(fs::read_to_string(&path).unwrap() == text);
    let around: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(around.len(), 1, "{around:?}");
}

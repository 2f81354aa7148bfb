//! A directory that is too large to hold in memory, listed page by page.

use std::{
    fs::{self, File},
    time::Instant,
};

use rumi_proto::v1;
use rumi_tests::{Broker, Home};
use serde_json::json;

const COMPONENT: &str = "probe:tool:do";
/// The bench does it with a million.
const ENTRIES: usize = 40_000;
/// Bytes of memory that listing may take, whatever the directory holds.
const PEAK: u64 = 8 << 20;

/// Long, so that all of them together would not go unnoticed.
fn name(number: usize) -> String {
    format!("{number:0>180}")
}

fn status(broker: &Broker, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Pages through a directory: how many entries there were, and on how many pages.
async fn paged(client: &mut Client, path: &str, page_size: u32) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = v1::FileListRequest {
            path: path.to_owned(),
            page_size,
            page_token,
        };
        let page = client.file_list(request).await.unwrap().into_inner();
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (names, pages);
        }
    }
}

type Client = v1::capabilities_client::CapabilitiesClient<tonic::transport::Channel>;

#[test]
fn a_huge_directory_is_paged_through_with_little_memory_and_in_linear_time() {
    let home = Home::new();
    let directory = home.data("huge");
    for number in 0..ENTRIES {
        File::create(directory.join(name(number))).unwrap();
    }
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let give = |more: &str| {
        let mut granted = json!({"enabled": true, "directories": [directory]});
        if !more.is_empty() {
            granted["patterns"] = json!([more]);
        }
        broker.grant(COMPONENT, &json!({"file_read": granted}));
    };
    give("");
    let peer = broker.component(COMPONENT);
    let path = directory.to_str().unwrap();
    broker.block_on(async {
        let mut client = peer.grpc().await;
        let request = v1::FileListRequest {
            path: path.to_owned(),
            page_size: 10_000,
            ..v1::FileListRequest::default()
        };
        client.file_list(request).await.unwrap();
        let before = status(&broker, "VmRSS:");
        // From here on the kernel notes the peak anew.
        fs::write(format!("/proc/{}/clear_refs", broker.pid()), "5").unwrap();
        let mut taken = Vec::new();
        for page_size in [10_000, 1_000] {
            let started = Instant::now();
            let (mut names, pages) = paged(&mut client, path, page_size).await;
            taken.push(started.elapsed());
            assert!(pages >= ENTRIES / page_size as usize, "{pages} pages");
            assert!(pages <= 2 * ENTRIES / 1_000, "{pages} pages");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), ENTRIES, "lost or repeated");
        }
        let peak = status(&broker, "VmHWM:").saturating_sub(before);
        assert!(peak <= PEAK, "listing took {peak} bytes");
        // Ten times the pages are not ten times the work, as when each began at the start.
        assert!(taken[1] < taken[0] * 5, "{taken:?}");
    });
    // A grant that shows next to nothing of it does not make one page read all of it.
    let last = name(ENTRIES - 1);
    give(&last);
    broker.block_on(async {
        let mut client = peer.grpc().await;
        let (names, pages) = paged(&mut client, path, 1_000).await;
        assert_eq!(names, [last]);
        assert!((2..=4).contains(&pages), "{pages} pages");
    });
}

#[test]
fn a_token_leads_nowhere_but_into_its_own_directory() {
    let world = crate::world::world();
    let home = world.broker.home();
    for number in 0..30 {
        home.file(&format!("reads/paged/one/{number:02}.txt"), "");
        home.file(&format!("reads/paged/two/{number:02}.txt"), "");
        home.file(&format!("reads/paged/two/drafts/{number:02}.txt"), "");
    }
    let peer = world.peer("reads");
    let list = |name: &str, token: &str| {
        let path = world.at(&format!("reads/paged/{name}"));
        peer.json(
            "FileList",
            &json!({"path": path, "pageSize": 10, "pageToken": token}),
        )
    };
    let first = list("one", "").ok();
    let token = first["nextPageToken"].as_str().unwrap().to_owned();
    list("one", &token).ok();
    let (cookie, inode) = token.split_once('.').unwrap();
    let forged = [
        "0",
        ".",
        "x.y",
        "-1.1",
        "1",
        "ffffffffffffffff.1",
        "1.1",
        "99999999999999999999.1",
        "0x1.1",
        "../x",
        "\u{0}",
        &format!("{cookie}.0"),
        &format!("ffffffffffffffff.{inode}"),
        &format!("{token}0"),
        &format!("{token}.{inode}"),
    ]
    .map(str::to_owned);
    for token in forged.iter().chain([&token]) {
        let reply = list("two", token);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "failed_precondition"),
            "{token}"
        );
    }
    // Made up within its own directory, it shows what may be shown, or nothing.
    let shown = list("two", "").ok();
    let token = shown["nextPageToken"].as_str().unwrap().to_owned();
    let (_, inode) = token.split_once('.').unwrap();
    for cookie in ["0", "1", "7fffffffffffffff", "123456789"] {
        let reply = list("two", &format!("{cookie}.{inode}"));
        assert!(
            [200, 400].contains(&reply.status),
            "{cookie}: {}",
            reply.status
        );
        assert!(!String::from_utf8_lossy(&reply.body).contains("drafts"));
    }
}

//! Every parser that a pack can reach, each as a function over bytes. Whatever comes, it must not
//! panic; and what it takes has to have one meaning, so that reading again what was read gives the same.
//!
//! The fuzz targets call these, and an ordinary test of the broker runs every seed through them.

#[path = "../../../docker/guest/src/network/head.rs"]
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "what reads from connections is not run here, and its own tests run it"
    )
)]
mod head;
#[path = "../../../docker/guest/src/network/message.rs"]
mod message;

use std::{fmt::Debug, future::Future, net::Ipv4Addr, pin::pin, task};

use prost::Message;
use rumi_broker::vetting::{Because, Findings, Language, MASKED, Mask, detect};
use rumi_policy::{
    AbsPath, AllowedCommand, Cidr, ComponentId, Domain, DomainEntry, EnvKey, Grant, HandlerMeta,
    HandlerName, Host, NetworkAsk, PackId, PathGlob, Pattern, RelPath, ResolveAsk, TcpEntry,
    Template, TerminalAsk, TunnelAsk, manifest::Manifest,
};
use rumi_proto::v1;
use serde::{Serialize, de::DeserializeOwned};

/// What both forms of a request can be of; the first byte picks one.
macro_rules! requests {
    ($($number:literal => $message:ident,)*) => {
        /// The body of a gRPC request: a byte for its kind, and the message.
        pub fn grpc_request(bytes: &[u8]) {
            let Some((kind, bytes)) = bytes.split_first() else { return };
            match kind.wrapping_sub(b'a') {
                $($number => decoded::<v1::$message>(v1::$message::decode(bytes).ok()),)*
                _ => {}
            }
        }

        /// The same in the JSON form.
        pub fn json_request(bytes: &[u8]) {
            let Some((kind, bytes)) = bytes.split_first() else { return };
            match kind.wrapping_sub(b'a') {
                $($number => decoded::<v1::$message>(serde_json::from_slice(bytes).ok()),)*
                _ => {}
            }
        }
    };
}

requests! {
    0 => FileReadRequest,
    1 => FileListRequest,
    2 => FileStatRequest,
    3 => FileWriteRequest,
    4 => FileMkdirRequest,
    5 => FileDeleteRequest,
    6 => FileRenameRequest,
    7 => EnvReadRequest,
    8 => TerminalRunRequest,
    9 => NetworkFetchRequest,
    10 => NetworkResolveRequest,
    11 => FileWriteChunk,
    12 => CustomCallRequest,
    13 => TerminalInput,
}

/// What was decoded says the same in both forms.
fn decoded<M>(message: Option<M>)
where
    M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let Some(message) = message else { return };
    let again = M::decode(message.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&message));
    // An enum may hold a number that has no name, which JSON has no spelling for.
    let Ok(text) = serde_json::to_vec(&message) else {
        return;
    };
    let again: M = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again, message);
}

/// What is spelled in one way only comes out as it went in.
fn spelled<T>(text: &str) -> Option<T>
where
    T: std::str::FromStr + ToString + PartialEq + Debug,
{
    let parsed: T = text.parse().ok()?;
    assert_eq!(parsed.to_string(), text);
    assert_eq!(text.parse().ok().as_ref(), Some(&parsed));
    Some(parsed)
}

/// HTTP/1.1 as the proxy reads it: heads of `CONNECT` and of requests in absolute form.
pub fn proxy_head(bytes: &[u8]) {
    let taken = now(rumi_broker::untrusted::proxied(bytes));
    for request in taken.iter().flatten().flatten() {
        // What was taken can be said again, and there is nothing in it that ends a line.
        assert!(!request.contains(char::is_control), "{request:?}");
    }
}

/// Heads as the proxy inside of a container reads them, which the broker reads once more.
pub fn guest_head(bytes: &[u8]) {
    if let Ok(Some((length, request))) = head::parse_request(bytes) {
        let whole = bytes.get(..length).unwrap_or_default();
        let again = head::parse_request(whole).ok().flatten();
        assert_eq!(again.as_ref(), Some(&(length, request)));
        let read = now(rumi_broker::untrusted::proxied(whole));
        // What is passed on must never be taken for a request of the worker that passes it on.
        if again.is_some_and(|(_, request)| request.for_proxy) {
            assert!(!matches!(read.first(), Some(None)));
        }
    }
    if let Ok(Some((length, reply))) = head::parse_reply(bytes) {
        let whole = bytes.get(..length).unwrap_or_default();
        let again = head::parse_reply(whole).ok().flatten();
        assert_eq!(again, Some((length, reply)));
    }
}

/// Questions for the address of a name, and the answers to them.
pub fn guest_query(bytes: &[u8]) {
    let told = |answer: &[u8]| {
        // It goes to whom asked, says that it is an answer, and is small.
        assert_eq!(answer.get(..2), bytes.get(..2));
        assert!(answer.len() <= message::LONGEST + 16);
        assert_eq!(message::read(answer), message::Query::Ignored);
    };
    match message::read(bytes) {
        message::Query::Question(asked) => {
            let hostly =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            assert!(asked.host.len() <= 253 && asked.host.chars().all(hostly));
            for address in [None, Some(Ipv4Addr::new(127, 64, 1, 2))] {
                told(&message::answer(bytes, &asked, address));
            }
            let mut answer = message::refusal(bytes, &asked, message::Code::NoSuchName);
            told(&answer);
            // It repeats the question that was asked, and nothing else.
            if let Some([_, _, flags, ..]) = answer.get_mut(..) {
                *flags &= 0x7f;
            }
            assert_eq!(message::read(&answer), message::Query::Question(asked));
        }
        message::Query::Unfit(code) => told(&message::without_records(bytes, code)),
        message::Query::Ignored => {}
    }
}

/// Hosts, and hosts with ports, as requests and grants have them.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(host) = spelled::<Host>(text) {
        assert!(text.is_ascii() && !text.contains(char::is_uppercase));
        let asked = ResolveAsk::parse(text).unwrap_or_else(|denial| panic!("{denial}"));
        assert_eq!(asked.host(), &host);
        let domain: Domain = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert!(domain.matches(&host));
    }
    if let Ok(asked) = TunnelAsk::parse(text) {
        assert_eq!(asked.authority(), text);
    }
    spelled::<Domain>(text);
    spelled::<DomainEntry>(text);
    spelled::<TcpEntry>(text);
    spelled::<Cidr>(text);
}

/// Paths and names.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(path) = spelled::<AbsPath>(text) {
        assert!(text.starts_with('/') && text.len() <= 4095 && !text.contains('\0'));
        assert!(!text.split('/').any(|name| matches!(name, "." | "..")));
        if let Some(parent) = path.parent() {
            assert!(path.starts_with(&parent) && !parent.starts_with(&path));
        }
    }
    spelled::<RelPath>(text);
    spelled::<Pattern>(text);
    spelled::<PathGlob>(text);
    spelled::<AllowedCommand>(text);
    spelled::<EnvKey>(text);
    spelled::<PackId>(text);
    spelled::<HandlerName>(text);
    if let Some(component) = spelled::<ComponentId>(text) {
        assert!(!component.grant_file().contains('/'));
    }
    let directory = "/srv".parse().unwrap_or_else(|error| panic!("{error}"));
    if let Ok(command) = TerminalAsk::from_command(text, directory, None) {
        assert_eq!(
            command.argv().first().map(String::as_str),
            Some(command.program().as_str())
        );
    }
}

/// The first bytes of a tunnel. They may come in any pieces, and mean the same.
pub fn client_hello(bytes: &[u8]) {
    // Beyond this length it is no hello, wherever it was cut.
    let bytes = bytes.get(..60_000).unwrap_or(bytes);
    let whole = rumi_broker::untrusted::client_hello(bytes, bytes.len().max(1));
    let pieces = rumi_broker::untrusted::client_hello(bytes, 1);
    assert_eq!(whole, pieces);
}

/// A grant's file. What was read can be written down, and is the same grant then.
pub fn grant(bytes: &[u8]) {
    const NAME: &str = "default:tool:my_tool.json";
    let Ok(grant) = Grant::parse(NAME, bytes) else {
        return;
    };
    let shown = |grant: &Grant| {
        serde_json::to_value(grant.permissions()).unwrap_or_else(|error| panic!("{error}"))
    };
    let permissions = shown(&grant);
    let text = serde_json::json!({"component_id": grant.component().to_string(), "permissions": permissions});
    let again = Grant::parse(NAME, text.to_string().as_bytes());
    let again = again.unwrap_or_else(|problem| panic!("{problem} in {text}"));
    assert_eq!(shown(&again), permissions);
}

/// A pack's manifest, and the META of a handler.
pub fn manifest(bytes: &[u8]) {
    let first = Manifest::parse(bytes).ok();
    let again = Manifest::parse(bytes).ok();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(HandlerMeta::parse(text));
    }
}

/// A line of the audit log. What is a record is JSON on one line.
pub fn audit_line(bytes: &[u8]) {
    if rumi_audit::verify::is_record(bytes) {
        assert!(!bytes.contains(&b'\n'));
        let record: serde_json::Value =
            serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(record["v"], 1);
    }
}

/// Text in which secrets are named.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(template) = spelled::<Template>(text) else {
        return;
    };
    let mut expected = text.to_owned();
    for name in template.secrets() {
        expected = expected.replacen(&format!("${{secret:{name}}}"), "v", 1);
    }
    let value = template.render(&|_| Some(zeroize::Zeroizing::new("v".to_owned())));
    let value = value.unwrap_or_else(|name| panic!("{name}"));
    assert_eq!(*value, expected);
}

/// A URL as a component asks for it.
pub fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(ask) = NetworkAsk::parse("GET", text) else {
        return;
    };
    assert!(ask.is_authority(&ask.authority()));
    let said = format!(
        "{}://{}{}",
        ask.scheme(),
        ask.authority(),
        ask.path_and_query()
    );
    let again = NetworkAsk::parse("GET", &said).unwrap_or_else(|denial| panic!("{said}: {denial}"));
    assert_eq!(again, ask);
    assert!(ask.path().starts_with('/') && !ask.path().contains('?'));
}

/// Code, of which only the language is told. The first line that says something is one of its lines.
pub fn language(bytes: &[u8]) {
    let Ok(code) = std::str::from_utf8(bytes) else {
        return;
    };
    for default in Language::ALL {
        let detected = detect(code, None, default);
        match detected.because {
            Because::Line { number, .. } => assert!(number >= 1 && number <= code.lines().count()),
            Because::Default => assert_eq!(detected.language, default),
            _ => assert!(code.starts_with("#!")),
        }
        assert_eq!(detect(code, Some("run.py"), default), {
            let named = detect(code, Some("run.py"), Language::Python);
            assert!(named.language == Language::Python || code.starts_with("#!"));
            named
        });
    }
}

/// A stream with a credential: a byte for the length of the value, the value, and what is printed.
pub fn mask(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else {
        return;
    };
    let (value, stream) = bytes.split_at(usize::from(*length).min(bytes.len()));
    let mask = Mask::new([value]);
    let whole = mask.whole(stream);
    let mut one_by_one = mask.clone();
    let mut shown: Vec<u8> = stream
        .chunks(1)
        .flat_map(|byte| one_by_one.feed(byte))
        .collect();
    shown.extend(one_by_one.finish());
    assert_eq!(shown, whole);
    let bare = value.trim_ascii();
    let holds =
        |wanted: &[u8]| !wanted.is_empty() && stream.windows(wanted.len()).any(|at| at == wanted);
    if bare == MASKED {
        // It is hidden behind itself.
    } else if holds(value) || holds(bare) {
        assert_ne!(whole, stream);
    } else if value.len() < 16 {
        assert_eq!(whole, stream);
    }
}

/// What a checker answers about code, from inside of the code's container.
pub fn findings(bytes: &[u8]) {
    let Ok(findings) = Findings::parse(Language::Python, bytes) else {
        return;
    };
    for finding in findings.list() {
        assert!(finding.line >= 1 && finding.column >= 1 && finding.found.chars().count() <= 201);
        // Advice is ours: nothing of the answer is in it but a name.
        assert!(finding.allow.len() <= 400 && !finding.allow.contains(['\n', '\x1b', ';']));
    }
}

/// Runs what waits for nothing but itself.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = task::Context::from_waker(task::Waker::noop());
    for _ in 0..1_000_000 {
        if let task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("it waits for something that never comes");
}

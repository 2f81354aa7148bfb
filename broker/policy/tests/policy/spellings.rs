//! Every spelling that is refused.

use rumi_policy::{
    AbsPath, ComponentId, Domain, DomainEntry, EnvKey, Host, HttpMethod, NetworkAsk, PackId,
    Pattern, Permission, Port, Reason, RelPath,
};

fn refused<T: std::str::FromStr + std::fmt::Debug>(texts: &[&str]) {
    for text in texts {
        if let Ok(value) = text.parse::<T>() {
            panic!("{text:?} became {value:?}");
        }
    }
}

fn kept<T: std::str::FromStr + ToString>(texts: &[&str])
where
    T::Err: std::fmt::Display,
{
    for text in texts {
        match text.parse::<T>() {
            Ok(value) => assert_eq!(value.to_string(), *text),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn pack_ids() {
    kept::<PackId>(&["a", "0", "default", "my-pack_2", &"a".repeat(48)]);
    refused::<PackId>(&[
        "",
        "-a",
        "_a",
        "A",
        "aB",
        "a b",
        "a:b",
        "a/b",
        "a.b",
        "..",
        "ä",
        "a\n",
        " a",
        "a\0",
        &"a".repeat(49),
    ]);
}

#[test]
fn component_ids() {
    kept::<ComponentId>(&["a:tool:b", "default:tool:my_tool", "p-1:service:bot"]);
    let long = format!("a:tool:{}", "n".repeat(65));
    refused::<ComponentId>(&[
        "",
        "a",
        "a:tool",
        "a:tool:",
        ":tool:b",
        "a::b",
        "a:tool:b:c",
        "a:Tool:b",
        "a:tools:b",
        "a:tool:B",
        "a:tool:../b",
        "a:tool:b/c",
        "a:tool:b.json",
        "a:tool:.b",
        "a:tool:b ",
        "a:tool:b\n",
        "a:tool:b\0",
        "a\u{ff1a}tool\u{ff1a}b",
        "../a:tool:b",
        "a:tool:\u{0430}",
        &long,
    ]);
    let id: ComponentId = "p:service:bot".parse().unwrap();
    assert_eq!(
        (id.pack_str(), id.kind().as_str(), id.name()),
        ("p", "service", "bot")
    );
    assert_eq!(id.grant_file(), "p:service:bot.json");
}

#[test]
fn absolute_paths() {
    let segment = format!("/{}", "s".repeat(255));
    let longest = format!("/{}", "ab/".repeat(1364))
        .trim_end_matches('/')
        .to_owned()
        + "c";
    assert_eq!(longest.len(), 4093);
    kept::<AbsPath>(&[
        "/",
        "/a",
        "/a/b.c",
        "/a b",
        "/%2e%2e/a",
        "/~",
        "/$HOME/x",
        "/a\nb",
        "/...",
        "/a/..b",
        "/ü",
        "/file:",
        &segment,
        &longest,
    ]);
    let too_long_segment = format!("/{}", "s".repeat(256));
    let too_long = format!("/{}", "abc/".repeat(1024)) + "d";
    assert!(too_long.len() > 4095);
    refused::<AbsPath>(&[
        "",
        "a",
        "./a",
        "../a",
        "~",
        "~/a",
        "$HOME",
        "file:///a",
        "//",
        "//a",
        "/a//b",
        "/a/",
        "/.",
        "/..",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/../a",
        "/a\0",
        "\0/a",
        "\u{ff0f}a",
        " /a",
        "\\a",
        &too_long_segment,
        &too_long,
    ]);
}

#[test]
fn paths_compare_by_segments() {
    let p = |text: &str| text.parse::<AbsPath>().unwrap();
    assert!(p("/a/b").starts_with(&p("/a")));
    assert!(p("/a").starts_with(&p("/a")));
    assert!(p("/a").starts_with(&p("/")));
    assert!(!p("/ab").starts_with(&p("/a")));
    assert!(!p("/a").starts_with(&p("/a/b")));
    assert_eq!(p("/a/b").strip_prefix(&p("/")), Some("a/b"));
    assert_eq!(p("/a").parent(), Some(p("/")));
    assert_eq!(p("/").parent(), None);
    assert!(p("/a").join("../b").is_err());
    assert_eq!(p("/").join("b").unwrap(), p("/b"));
}

#[test]
fn pack_relative_paths() {
    kept::<RelPath>(&["tool.py", "a/b.py", "a b"]);
    refused::<RelPath>(&[
        "", "/a", "../a", "a/../b", "a/", "a//b", ".", "./a", "a\0", "a\n",
    ]);
}

/// Everything some resolver or C library takes for 127.0.0.1, 169.254.169.254 or the like.
#[test]
fn hosts_that_are_addresses_in_disguise() {
    refused::<Host>(&[
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0x7f.0.0.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.0x1",
        "0",
        "0x",
        "0x0",
        "00000000",
        "256.1.1.1",
        "1.2.3.4.5",
        "127.0.0.1:80",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1\n",
        "127.0.0.1\0",
        "127。0。0。1",
        "１２７.0.0.1",
        "①27.0.0.1",
        "127.0.0.1%00",
        "%31%32%37.0.0.1",
        "0X7F000001",
        "999999999999",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "0:0:0:0:0:0:0:1",
        "::0001",
        "::1%lo",
        "::1%25lo",
        "FE80::1",
        "[::1]",
        "::1]",
        "fe80::1%eth0",
        "0::1",
        "::127.0.0.01",
        "2001:DB8::1",
        "2001:db8:0:0:0:0:0:1",
        "1::2::3",
        ":::",
        ":",
        "::g",
        "a.b.0x1",
        "a.b.1",
        "example.com.7",
    ]);
}

#[test]
fn hosts() {
    let label = "l".repeat(63);
    kept::<Host>(&[
        "example.com",
        "a",
        "a-b.c",
        "xn--bcher-kva.example",
        "1.example",
        "127.0.0.1",
        "::1",
        "8.8.8.8",
        "2606:4700::1",
        "0x7f.example",
        "1e3",
        &label,
    ]);
    let long_label = "l".repeat(64);
    let long = format!("{}a", "ab.".repeat(84)) + "b";
    assert!(long.len() > 253);
    refused::<Host>(&[
        "",
        ".",
        "example.com.",
        ".example.com",
        "a..b",
        "Example.com",
        "EXAMPLE.COM",
        "a_b.com",
        "-a.com",
        "a-.com",
        "a b.com",
        "bücher.example",
        "exa\u{ad}mple.com",
        "example\u{3002}com",
        "a/b",
        "a@b",
        "a#b",
        "a?b",
        "a\\b",
        "*.example.com",
        "a,b",
        "a%2eb",
        "a\tb",
        "a\r\nb",
        "ｅxample.com",
        "ﬁ.com",
        "ℂ.com",
        "\u{200b}a.com",
        &long_label,
        &long,
    ]);
}

#[test]
fn domains() {
    let matches = |domain: &str, host: &str| {
        domain
            .parse::<Domain>()
            .unwrap()
            .matches(&host.parse().unwrap())
    };
    assert!(matches("example.com", "example.com"));
    assert!(!matches("example.com", "www.example.com"));
    assert!(matches("*.example.com", "www.example.com"));
    assert!(matches("*.example.com", "a.b.example.com"));
    assert!(!matches("*.example.com", "example.com"));
    assert!(!matches("*.example.com", "notexample.com"));
    assert!(!matches("*.example.com", "example.com.evil.org"));
    assert!(!matches("example.com", "example.com.evil.org"));
    assert!(!matches("*.0.0.example", "127.0.0.1"));
    refused::<Domain>(&[
        "*",
        "*.",
        "**",
        "*.*",
        "a.*.b",
        "*a.com",
        "*.*.com",
        "*.127.0.0.1",
        "*.0.0.1",
        "*.::1",
        "*.Example.com",
        "",
        "example.com.",
        "http://example.com",
        "example.com/",
        "*.com.",
    ]);
    kept::<DomainEntry>(&[
        "a.com",
        "*.a.com",
        "a.com:8443",
        "*.a.com:80",
        "::1",
        "[::1]:443",
        "127.0.0.1:8080",
    ]);
    refused::<DomainEntry>(&[
        "a.com:",
        "a.com:0",
        "a.com:65536",
        "a.com:+80",
        "a.com:080",
        "a.com:80:80",
        "[::1]",
        "[::1]:",
        "[a.com]:80",
        "[127.0.0.1]:80",
        "::1:",
        "a.com:http",
        ":80",
        "[::ffff:127.0.0.1]:80",
    ]);
}

#[test]
fn small_things() {
    kept::<Port>(&["1", "443", "65535"]);
    refused::<Port>(&[
        "",
        "0",
        "65536",
        "-1",
        "+443",
        "0443",
        " 443",
        "4 43",
        "0x1bb",
        "４４３",
        "1e2",
    ]);
    kept::<EnvKey>(&["A", "_", "OPENAI_API_KEY", "a1"]);
    refused::<EnvKey>(&[
        "",
        "1A",
        "A-B",
        "A B",
        "A=B",
        "A.B",
        "A*",
        "Ä",
        "A\0",
        "A\n",
        &"A".repeat(256),
    ]);
    kept::<HttpMethod>(&["GET", "PROPFIND"]);
    refused::<HttpMethod>(&[
        "",
        "get",
        "Get",
        "GET ",
        "GET\r\n",
        "CONNECT",
        "TRACE",
        "G-T",
        "PRI*",
        &"G".repeat(25),
    ]);
    assert!(
        Permission::ALL
            .iter()
            .all(|one| one.as_str().parse() == Ok(*one))
    );
    assert!(
        Reason::ALL
            .iter()
            .all(|one| one.as_str().parse() == Ok(*one))
    );
    assert!("files_read".parse::<Permission>().is_err());
}

#[test]
fn patterns() {
    kept::<Pattern>(&[
        "*.md",
        "**/*.md",
        "docs/**",
        "a/*/b",
        "*.{md,txt}",
        "[a-c]*",
        "a?b",
    ]);
    refused::<Pattern>(&[
        "",
        "/a",
        "/**",
        "..",
        "../a",
        "a/../b",
        "a/",
        "a//b",
        "./a",
        "a/.",
        "a\\b",
        "\\",
        "[!a]",
        "[^a]",
        "[+-9]",
        "[/]",
        "a[b/c]d",
        "[",
        "{a",
        "a\0",
        &"a".repeat(1025),
    ]);
}

#[test]
fn urls() {
    let ok =
        |url: &str| NetworkAsk::parse("GET", url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let ask = ok("https://example.com");
    assert_eq!(
        (ask.host().as_str(), ask.port().get(), ask.path_and_query()),
        ("example.com", 443, "/")
    );
    assert_eq!(
        ok("http://example.com:8080/a?b=c").path_and_query(),
        "/a?b=c"
    );
    assert_eq!(ok("http://example.com?q").path_and_query(), "/?q");
    assert_eq!(
        ok("https://[2606:4700::1]:8443/").authority(),
        "[2606:4700::1]:8443"
    );
    assert_eq!(
        ok("http://127.0.0.1/").host().address(),
        Some("127.0.0.1".parse().unwrap())
    );
    let long = format!("https://example.com/{}", "a".repeat(9000));
    for url in [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "HTTPS://example.com",
        "https:/example.com",
        "https:example.com",
        "https:\\\\example.com",
        "https://",
        "https:///a",
        "https://:443",
        "https://user@example.com",
        "https://user:pw@example.com",
        "https://example.com@evil.org",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:0443",
        "https://example.com:4 43",
        "https://example.com/#f",
        "https://example.com#@evil.org",
        "https://example.com\\@evil.org",
        "https://example.com/ a",
        "https://example.com/\r\nHost: evil",
        "https://example.com/\t",
        "https://example.com/ü",
        "https://Example.com",
        "https://example.com.",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.1",
        "https://[::1",
        "https://::1/",
        "https://[::1]x/",
        "https://[127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://１２７.0.0.1/",
        "https://exam%70le.com/",
        " https://example.com",
        "https://example.com\0",
        &long,
    ] {
        let error = NetworkAsk::parse("GET", url)
            .err()
            .unwrap_or_else(|| panic!("{url:?} was accepted"));
        assert_eq!(error.reason, Reason::BadRequest, "{url}");
    }
    assert!(NetworkAsk::parse("GET / HTTP/1.1\r\nX:", "https://example.com").is_err());
    let (m, s) = ("GET".parse().unwrap(), rumi_policy::Scheme::Https);
    assert!(NetworkAsk::new(m, s, "a.com".parse().unwrap(), Port::HTTPS, "http://b/").is_err());
}

#[test]
fn errors_show_their_input_escaped_and_cut() {
    let error = "\u{1b}[31m\u{202e}x"
        .parse::<PackId>()
        .unwrap_err()
        .to_string();
    assert!(
        !error.contains('\u{1b}') && !error.contains('\u{202e}'),
        "{error:?}"
    );
    let error = "x"
        .repeat(100_000)
        .parse::<PackId>()
        .unwrap_err()
        .to_string();
    assert!(error.len() < 400, "{}", error.len());
}

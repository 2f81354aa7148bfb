//! pack.json.

use rumi_policy::manifest::{Base, Manifest, Requirements, Runner};

const FULL: &str = r#"{
  "$schema": "../pack.schema.json", "id": "notes", "version": "1.2.0", "description": "Summarises notes.",
  "requirements": ["python-dateutil==2.9.0", "requests[socks]>=2.32 ; python_version < '4'"],
  "limits": {"memory_mb": 256, "cpus": 0.5, "pids": 64, "tmp_mb": 32, "workspace_mb": 100},
  "components": [
    {"id": "notes:tool:sum", "name": "Sum", "runner": "py", "entry": "src/sum.py", "description": "Sums.",
     "schema": {"type": "object", "required": ["b", "a"]}, "timeout_ms": 1000, "memory_mb": 128},
    {"id": "notes:service:bot", "name": "Bot", "runner": "python", "entry": "bot.py", "description": "Answers."}],
  "requests": {"notes:tool:sum": {"file_read": {"directories": ["/srv/notes"]},
    "network": {"allowed_domains": ["api.example.com"], "allowed_ports": [443]}}}
}"#;

const SMALL: &str = r#"{"id": "p", "version": "1", "description": "d", "components": [
    {"id": "p:tool:t", "name": "T", "runner": "python", "entry": "t.py", "description": "d"}]}"#;

#[test]
fn a_full_manifest() {
    let manifest = Manifest::parse(FULL.as_bytes()).unwrap();
    assert_eq!(
        (manifest.id.as_str(), manifest.version.as_str()),
        ("notes", "1.2.0")
    );
    assert!(matches!(&manifest.requirements, Requirements::Lines(lines) if lines.len() == 2));
    assert_eq!(
        (manifest.limits.cpu_millis, manifest.limits.workspace_mb),
        (Some(500), Some(100))
    );
    let [sum, bot] = &manifest.components[..] else {
        panic!("two components")
    };
    assert_eq!(
        (
            sum.runner.clone(),
            sum.entry.as_str(),
            sum.timeout_ms,
            sum.memory_mb
        ),
        (Runner::Python, "src/sum.py", Some(1000), Some(128))
    );
    assert_eq!(
        sum.schema.as_ref().unwrap()["required"],
        serde_json::json!(["b", "a"])
    );
    assert!(bot.schema.is_none() && bot.timeout_ms.is_none());
    let (component, wishes) = &manifest.requests[0];
    assert_eq!(component.as_str(), "notes:tool:sum");
    assert_eq!(
        wishes.file_read.as_ref().unwrap().directories[0].as_str(),
        "/srv/notes"
    );
    let small = Manifest::parse(SMALL.as_bytes()).unwrap();
    assert_eq!(small.requirements, Requirements::None);
    assert_eq!(small.base, Base::Base);
    for (text, base, image) in [
        ("base", Base::Base, "rumi-base:latest"),
        ("tools", Base::Tools, "rumi-tools:latest"),
        ("node", Base::Node, "rumi-node:latest"),
    ] {
        let with_base = SMALL.replacen('{', &format!(r#"{{"base": "{text}", "#), 1);
        let chosen = Manifest::parse(with_base.as_bytes()).unwrap().base;
        assert_eq!((chosen, chosen.image()), (base, image));
    }
    let with_file = SMALL.replacen('{', r#"{"requirements": "requirements.txt", "#, 1);
    assert!(matches!(
        Manifest::parse(with_file.as_bytes()).unwrap().requirements,
        Requirements::File(_)
    ));
}

#[test]
fn each_runner_has_its_files_and_settings() {
    let with = |component: &str| {
        let text = SMALL.replacen(r#""runner": "python", "entry": "t.py""#, component, 1);
        Manifest::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{component}: {error}"))
    };
    let named = |text: &str| Runner::Configured(text.parse().unwrap());
    for (runner, entry, expected, base) in [
        ("py", "t.py", Runner::Python, Base::Base),
        ("javascript", "t.mjs", Runner::JavaScript, Base::Node),
        ("js", "t.js", Runner::JavaScript, Base::Node),
        ("bash", "bin/t.sh", Runner::Bash, Base::Base),
        ("ruby-3", "anything", named("ruby-3"), Base::Base),
    ] {
        let manifest = with(&format!(r#""runner": "{runner}", "entry": "{entry}""#));
        assert_eq!(manifest.components[0].runner, expected);
        assert_eq!(manifest.base, base, "{runner}");
    }
    let settings = r#""runner": "python", "entry": "t.py", "python_path": "/opt/pack/env/bin/python",
        "working_dir": "/workspace/in", "env": {"TZ": "UTC", "EMPTY": ""}"#;
    let component = with(settings).components.remove(0);
    assert_eq!(
        component.python_path.unwrap().as_str(),
        "/opt/pack/env/bin/python"
    );
    assert_eq!(component.working_dir.unwrap().as_str(), "/workspace/in");
    let env: Vec<_> = component
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(env, [("TZ", "UTC"), ("EMPTY", "")]);
}

#[test]
fn faults_name_their_field() {
    let cases = [
        (r#""id": "p""#, r#""id": "P""#, "id"),
        (r#""id": "p""#, r#""id": "q""#, "components[0].id"),
        (r#""id": "p""#, r#""ID": "p""#, "id"),
        (r#""version": "1""#, r#""version": 1"#, "version"),
        (r#""version": "1""#, r#""version": """#, "version"),
        (r#""version": "1""#, r#""version": "1\n2""#, "version"),
        (
            r#""version": "1""#,
            r#""version": "1", "extra": 1"#,
            "extra",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "base": "debian:12""#,
            "base",
        ),
        (r#""version": "1""#, r#""version": "1", "base": 1"#, "base"),
        (
            r#""version": "1""#,
            r#""version": "1", "limits": {"memory": 1}"#,
            "limits.memory",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "limits": {"cpus": 0}"#,
            "limits.cpus",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "limits": {"pids": 1e9}"#,
            "limits.pids",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["-r /etc/passwd"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["--index-url=http://evil"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["a @ file:///x"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["a --hash=x"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["a\n--index-url=x"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["./local"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["git+https://x/y"]"#,
            "requirements[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": ["a", "a"]"#,
            "requirements[1]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": "../requirements.txt""#,
            "requirements",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": "/etc/passwd""#,
            "requirements",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requirements": {}"#,
            "requirements",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requests": {"p:tool:other": {}}"#,
            "requests.p:tool:other",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requests": {"p:tool:t": {"file_read": {"directories": ["x"]}}}"#,
            "requests.p:tool:t.file_read.directories[0]",
        ),
        (
            r#""version": "1""#,
            r#""version": "1", "requests": {"p:tool:t": {"env_read": {"enabled": true, "allowed_keys": []}}}"#,
            "requests.p:tool:t.env_read.enabled",
        ),
        (
            r#""runner": "python""#,
            r#""runner": "Ruby""#,
            "components[0].runner",
        ),
        (
            r#""runner": "python""#,
            r#""runner": "bash""#,
            "components[0].entry",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "python_path": "python3.9""#,
            "components[0].python_path",
        ),
        (
            r#""runner": "python", "entry": "t.py""#,
            r#""runner": "bash", "entry": "t.sh", "python_path": "/usr/bin/python3.9""#,
            "components[0].python_path",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "working_dir": "/tmp/../etc""#,
            "components[0].working_dir",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "env": ["A=1"]"#,
            "components[0].env",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "env": {"A-B": "1"}"#,
            "components[0].env.A-B",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "env": {"A": 1}"#,
            "components[0].env.A",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "env": {"A": "a\u0000b"}"#,
            "components[0].env.A",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "env": {"RUMI_SOCKET": "/tmp/x"}"#,
            "components[0].env.RUMI_SOCKET",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "../t.py""#,
            "components[0].entry",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "/opt/t.py""#,
            "components[0].entry",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.sh""#,
            "components[0].entry",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "schema": true"#,
            "components[0].schema",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "timeout_ms": 0"#,
            "components[0].timeout_ms",
        ),
        (
            r#""entry": "t.py""#,
            r#""entry": "t.py", "uid": 0"#,
            "components[0].uid",
        ),
        (
            r#""name": "T""#,
            r#""name": "\u001b[2J""#,
            "components[0].name",
        ),
    ];
    for (from, to, field) in cases {
        let text = SMALL.replacen(from, to, 1);
        let error = Manifest::parse(text.as_bytes())
            .err()
            .unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
        assert!(
            error.to_string().starts_with("`pack.json`, field"),
            "{error}"
        );
    }
    let twice = SMALL.replace("}]}", r#"}, {"id": "p:tool:t", "name": "T", "runner": "python", "entry": "t.py", "description": "d"}]}"#);
    assert_eq!(
        Manifest::parse(twice.as_bytes())
            .unwrap_err()
            .field
            .as_deref(),
        Some("components[1].id")
    );
    let none = r#"{"id": "p", "version": "1", "description": "d", "components": []}"#;
    assert_eq!(
        Manifest::parse(none.as_bytes())
            .unwrap_err()
            .field
            .as_deref(),
        Some("components")
    );
}

#[test]
fn broken_files_name_their_line() {
    assert_eq!(
        Manifest::parse(b"{\n\"id\": \"p\",\n\"id\": \"q\"}")
            .unwrap_err()
            .line,
        Some(3)
    );
    assert_eq!(Manifest::parse(b"{\n,").unwrap_err().line, Some(2));
    assert!(Manifest::parse(b"").unwrap_err().message.contains("empty"));
    assert!(
        Manifest::parse(&vec![b' '; (1 << 20) + 1])
            .unwrap_err()
            .message
            .contains("larger")
    );
    let nested = SMALL.replace(
        r#""entry": "t.py""#,
        r#""entry": "t.py", "schema": {"a": 1, "a": 2}"#,
    );
    assert!(
        Manifest::parse(nested.as_bytes())
            .unwrap_err()
            .message
            .contains("twice"),
        "in a schema as well"
    );
}

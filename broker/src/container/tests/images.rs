use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    super::{Blueprint, BuildError, BuildRequest, Built, Context, build},
    Home,
};
use crate::config::Config;
use rumi_policy::manifest::{Base, Requirements};

/// Builds what lies there as the pack `demo`.
async fn build_demo(
    home: &Home,
    base: Base,
    requirements: &Requirements,
    config: &Config,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, BuildError> {
    let directory = home.at("pack");
    let request = BuildRequest {
        pack: &"demo".parse().unwrap(),
        directory: &directory,
        context: Context::read(&directory)?,
        base,
        requirements,
    };
    let blueprint = Blueprint::read(request, &config.build)?;
    let state = home.directory.path();
    build(&home.engine, &blueprint, config, state, progress).await
}

async fn built(
    home: &Home,
    requirements: Option<&str>,
    config: &Config,
) -> (Result<Built, BuildError>, Vec<String>) {
    let mut lines = Vec::new();
    let requirements = requirements.map_or(Requirements::None, |name| {
        Requirements::File(name.parse().unwrap())
    });
    let mut note = |line: &str| lines.push(line.to_owned());
    let result = build_demo(home, Base::Base, &requirements, config, &mut note).await;
    (result, lines)
}

fn pack(home: &Home) -> std::path::PathBuf {
    let pack = home.at("pack");
    fs::create_dir(&pack).unwrap();
    fs::write(pack.join("pack.json"), "{}").unwrap();
    fs::write(
        pack.join("tool.py"),
        "def run(args):\n    return {'n': 1}\n",
    )
    .unwrap();
    fs::write(pack.join("old.py"), "print 'another Python'\n").unwrap();
    symlink("tool.py", pack.join("link.py")).unwrap();
    pack
}

/// Runs Python in a container made from the image.
async fn inside(home: &Home, image: &super::super::ImageId, code: &str) -> String {
    let output = std::process::Command::new("docker")
        .args([
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "/usr/bin/python3.11",
            image.as_str(),
            "-c",
            code,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{output:?} {:?}",
        home.engine.instance()
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn an_image_is_built_when_its_content_changed_and_only_then() {
    let home = Home::new().await;
    let pack = pack(&home);
    let config = Config::default();
    let first = built(&home, None, &config).await.0.unwrap();
    assert!(first.changed && !first.networked);
    let later = std::time::SystemTime::now() + Duration::from_secs(100);
    fs::File::options()
        .write(true)
        .open(pack.join("tool.py"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    let begin = Instant::now();
    let second = built(&home, None, &config).await.0.unwrap();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(
        (second.changed, &second.image, &second.content),
        (false, &first.image, &first.content)
    );
    fs::write(
        pack.join("tool.py"),
        "def run(args):\n    return {'n': 2}\n",
    )
    .unwrap();
    let third = built(&home, None, &config).await.0.unwrap();
    assert!(third.changed && third.image != first.image && third.content != first.content);
    let code = "import os; f='/opt/pack/'; print(sorted(os.listdir(f)), os.stat(f+'tool.py').st_uid, oct(os.stat(f+'tool.py').st_mode), os.readlink(f+'link.py'), sorted(os.listdir(f+'__pycache__')), open(f+'__pycache__/tool.cpython-311.pyc','rb').read()[4])";
    assert_eq!(
        inside(&home, &third.image, code).await,
        "['__pycache__', 'link.py', 'old.py', 'pack.json', 'tool.py'] 0 0o100644 tool.py ['link.cpython-311.pyc', 'tool.cpython-311.pyc'] 1"
    );
    // The replaced image is gone.
    assert_eq!(
        home.engine.image_id(first.image.as_str()).await.unwrap(),
        None
    );
    println!("an unchanged build took {took:?}");
}

#[tokio::test]
async fn an_own_dockerfile_is_the_foundation_and_has_no_network() {
    let home = Home::new().await;
    let pack = pack(&home);
    fs::write(pack.join(".dockerignore"), "*\n").unwrap();
    let probe = "import os; open('/opt/mark','w').write(str(os.listdir('/sys/class/net')))";
    let dockerfile = format!(
        "FROM rumi-base AS helper\nCOPY tool.py /opt/helped.py\nFROM rumi-base:latest\nCOPY --from=helper /opt/helped.py /opt/\nRUN [\"/usr/bin/python3.11\", \"-c\", \"{probe}\"]\nUSER 12\n"
    );
    fs::write(pack.join("Dockerfile"), dockerfile).unwrap();
    let (result, lines) = built(&home, None, &Config::default()).await;
    let image = result.unwrap().image;
    assert!(
        lines.iter().any(|line| line.contains("helped.py")),
        "{lines:?}"
    );
    let code = "print(open('/opt/mark').read(), open('/opt/helped.py').read() == open('/opt/pack/tool.py').read())";
    assert_eq!(inside(&home, &image, code).await, "['lo'] True");
}

#[tokio::test]
async fn a_failing_build_gives_its_last_lines() {
    let home = Home::new().await;
    let pack = pack(&home);
    let code = "print('\\\\x1b[91mred\\\\x1b[0m'); [print('line', n) for n in range(100)]; raise SystemExit(3)";
    fs::write(
        pack.join("Dockerfile"),
        format!("FROM rumi-base\nRUN [\"/usr/bin/python3.11\", \"-c\", \"{code}\"]\n"),
    )
    .unwrap();
    let (result, lines) = built(&home, None, &Config::default()).await;
    let Err(BuildError::Failed { output }) = result else {
        panic!("{result:?}")
    };
    assert!(
        output.contains("line 99") && output.contains("returned a non-zero code: 3"),
        "{output}"
    );
    assert_eq!(output.lines().count(), 20);
    assert!(lines.iter().any(|line| line == "red"), "{lines:?}");
}

#[tokio::test]
async fn bad_packs_are_refused_before_anything_is_built() {
    let home = Home::new().await;
    let pack = pack(&home);
    let refused = async |requirements: Option<&str>, wanted: &[&str]| {
        let text = built(&home, requirements, &Config::default())
            .await
            .0
            .unwrap_err()
            .to_string();
        for part in wanted {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    };
    refused(
        Some("requirements.txt"),
        &["requirements.txt", "does not exist", "remedy"],
    )
    .await;
    fs::write(
        pack.join("requirements.txt"),
        "six\n--index-url https://example.com\n",
    )
    .unwrap();
    refused(
        Some("requirements.txt"),
        &["requirements.txt`, line 2", "not allowed", "remedy"],
    )
    .await;
    fs::write(pack.join("Dockerfile"), "FROM rumi-base\nVOLUME /x\n").unwrap();
    refused(None, &["Dockerfile`, line 2", "VOLUME", "remedy"]).await;
    fs::write(pack.join("Dockerfile"), "FROM rumi-nothing\n").unwrap();
    refused(None, &["`rumi-nothing`", "remedy"]).await;
    fs::write(
        pack.join("Dockerfile"),
        "FROM rumi-base\nLABEL rumi.kind=sandbox\n",
    )
    .unwrap();
    refused(None, &["rumi.kind", "remedy"]).await;
    symlink("/etc/passwd", pack.join("bad")).unwrap();
    refused(None, &["bad`", "outside of the pack"]).await;
    fs::remove_dir_all(&pack).unwrap();
    refused(None, &["cannot read", "remedy"]).await;
}

#[tokio::test]
async fn requirements_are_installed_from_wheels_without_a_network() {
    let home = Home::new().await;
    let pack = pack(&home);
    fs::write(
        pack.join("requirements.txt"),
        "six  # small, and it has no dependencies\n",
    )
    .unwrap();
    let config = Config::default();
    let (result, lines) = built(&home, Some("requirements.txt"), &config).await;
    let first = result.unwrap_or_else(|error| panic!("{error}\n{}", lines.join("\n")));
    let code = "import subprocess; print(subprocess.run(['/opt/venv/bin/python3','-c','import six; print(six.__file__, six.__cached__)'],capture_output=True,text=True).stdout.strip())";
    let text = inside(&home, &first.image, code).await;
    assert!(
        text.starts_with("/opt/venv/lib/python3.11/site-packages/six.py"),
        "{text}"
    );
    let code = "import os; print(os.path.exists('/wheels'), os.path.exists('/opt/venv/lib/python3.11/site-packages/pip'), os.path.exists('/opt/venv/lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc'))";
    assert_eq!(inside(&home, &first.image, code).await, "False False True");
    // The wheels of the same requirements are not downloaded again.
    fs::write(pack.join("tool.py"), "def run(args): return {}\n").unwrap();
    let (second, lines) = built(&home, Some("requirements.txt"), &config).await;
    assert!(second.unwrap().changed);
    assert!(
        !lines.iter().any(|line| line.contains("downloading")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_missing_pip_and_a_missing_package_are_told_apart() {
    let home = Home::new().await;
    let pack = pack(&home);
    fs::write(pack.join("requirements.txt"), "six\n").unwrap();
    let mut config = Config::default();
    config.build.pip = vec!["/nonexistent/pip".into()];
    let error = built(&home, Some("requirements.txt"), &config)
        .await
        .0
        .unwrap_err();
    assert!(matches!(error, BuildError::NoPip { .. }) && error.to_string().contains("remedy"));
    let script = home.at("pip");
    fs::write(
        &script,
        "#!/bin/sh\necho ERROR: No matching distribution found >&2\nexit 1\n",
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    config.build.pip = vec![script.to_str().unwrap().into()];
    let error = built(&home, Some("requirements.txt"), &config)
        .await
        .0
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("No matching distribution") && error.contains("source packages are refused"),
        "{error}"
    );
    let cache = Path::new(home.directory.path()).join("builds/wheels");
    assert_eq!(
        fs::read_dir(cache).unwrap().count(),
        0,
        "a failed download left something"
    );
}

#[tokio::test]
async fn the_bundle_is_lent_to_builder_stages_of_networked_packs_only() {
    let home = Home::new().await;
    let pack = pack(&home);
    let bundle = home.at("bundle.pem");
    fs::write(&bundle, "certificates").unwrap();
    let dockerfile = "FROM rumi-base AS helper\nCOPY tool.py /x\nFROM rumi-base\n\
        COPY --from=helper /usr/local/share/rumi-lent-ca.pem /opt/proof\n";
    fs::write(pack.join("Dockerfile"), dockerfile).unwrap();
    let mut config = Config::default();
    config.build.ca_bundle = Some(bundle);
    let error = built(&home, None, &config).await.0.unwrap_err();
    assert!(matches!(error, BuildError::Failed { .. }), "{error}");
    config.build.networked_packs.insert("demo".into());
    let built = built(&home, None, &config).await.0.unwrap();
    assert!(built.networked);
    let code = "import os; print(open('/opt/proof').read(), os.path.exists('/usr/local/share/rumi-lent-ca.pem'), 'SSL_CERT_FILE' in os.environ)";
    assert_eq!(
        inside(&home, &built.image, code).await,
        "certificates False False"
    );
}

#[tokio::test]
async fn requirements_can_be_listed_instead_of_lying_in_a_file() {
    let home = Home::new().await;
    pack(&home);
    let config = Config::default();
    let mut quiet = |_: &str| {};
    let lines = |line: &str| Requirements::Lines(vec![line.to_owned()]);
    let option = lines("--index-url https://example.com");
    let refused = build_demo(&home, Base::Base, &option, &config, &mut quiet).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("pack.json`, line 1"), "{text}");
    let built = build_demo(&home, Base::Base, &lines("six"), &config, &mut quiet).await;
    let image = built.unwrap().image;
    let code = "import os; print(os.path.exists('/opt/venv/lib/python3.11/site-packages/six.py'))";
    assert_eq!(inside(&home, &image, code).await, "True");
}

#[tokio::test]
async fn the_chosen_base_stands_where_a_dockerfile_names_the_plain_one() {
    let home = Home::new().await;
    let directory = pack(&home);
    fs::write(directory.join("Dockerfile"), "FROM rumi-base\n").unwrap();
    let config = Config::default();
    let mut quiet = |_: &str| {};
    let none = Requirements::None;
    let built = build_demo(&home, Base::Tools, &none, &config, &mut quiet).await;
    let there = home.engine.image_id("rumi-tools:latest").await.unwrap();
    if there.is_some() {
        let code = "import shutil; print(shutil.which('git'))";
        let found = inside(&home, &built.unwrap().image, code).await;
        assert_eq!(found, "/usr/bin/git");
    } else {
        let text = built.unwrap_err().to_string();
        assert!(
            text.contains("`rumi-tools:latest`") && text.contains("`docker/base/build tools`"),
            "{text}"
        );
    }
}

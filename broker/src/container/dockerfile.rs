//! Dockerfiles: a pack's own, checked, and the one that every pack's image ends with.
//!
//! The engine's builder does things by itself that no network setting stops: it pulls images
//! that `FROM` or `COPY --from` name, and it fetches what `ADD` names. So these are checked
//! here, on a closed list of instructions and a strict reading of lines.

use std::fmt::Write as _;

/// A pack's own Dockerfile that was found fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnDockerfile {
    lines: Vec<String>,
    stages: Vec<Stage>,
}

/// One `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    line: usize,
    from: String,
    name: Option<String>,
}

/// A line of a Dockerfile that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DockerfileError {
    line: usize,
    reason: String,
}

/// A pack chooses how large its file is, and each of its lines is held in memory more than once.
const MAX_BYTES: usize = 256 << 10;

const PLAIN: [&str; 8] = [
    "RUN",
    "ENV",
    "ARG",
    "WORKDIR",
    "LABEL",
    "EXPOSE",
    "SHELL",
    "STOPSIGNAL",
];
const OVERRIDDEN: [&str; 4] = ["USER", "CMD", "ENTRYPOINT", "MAINTAINER"];

impl OwnDockerfile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DockerfileError> {
        let refuse = |line: usize, reason: &str| DockerfileError {
            line: line.saturating_add(1),
            reason: reason.to_owned(),
        };
        if bytes.len() > MAX_BYTES {
            return Err(refuse(
                0,
                "the file is larger than 256 KiB; remedy: COPY a script of the pack and RUN it",
            ));
        }
        let text = str::from_utf8(bytes)
            .map_err(|_| refuse(0, "the file is not UTF-8; remedy: save it as UTF-8"))?;
        let strange = |c: char| {
            (c.is_control() && c != '\n' && c != '\t') || (c.is_whitespace() && !c.is_ascii())
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut own = Self {
            lines,
            stages: Vec::new(),
        };
        let mut continued = false;
        for (number, line) in own.lines.clone().iter().enumerate() {
            if line.contains(strange) {
                return Err(refuse(
                    number,
                    "control characters or unusual spaces; remedy: use plain spaces and Unix line ends",
                ));
            }
            let trimmed = line.trim();
            if let Some(comment) = trimmed.strip_prefix('#') {
                directive(comment).map_err(|reason| refuse(number, reason))?;
                continue;
            }
            // Some builders take the lines that follow for a text, and others for instructions.
            if trimmed.contains("<<") {
                return Err(refuse(
                    number,
                    "`<<` begins a text that not every builder reads; remedy: COPY a file of the pack",
                ));
            }
            if trimmed.ends_with("\\\\") || trimmed.ends_with('`') {
                return Err(refuse(
                    number,
                    "ends in a way that readers take differently; remedy: end it with one `\\` or none",
                ));
            }
            let goes_on = trimmed.ends_with('\\');
            if !continued && !trimmed.is_empty() {
                own.instruction(number, trimmed, goes_on)
                    .map_err(|reason| refuse(number, &reason))?;
            }
            continued = goes_on || (continued && trimmed.is_empty());
        }
        if own.stages.is_empty() {
            return Err(refuse(
                0,
                "there is no FROM; remedy: begin with `FROM rumi-base:latest`",
            ));
        }
        Ok(own)
    }

    fn instruction(&mut self, number: usize, line: &str, goes_on: bool) -> Result<(), String> {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let word = word.to_ascii_uppercase();
        if self.stages.is_empty() && !matches!(word.as_str(), "FROM") {
            return Err(format!(
                "`{word}` before the first FROM; remedy: begin with `FROM rumi-base:latest`"
            ));
        }
        match word.as_str() {
            "FROM" if goes_on => Err("FROM goes on in the next line; remedy: write it in one".into()),
            "FROM" => {
                let stage = self.stage(number, rest)?;
                self.stages.push(stage);
                Ok(())
            }
            "COPY" if goes_on => Err("COPY goes on in the next line; remedy: write it in one".into()),
            "COPY" => self.copy(rest),
            word if PLAIN.contains(&word) || OVERRIDDEN.contains(&word) => Ok(()),
            "ADD" => Err("ADD fetches and unpacks by itself; remedy: use COPY".into()),
            "VOLUME" => Err("VOLUME would give the pack unlimited disk of the host; remedy: write to /workspace or /tmp".into()),
            "HEALTHCHECK" => Err("HEALTHCHECK is not used; remedy: leave it out".into()),
            "ONBUILD" => Err("ONBUILD acts in other builds; remedy: leave it out".into()),
            _ => Err(format!("`{word}` is not an instruction; remedy: use FROM, COPY, RUN, ENV, ARG, WORKDIR, LABEL, SHELL")),
        }
    }

    fn stage(&self, line: usize, rest: &str) -> Result<Stage, String> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (from, name) = match words.as_slice() {
            [from] => (*from, None),
            [from, r#as, name] if r#as.eq_ignore_ascii_case("as") => (*from, Some(*name)),
            _ => return Err("FROM takes an image and perhaps `AS NAME`".into()),
        };
        let earlier = self.is_stage(from);
        if !earlier && !is_own_image(from) {
            return Err(format!(
                "FROM `{from}` is not an image of rumi, and none is fetched; remedy: FROM rumi-base:latest"
            ));
        }
        if name.is_some_and(|name| {
            !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
                || is_own_image(name)
        }) {
            return Err("the stage's name is not plain; remedy: use letters and digits".into());
        }
        Ok(Stage {
            line,
            from: from.to_owned(),
            name: name.map(str::to_owned),
        })
    }

    fn copy(&self, rest: &str) -> Result<(), String> {
        for flag in rest
            .split_whitespace()
            .take_while(|word| word.starts_with("--"))
        {
            let Some(from) = flag.strip_prefix("--from=") else {
                continue;
            };
            let index = from
                .parse::<usize>()
                .is_ok_and(|index| index.saturating_add(1) < self.stages.len());
            if !index && !self.is_stage(from) {
                return Err(format!(
                    "COPY `{flag}` names no earlier stage, and no image is fetched; remedy: name one of the FROM … AS stages"
                ));
            }
        }
        Ok(())
    }

    fn is_stage(&self, name: &str) -> bool {
        self.stages.iter().any(|stage| {
            stage
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        })
    }

    /// The images it begins from, each once, without names of its own stages.
    pub(super) fn images(&self) -> Vec<String> {
        let mut images: Vec<String> = Vec::new();
        for (position, stage) in self.stages.iter().enumerate() {
            if !self.begins_from_stage(position) && !images.contains(&stage.from) {
                images.push(stage.from.clone());
            }
        }
        images
    }

    /// The lines that do something: what is left without comments and empty lines.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter().map(|line| line.trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    fn begins_from_stage(&self, position: usize) -> bool {
        self.stages.get(position).is_some_and(|stage| {
            self.stages.iter().take(position).any(|earlier| {
                earlier
                    .name
                    .as_deref()
                    .is_some_and(|name| name.eq_ignore_ascii_case(&stage.from))
            })
        })
    }

    /// The file with each image replaced by what `image(name, last stage?)` says.
    pub(super) fn with_images(&self, mut image: impl FnMut(&str, bool) -> String) -> String {
        let mut lines = self.lines.clone();
        for (position, stage) in self.stages.iter().enumerate() {
            if self.begins_from_stage(position) {
                continue;
            }
            let last = position.saturating_add(1) == self.stages.len();
            let mut line = format!("FROM {}", image(&stage.from, last));
            if let Some(name) = &stage.name {
                line.push_str(" AS ");
                line.push_str(name);
            }
            if let Some(slot) = lines.get_mut(stage.line) {
                *slot = line;
            }
        }
        let mut text = lines.join("\n");
        text.push('\n');
        text
    }
}

/// Comments that some builder obeys. They are refused wherever they stand, because builders
/// differ in where they look for them.
fn directive(comment: &str) -> Result<(), &'static str> {
    let Some((key, _)) = comment.split_once('=') else {
        return Ok(());
    };
    match key.trim().to_ascii_lowercase().as_str() {
        "syntax" => Err("`# syntax=` would fetch another builder; remedy: leave the line out"),
        "escape" | "check" => {
            Err("this directive changes how the file is read; remedy: leave the line out")
        }
        _ => Ok(()),
    }
}

/// An image made on this host, to be built upon: `rumi-NAME[:TAG]`. Those of packs are their own.
fn is_own_image(reference: &str) -> bool {
    let (name, tag) = reference.split_once(':').unwrap_or((reference, "latest"));
    name.strip_prefix("rumi-").is_some_and(|rest| {
        !rest.is_empty()
            && rest != "pack"
            && rest
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }) && !tag.is_empty()
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What the image of a pack consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct FinalStage<'a> {
    /// What everything is put on top of.
    pub(super) from: &'a str,
    /// File name of pip's own wheel, where there are requirements.
    pub(super) pip: Option<&'a str>,
    /// Label of stages that may be thrown away after the build.
    pub(super) stage: &'a str,
    /// Hash of the wheels, so that stages of earlier ones are told apart.
    pub(super) wheels: &'a str,
    /// Labels of the whole. Each step of a build is a container of its own, and these are one step.
    pub(super) labels: &'a [(&'a str, &'a str)],
}

/// Compiles what it can: a file that is no Python of this version must not fail the build.
const COMPILE: &str = "import compileall,py_compile,sys;compileall.compile_dir(sys.argv[1],quiet=2,\
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";

/// The Dockerfile that every image ends with. Nothing in it runs the pack's code.
///
/// Each stage begins with its label: the engine's cache shares steps between builds, and whoever
/// removes an image removes its unnamed steps, below a build that is using them. After a label
/// of its own a pack shares none.
pub(super) fn final_dockerfile(stage: FinalStage<'_>) -> String {
    let FinalStage {
        from,
        pip,
        stage,
        wheels,
        labels,
    } = stage;
    let mut text = String::new();
    let python = "/usr/bin/python3.11";
    let compile = |directory: &str| {
        format!("RUN [\"{python}\", \"-I\", \"-c\", \"{COMPILE}\", \"{directory}\"]\n")
    };
    // Writing to a string cannot fail.
    let mut add = |line: std::fmt::Arguments<'_>| text.write_fmt(line).unwrap_or_default();
    if let Some(pip) = pip {
        add(format_args!(
            "FROM {from} AS venv\nLABEL {}=\"{stage}-venv-{wheels}\"\nUSER 0:0\n",
            super::labels::STAGE
        ));
        add(format_args!("COPY wheels /wheels\n"));
        add(format_args!(
            "RUN [\"{python}\", \"-I\", \"-m\", \"venv\", \"--without-pip\", \"/opt/venv\"]\n"
        ));
        add(format_args!(
            "RUN [\"/opt/venv/bin/python3\", \"-I\", \"/wheels/{pip}/pip\", \"install\", \"--no-index\", \"--find-links=/wheels\", \
             \"--no-compile\", \"--no-cache-dir\", \"--disable-pip-version-check\", \"--root-user-action=ignore\", \
             \"--no-warn-script-location\", \"--progress-bar=off\", \"-r\", \"/wheels/requirements.txt\"]\n"
        ));
        add(format_args!("{}", compile("/opt/venv/lib")));
    }
    add(format_args!(
        "FROM {from} AS code\nLABEL {}=\"{stage}-code\"\nUSER 0:0\n",
        super::labels::STAGE
    ));
    add(format_args!(
        "COPY pack /opt/pack\n{}",
        compile("/opt/pack")
    ));
    add(format_args!(
        "FROM {from}\nLABEL {}=\"{stage}-final\"\nUSER 0:0\n",
        super::labels::STAGE
    ));
    if pip.is_some() {
        add(format_args!("COPY --from=venv /opt/venv /opt/venv\n"));
    }
    add(format_args!("COPY --from=code /opt/pack /opt/pack\nLABEL"));
    for (key, value) in labels {
        add(format_args!(" {key}=\"{value}\""));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_replaced_and_stages_are_not() {
        let own = OwnDockerfile::parse(
            b"# a comment\nFROM rumi-base AS Build\nRUN [\"make\", \\\n  # inside\n\n  \"all\"]\nfrom rumi-base:latest\nCOPY --from=build /x /x\nCOPY --chown=0:0 --from=0 /y /y\n",
        )
        .unwrap();
        assert_eq!(own.images(), ["rumi-base", "rumi-base:latest"]);
        let text = own.with_images(|name, last| format!("{name}!{last}"));
        assert!(text.contains("FROM rumi-base!false AS Build\n"), "{text}");
        assert!(text.contains("FROM rumi-base:latest!true\n"), "{text}");
        let chained = OwnDockerfile::parse(b"FROM rumi-base AS a\nFROM a\n").unwrap();
        assert_eq!(chained.images(), ["rumi-base"]);
        assert!(
            chained
                .with_images(|_, _| "X".into())
                .contains("FROM X AS a\nFROM a\n")
        );
    }

    #[test]
    fn what_reaches_out_of_the_build_is_refused_with_its_line() {
        for (text, line) in [
            ("# syntax=docker/dockerfile:1\nFROM rumi-base", 1),
            ("FROM rumi-base\n#  SYNTAX = evil/frontend", 2),
            ("# escape=`\nFROM rumi-base", 1),
            ("FROM debian", 1),
            ("FROM docker.io/rumi-base", 1),
            ("FROM rumi-base@sha256:00", 1),
            ("FROM --platform=linux/arm64 rumi-base", 1),
            ("FROM $IMAGE", 1),
            ("ARG X=rumi-base\nFROM rumi-base", 1),
            ("FROM \\\n debian", 1),
            ("FROM rumi-base\nADD https://example.com/x /x", 2),
            ("FROM rumi-base\nAdd x.tar /x", 2),
            ("FROM rumi-base\nCOPY --from=debian /etc /etc", 2),
            ("FROM rumi-base\nCOPY --from=0 /etc /etc", 2),
            ("FROM rumi-base\nCOPY --from=$X /etc /etc", 2),
            ("FROM rumi-base\nCOPY \\\n --from=debian /etc /etc", 2),
            ("FROM rumi-base\nVOLUME /data", 2),
            ("FROM rumi-base\nONBUILD ADD http://x /", 2),
            ("FROM rumi-base\nHEALTHCHECK CMD true", 2),
            ("FROM rumi-base\nRUN true \\\\\nADD http://x /", 2),
            ("FROM rumi-base\nRUN true\r\nADD x", 2),
            ("FROM rumi-base\n\u{a0}ADD http://x /", 2),
            ("FROM rumi-base\nRUN cat <<E\nADD\nE", 2),
            (
                "FROM rumi-base\nRUN <<RUN\nFROM rumi-base AS x\nRUN\nCOPY --from=x /a /a",
                2,
            ),
            ("FROM rumi-base\nRUN true \\\n <<-E", 3),
            ("FROM rumi-pack:0123456789abcdef-other", 1),
            ("FROM rumi-base\nFROM rumi-pack", 2),
            ("FROM rumi-base AS a b", 1),
            ("RUN true", 1),
            ("", 1),
            ("FROM rumi-base\nFETCH x", 2),
        ] {
            match OwnDockerfile::parse(text.as_bytes()) {
                // `lines()` takes \r\n as one end; what is left is checked like any other line.
                Err(error) => assert!(
                    error.line == line || text.contains('\r'),
                    "{text:?}: {error}"
                ),
                Ok(own) => panic!("{text:?} was taken as {own:?}"),
            }
        }
    }

    #[test]
    fn a_file_of_millions_of_lines_is_refused_unread() {
        let of = |bytes: usize| {
            let mut text = b"FROM rumi-base\n".to_vec();
            text.resize(bytes, b'\n');
            OwnDockerfile::parse(&text)
        };
        assert!(of(MAX_BYTES).is_ok());
        let error = of(MAX_BYTES + 1).unwrap_err().to_string();
        assert!(
            error.contains("256 KiB") && error.contains("remedy"),
            "{error}"
        );
    }

    #[test]
    fn the_final_file_has_a_virtual_environment_only_where_it_is_wanted() {
        let stage = |pip| FinalStage {
            from: "sha256:1",
            pip,
            stage: "i-p",
            wheels: "h",
            labels: &[("rumi.pack", "p"), ("rumi.stage", "final")],
        };
        let without = final_dockerfile(stage(None));
        assert!(!without.contains("venv"));
        assert!(
            without.ends_with("FROM sha256:1\nLABEL rumi.stage=\"i-p-final\"\nUSER 0:0\nCOPY --from=code /opt/pack /opt/pack\nLABEL rumi.pack=\"p\" rumi.stage=\"final\"\n")
        );
        let with = final_dockerfile(stage(Some("pip-1.whl")));
        assert!(
            with.contains("/wheels/pip-1.whl/pip") && with.contains("COPY --from=venv /opt/venv")
        );
    }
}

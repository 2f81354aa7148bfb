"""Finds and downloads Debian packages with apt, in directories of its own.

The host's package state is neither read nor changed: only its list of sources,
its keys and its proxy settings are used.
"""

import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote

from . import AssembleError

# Suites of Debian itself; repositories of others have suites of their own or no `main`.
CODENAMES = "bookworm|trixie|forky|duke|stable|oldstable|testing|unstable|sid"
SUITE = re.compile(rf"(?:{CODENAMES})(?P<pocket>-updates|-security)?")

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)

# Package lists younger than this are taken as they are.
LISTS_AGE_SECONDS = 24 * 3600

SOURCES_REMEDY = "write a sources file for Debian {release} (deb822 or one-line form) and give it with --sources FILE"


class Apt:
    """An apt of our own below `root`, for one release of Debian."""

    def __init__(self, root: Path, release: str):
        self.root = root
        self.release = release
        self.archives = root / "archives"

    def prepare(self, sources: Path | None, refresh: bool) -> None:
        """Writes the sources and fetches the package lists where they are old."""
        for directory in ("lists/partial", "archives/partial", "sources", "none"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        text = sources.read_text() if sources else host_sources(self.release)
        deb822 = re.search(r"(?m)^Types:", text) is not None
        path = self.root / "sources" / ("base.sources" if deb822 else "base.list")
        other = path.with_suffix(".list" if deb822 else ".sources")
        other.unlink(missing_ok=True)
        changed = not path.exists() or path.read_text() != text
        path.write_text(text)
        stamp = self.root / "updated"
        old = not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_AGE_SECONDS
        if changed or old or refresh:
            self.run("apt-get", "update", "--error-on=any")
            stamp.touch()

    def closure(self, wanted: list[str]) -> list[str]:
        """Returns what apt would install for `wanted`, all true dependencies included."""
        # apt does not print what lies in its archive already, so it is shown an empty one.
        empty = f"Dir::Cache::archives={self.root / 'none'}"
        printed = self.run("apt-get", "install", "-o", empty, "--print-uris", "-qq", "-y", *wanted)
        names = re.findall(r"^'[^']+' (\S+?)_", printed, re.MULTILINE)
        if not names:
            raise AssembleError("apt found nothing to install; run again with --refresh")
        return sorted(set(names))

    def download(self, names: list[str]) -> list[Path]:
        """Fetches the packages, verified by apt, and returns their files in the order of names."""
        printed = self.run("apt-get", "download", "--print-uris", *names)
        files = [unquote(name) for name in re.findall(r"^'[^']+' (\S+) ", printed, re.MULTILINE)]
        if len(files) != len(names):
            raise AssembleError(f"apt names {len(files)} files for {len(names)} packages; run again with --refresh")
        self.run("apt-get", "download", "-q", *names, directory=self.archives)
        paths = [self.archives / name.replace(":", "%3a") for name in sorted(files)]
        for path in paths:
            if not path.exists():
                raise AssembleError(f"apt did not leave `{path}`; remove `{self.root}` and run again")
        for stale in set(self.archives.glob("*.deb")) - set(paths):
            stale.unlink()
        return paths

    def run(self, program: str, *arguments: str, directory: Path | None = None) -> str:
        """Runs apt on our directories only and returns what it printed."""
        options = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self.root / "sources",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self.root / "none",
            "Dir::State": self.root,
            "Dir::State::lists": self.root / "lists",
            "Dir::State::status": self.root / "status",
            "Dir::Cache": self.root,
            "Dir::Cache::archives": self.archives,
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::CNF::DefaultEnabled": "false",
        }
        command = [program]
        for key, value in options.items():
            command += ["-o", f"{key}={value}"]
        # Essential packages are for a system that is installed to; this one is only unpacked.
        command += ["-o", "pkgCacheGen::Essential=none", *arguments]
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-20:])
            raise AssembleError(
                f"`{program} {arguments[0]}` failed:\n{last}\n"
                f"check the network and the host's apt sources, or " + SOURCES_REMEDY.format(release=self.release)
            )
        return done.stdout


def host_sources(release: str) -> str:
    """Returns one-line sources for `release` from where the host gets its own Debian packages."""
    # Where the host has fetched its package lists they say whose they are; others use Debian's names, too.
    lines = debian_lines(release, "[Debian]") or debian_lines(release, "[$(ORIGIN)]", "--no-release-info")
    if not lines:
        raise AssembleError(
            f"the host's apt has no Debian sources to take {release} from; " + SOURCES_REMEDY.format(release=release)
        )
    return "\n".join(sorted(lines)) + "\n"


def debian_lines(release: str, wanted: str, *options: str) -> set[str]:
    """Returns the host's sources with the suites of `release`, of those whose origin is `wanted`."""
    listed = subprocess.run(
        [
            *("apt-get", "indextargets", *options),
            *("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) [$(ORIGIN)]", "Created-By: Packages"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    # Without Debian's own keys at their usual place apt falls back to all that the host trusts.
    keyring = next((path for path in KEYRINGS if Path(path).exists()), None)
    signed = f" [signed-by={keyring}]" if keyring else ""
    lines = set()
    for line in listed.splitlines():
        uri, suite, component, origin = line.split(" ", 3)
        match = SUITE.fullmatch(suite.replace("/updates", "-security"))
        if match is not None and component == "main" and origin == wanted:
            lines.add(f"deb{signed} {uri} {release}{match['pocket'] or ''} main")
    return lines

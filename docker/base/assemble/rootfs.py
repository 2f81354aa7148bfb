"""Unpacks packages into a directory and makes a root filesystem of it."""

import fnmatch
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

from . import AssembleError

# Directories that Debian keeps as links into /usr; packages still name them both ways.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

DIRECTORIES = {
    "dev": 0o755,
    "files": 0o755,
    "opt/pack": 0o755,
    "opt/venv": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run/rumi": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "usr/lib/python3/dist-packages": 0o755,
    "usr/lib/ssl": 0o755,
    "usr/libexec/rumi": 0o755,
    "usr/local/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "workspace": 0o755,
}

LINKS = {
    "etc/mtab": "/proc/mounts",
    "usr/bin/python3": "python3.11",
    "usr/bin/sh": "dash",
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "var/run": "/run",
    "var/tmp": "/tmp",
}

FILES = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/os-release": 'PRETTY_NAME="rumi base, from Debian packages"\nNAME="rumi"\nID=rumi\nID_LIKE=debian\n',
    # The engine binds the real program over it, and needs something to bind over.
    "usr/libexec/rumi/guest": "",
}


class Excluder:
    """Answers whether a path is left out of the image."""

    def __init__(self, patterns: Path):
        lines = (line.strip() for line in patterns.read_text().splitlines())
        rules = [line for line in lines if line and not line.startswith("#")]
        # The last match decides, so the search starts at the end.
        self.rules = [
            (re.compile(fnmatch.translate(rule.removeprefix("!"))), not rule.startswith("!"))
            for rule in reversed(rules)
        ]

    def __call__(self, path: str) -> bool:
        return next((leaves for pattern, leaves in self.rules if pattern.match(path)), False)


def unpack(package: Path, root: Path, excluded: Excluder) -> None:
    """Unpacks a package's files, with the rights of a root filesystem that nobody changes."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as reader:
        with tarfile.open(fileobj=reader.stdout, mode="r|") as archive:
            for member in archive:
                path = merged(member.name)
                if path and not excluded(path):
                    place(archive, member, root, path)
    if reader.returncode != 0:
        raise AssembleError(f"`{package}` is damaged; remove it and run again")


def merged(name: str) -> str:
    """Returns the path in a merged /usr, without a leading slash; empty for the root itself."""
    path = PurePosixPath("/", name)
    if ".." in path.parts:
        raise AssembleError(f"a package holds the path `{name}`, which leaves its root")
    parts = path.parts[1:]
    return "/".join(("usr", *parts) if parts and parts[0] in MERGED else parts)


def place(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, path: str) -> None:
    """Puts one member of a package to its place."""
    target = root / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        linked = root / merged(member.linkname)
        if linked.exists():
            os.link(linked, target)
        else:
            raise AssembleError(f"`{path}` is a hard link to `{member.linkname}`, which is left out")
    elif member.isreg():
        with archive.extractfile(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        # No setuid or setgid bit survives: nothing in the image may raise anybody's rights.
        target.chmod(0o755 if member.mode & 0o111 else 0o644)
    else:
        raise AssembleError(f"`{path}` is neither file, directory nor link")


def finish(root: Path) -> None:
    """Adds what no package brings: accounts, mount points, the certificate bundle."""
    for name in MERGED:
        if (root / "usr" / name).is_dir() or name == "sbin":
            (root / name).symlink_to(f"usr/{name}")
    for path, mode in DIRECTORIES.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path).chmod(mode)
    certificates(root)
    for path, target in LINKS.items():
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)
    for path, text in FILES.items():
        (root / path).write_text(text)
    remove_empty(root / "usr/share")


def certificates(root: Path) -> None:
    """Joins the certificate authorities into the one file that programs look for."""
    single = root / "usr/share/ca-certificates"
    texts = [path.read_text().strip() for path in sorted(single.rglob("*.crt"))]
    if not texts:
        raise AssembleError("the package ca-certificates holds no certificate; run again with --refresh")
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("\n".join(texts) + "\n")
    shutil.rmtree(single)


def remove_empty(directory: Path) -> None:
    """Removes directories that the left out files leave empty."""
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def loader(root: Path) -> list[str]:
    """Returns the start of a command that runs a program of `root` with its own libraries only."""
    found = sorted(root.glob("usr/lib*/**/ld-linux*.so.*")) + sorted(root.glob("usr/lib*/**/ld64.so.*"))
    libraries = sorted({path.parent for path in root.glob("usr/lib/*-linux-gnu*/libc.so.6")})
    if not found or not libraries:
        raise AssembleError("the packages hold no dynamic loader; this architecture is not supported")
    return [str(found[0]), "--inhibit-cache", "--library-path", ":".join(map(str, libraries))]


def check_libraries(root: Path) -> None:
    """Fails when a program or library needs one that was left out."""
    command = [*loader(root), "--list"]
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.open("rb").read(4) != b"\x7fELF":
            continue
        listed = subprocess.run([*command, path], capture_output=True, text=True, check=False).stdout
        for name, found in re.findall(r"^\s+(\S+) => (\S+|not found)", listed, re.MULTILINE):
            # The loader falls back to the host's directories, which the image will not have.
            if not found.startswith(f"{root}/"):
                raise AssembleError(f"`{path.relative_to(root)}` needs `{name}`, which is left out")


def compile_python(root: Path, directory: Path, prefix: Path) -> None:
    """Byte-compiles `directory` with the Python of `root`; the code names its place below `prefix`.

    The byte code carries its source's hash and Python does not check it: the
    files never change after the image is built, and times differ from build to build.
    """
    done = subprocess.run(
        [
            *loader(root),
            str(root / "usr/bin/python3.11"),
            *("-s", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
            *("-s", str(prefix), "-p", "/", str(directory)),
        ],
        # A fixed hash seed, because the order of constant sets ends up in the byte code.
        env={"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise AssembleError(f"cannot byte-compile `{directory}`:\n{last}")

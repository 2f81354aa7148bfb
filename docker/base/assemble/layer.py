"""Writes directories as tar files that are the same bytes for the same content."""

import hashlib
import os
import tarfile
from pathlib import Path

# One time for every file: the release of Debian 12. Zip files cannot hold times before 1980.
TIME = 1686355200


def write(directory: Path, layer: Path) -> str:
    """Writes all of `directory` to the tar file `layer` and returns the SHA-256 of its bytes."""
    partial = layer.with_name(layer.name + ".partial")
    first_names: dict[tuple[int, int], str] = {}
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            info = archive.gettarinfo(path, name)
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mtime = TIME
            info.mode &= 0o1777
            if info.islnk() or info.isreg():
                status = os.lstat(path)
                first = first_names.setdefault((status.st_dev, status.st_ino), name)
                info.type = tarfile.REGTYPE if first == name else tarfile.LNKTYPE
                info.linkname = "" if first == name else first
                info.size = status.st_size if first == name else 0
            if info.isreg():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)
    with partial.open("rb") as written:
        content = digest(written)
    partial.replace(layer)
    return content


def digest(file) -> str:
    """Returns the SHA-256 of an open file."""
    total = hashlib.sha256()
    while block := file.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def inputs(paths: list[Path], *more: str) -> str:
    """Returns one SHA-256 over names and contents of files, and over what else decides the result."""
    total = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        total.update(f"{path.name}\0{len(content)}\0".encode())
        total.update(content)
    for text in more:
        total.update(f"\0{text}".encode())
    return total.hexdigest()

"""The capabilities as functions: what a component may ask the broker for."""

import base64
import json
import os
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote

from ._connection import Download, call, upload
from ._errors import Error

# Up to here the JSON form is used, which carries file data as base64.
SMALL = 1024 * 1024

PathLike = Union[str, "os.PathLike[str]"]
Data = Union[bytes, bytearray, memoryview, str]


class Entry(NamedTuple):
    """One name in a directory. `kind` is `file`, `directory`, `symlink` or `other`."""

    name: str
    kind: str


class Stat(NamedTuple):
    """What is known of a file. `modified` is in seconds since 1970, `mode` as in chmod."""

    kind: str
    size: int
    modified: int
    mode: int


class RunResult(NamedTuple):
    """How a command ended. `stopped_reason` is `exited` unless something else ended it."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    stopped_reason: str
    duration_ms: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and self.stopped_reason == "exited"

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class Response(NamedTuple):
    """The answer to `fetch`. Header names may repeat, so `headers` is a list of pairs."""

    status: int
    headers: List[Tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.body.decode("utf-8"))

    def header(self, name: str, default: Optional[str] = None) -> Optional[str]:
        """The first value of a header, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)


def read_file(path: PathLike, offset: int = 0, length: Optional[int] = None) -> bytes:
    """The bytes of a file, or `length` of them from `offset`."""
    if length == 0:
        # On the wire 0 means to the end.
        return b""
    if length is not None and length <= SMALL:
        reply = call("FileRead", {"path": _path(path), "offset": str(offset), "length": str(length)}, repeatable=True)
        return _bytes(reply.get("data"))
    with open_stream(path, offset, length) as stream:
        return stream.read()


def read_text(path: PathLike, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a file."""
    return read_file(path).decode(encoding, errors)


def open_stream(path: PathLike, offset: int = 0, length: Optional[int] = None) -> Download:
    """A file of any size, bit by bit: iterate over it, or call `read(size)`."""
    target = "/files?path=" + quote(_path(path), safe="/")
    if offset:
        target += "&offset=%d" % offset
    if length is not None:
        target += "&length=%d" % length
    return Download(target)


def write_file(
    path: PathLike, data: Union[Data, Iterable[bytes]], append: bool = False, create: bool = False
) -> int:
    """Writes a whole file atomically, or adds to its end; returns its size afterwards.

    With `create`, a file that exists already is an error (code `already_exists`).
    `data` may also be a file object or any iterable of bytes, which is then sent as it comes.
    """
    if append and create:
        raise ValueError("`append` and `create` exclude each other")
    body = data.encode("utf-8") if isinstance(data, str) else data
    if isinstance(body, (bytes, bytearray, memoryview)) and memoryview(body).nbytes <= SMALL:
        mode = "WRITE_MODE_APPEND" if append else "WRITE_MODE_CREATE" if create else "WRITE_MODE_REPLACE"
        reply = call("FileWrite", {"path": _path(path), "data": _base64(bytes(body)), "mode": mode})
        return int(reply.get("size", 0))
    if hasattr(body, "read"):
        body = iter(lambda: data.read(SMALL), b"")
    mode = "append" if append else "create" if create else "replace"
    reply = upload("/files?path=%s&mode=%s" % (quote(_path(path), safe="/"), mode), body)
    return int(reply.get("size", 0))


def iter_dir(path: PathLike) -> Iterator[Entry]:
    """The entries of a directory, page by page, in the order the file system gives."""
    token = ""
    while True:
        reply = call("FileList", {"path": _path(path), "pageToken": token}, repeatable=True)
        for entry in reply.get("entries", ()):
            yield Entry(entry.get("name", ""), _kind(entry.get("kind")))
        token = reply.get("nextPageToken", "")
        if not token:
            return


def list_dir(path: PathLike) -> List[Entry]:
    """All entries of a directory, in the order the file system gives."""
    return list(iter_dir(path))


def stat(path: PathLike) -> Stat:
    """What is known of a file or directory."""
    reply = call("FileStat", {"path": _path(path)}, repeatable=True)
    return Stat(
        _kind(reply.get("kind")),
        int(reply.get("size", 0)),
        int(reply.get("modifiedUnix", 0)),
        int(reply.get("mode", 0)),
    )


def mkdir(path: PathLike, parents: bool = False) -> None:
    """Makes a directory; with `parents` also what is missing above it."""
    call("FileMkdir", {"path": _path(path), "parents": parents})


def delete(path: PathLike) -> None:
    """Deletes a file or an empty directory."""
    call("FileDelete", {"path": _path(path)})


def rename(source: PathLike, target: PathLike) -> None:
    """Renames a file; both names must be granted."""
    call("FileRename", {"from": _path(source), "to": _path(target)})


def env(key: Optional[str] = None) -> Any:
    """The value of one granted variable; without a key all of them as a dict.

    A variable that is granted but not set raises `rumi.Error` with code `not_found`.
    """
    if key == "":
        raise ValueError("the name of a variable is never empty")
    values = call("EnvRead", {"key": key or ""}, repeatable=True).get("values", {})  # type: Dict[str, str]
    if key is None:
        return values
    if key not in values:
        raise Error("not_found", "`%s` is not set" % key)
    return values[key]


def run(
    command: Union[str, Iterable[str]], directory: PathLike, stdin: Data = b"", timeout_ms: int = 0
) -> RunResult:
    """Runs one command in a sandbox, with `directory` as its working directory.

    A string is split as a shell would split it, but no shell runs: operators such as
    `|` and `>` are refused. `timeout_ms` 0 means what the grant says.
    """
    message = {
        "directory": _path(directory),
        "stdin": _base64(stdin.encode("utf-8") if isinstance(stdin, str) else bytes(stdin)),
        "timeoutMs": timeout_ms,
    }  # type: Dict[str, Any]
    if isinstance(command, str):
        message["command"] = command
    else:
        message["argv"] = [os.fspath(part) for part in command]
    reply = call("TerminalRun", message)
    return RunResult(
        int(reply.get("exitCode", 0)),
        _bytes(reply.get("stdout")),
        _bytes(reply.get("stderr")),
        bool(reply.get("truncated", False)),
        _name(reply.get("stoppedReason"), "STOPPED_REASON_", "exited"),
        int(reply.get("durationMs", 0)),
    )


def fetch(
    url: str,
    method: str = "GET",
    headers: Union[Mapping[str, str], Iterable[Tuple[str, str]], None] = None,
    body: Data = b"",
    timeout_ms: int = 0,
) -> Response:
    """One HTTP or HTTPS request, made by the broker. Redirects are not followed."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    message = {
        "method": method,
        "url": url,
        "headers": [{"name": name, "value": value} for name, value in pairs],
        "body": _base64(body.encode("utf-8") if isinstance(body, str) else bytes(body)),
        "timeoutMs": timeout_ms,
    }
    reply = call("NetworkFetch", message)
    return Response(
        int(reply.get("status", 0)),
        [(item.get("name", ""), item.get("value", "")) for item in reply.get("headers", ())],
        _bytes(reply.get("body")),
    )


def _path(path: PathLike) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError("a path is a str, not %s" % type(text).__name__)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Error("invalid_argument", "a path must be valid Unicode: %r" % text)
    return text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Optional[str]) -> bytes:
    return base64.b64decode(text) if text else b""


def _name(value: Optional[str], prefix: str, default: str) -> str:
    """An enum value of the wire as a plain word; the default value is left out on the wire."""
    return value[len(prefix) :].lower() if value and value.startswith(prefix) else default


def _kind(value: Optional[str]) -> str:
    kind = _name(value, "FILE_KIND_", "other")
    return "other" if kind == "unspecified" else kind

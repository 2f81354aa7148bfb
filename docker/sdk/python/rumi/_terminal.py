"""A command while it runs: input, output and signals both ways (docs/terminal-stream.md)."""

import json
import os
import struct
import threading
from collections import deque
from typing import Any, Deque, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple, Union

from ._capabilities import Data, PathLike, _name, _path
from ._connection import Connection, socket_path
from ._errors import Error, from_reply

# Input that may be under way; more would make signals wait behind what the command does not read.
AHEAD = 256 * 1024
PIECE = 64 * 1024


class Exit(NamedTuple):
    """How a command ended. `stopped_reason` is `exited` unless something else ended it."""

    exit_code: int
    truncated: bool
    stopped_reason: str
    duration_ms: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and self.stopped_reason == "exited"


class Process:
    """A command that runs. Iterate over it for its output as it comes, as pairs of `stdout` or `stderr`
    and bytes; `write`, `close_input`, `send_signal` and `resize` may be called meanwhile, from other
    threads too. Closing it ends the command, and so does leaving the `with` block.
    """

    def __init__(self, start: Dict[str, Any]):
        self._connection = Connection(socket_path())
        self._sending = threading.Lock()
        # Guards what was read and not yet given out; one thread at a time reads.
        self._news = threading.Condition()
        self._reading = False
        self._output = deque()  # type: Deque[Tuple[str, bytes]]
        self._sent = 0
        self._taken = 0
        self._end = None  # type: Union[Exit, Error, None]
        try:
            self._connection.send(
                "POST",
                "/rumi.v1.Capabilities/TerminalStream",
                "Connection: upgrade\r\nUpgrade: rumi-terminal\r\n",
                b"",
            )
            status = self._connection.upgraded()
            if status != 101:
                body = self._connection.body()
                raise from_reply(status, _parsed(body))
            self._send(b"S", json.dumps(start).encode("utf-8"))
        except BaseException:
            self._connection.close()
            raise

    def write(self, data: Data) -> None:
        """Gives the command input; waits while it has much that it did not read."""
        view = memoryview(data.encode("utf-8") if isinstance(data, str) else data).cast("B")
        for at in range(0, len(view), PIECE):
            piece = view[at : at + PIECE]
            self._until(lambda: self._end is not None or self._sent - self._taken < AHEAD)
            if self._end is not None:
                raise BrokenPipeError("the command has ended")
            self._sent += len(piece)
            self._send(b"I", bytes(piece))

    def close_input(self) -> None:
        """Says that there is no more input."""
        self._send(b"E", b"")

    def send_signal(self, name: str) -> None:
        """Sends `HUP`, `INT`, `QUIT`, `KILL`, `USR1`, `USR2` or `TERM`."""
        self._send(b"K", name.upper().replace("SIG", "", 1).encode("utf-8"))

    def resize(self, rows: int, columns: int) -> None:
        """Gives the command's terminal another size."""
        self._send(b"R", struct.pack(">HH", rows, columns))

    def __iter__(self) -> Iterator[Tuple[str, bytes]]:
        while True:
            self._until(lambda: bool(self._output) or self._end is not None)
            with self._news:
                if self._output:
                    piece = self._output.popleft()
                elif isinstance(self._end, Error):
                    raise self._end
                elif self._end is not None:
                    return
                else:
                    continue
            yield piece

    def wait(self) -> Exit:
        """Reads and forgets what output is left, and says how the command ended."""
        for _ in self:
            pass
        assert isinstance(self._end, Exit)
        self.close()
        return self._end

    def communicate(self, data: Data = b"") -> Tuple[bytes, bytes, Exit]:
        """Gives the command all of its input and returns all of its output, and how it ended."""
        out = {"stdout": [], "stderr": []}  # type: Dict[str, Any]

        def feed() -> None:
            try:
                self.write(data)
                self.close_input()
            except (OSError, Error):
                pass  # It ended without reading everything; its exit says how.

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        for name, piece in self:
            out[name].append(piece)
        ended = self.wait()
        feeder.join()
        return b"".join(out["stdout"]), b"".join(out["stderr"]), ended

    def close(self) -> None:
        """Ends the command if it still runs."""
        with self._news:
            if self._end is None:
                self._end = Error("canceled", "the command was closed")
            self._news.notify_all()
        self._connection.abort()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _send(self, kind: bytes, content: bytes) -> None:
        frame = kind + struct.pack(">I", len(content)) + content
        with self._sending:
            try:
                self._connection.write(frame)
            except OSError:
                pass  # The command has ended, or was refused; what the broker said last tells.

    def _until(self, ready: Any) -> None:
        """Reads frames, or waits for the thread that does, until `ready` says so."""
        while True:
            with self._news:
                while not ready() and self._reading:
                    self._news.wait()
                if ready():
                    return
                self._reading = True
            try:
                frame = self._frame()
            finally:
                with self._news:
                    self._reading = False
                    self._news.notify_all()
            with self._news:
                self._understand(*frame)
                self._news.notify_all()

    def _frame(self) -> Tuple[bytes, bytes]:
        try:
            head = self._connection.exactly(5)
            return head[:1], self._connection.exactly(struct.unpack(">I", head[1:])[0])
        except (Error, OSError):
            return b"", b""

    def _understand(self, kind: bytes, content: bytes) -> None:
        if self._end is not None:
            return
        if kind == b"o" or kind == b"e":
            self._output.append(("stdout" if kind == b"o" else "stderr", content))
        elif kind == b"t":
            self._taken = struct.unpack(">Q", content)[0]
        elif kind == b"x":
            end = json.loads(content.decode("utf-8"))
            self._end = Exit(
                int(end.get("exitCode", 0)),
                bool(end.get("truncated", False)),
                _name(end.get("stoppedReason"), "STOPPED_REASON_", "exited"),
                int(end.get("durationMs", 0)),
            )
        elif kind == b"d":
            self._end = from_reply(0, _parsed(content))
        else:
            self._end = Error("unavailable", "the connection to the broker ended before the command did")


def popen(
    command: Union[str, Iterable[str]],
    directory: Optional[PathLike] = None,
    tty: Optional[Tuple[int, int]] = None,
    timeout_ms: int = 0,
) -> Process:
    """Starts one command in a sandbox and returns it while it runs.

    Without `directory` it works in the only directory that was granted. `tty` is the rows and columns
    of a terminal for it. A refusal is raised where its output is read.
    """
    start = {"directory": "" if directory is None else _path(directory), "timeoutMs": timeout_ms}  # type: Dict[str, Any]
    if isinstance(command, str):
        start["command"] = command
    else:
        start["argv"] = [os.fspath(part) for part in command]
    if tty is not None:
        start["tty"] = {"rows": tty[0], "columns": tty[1]}
    return Process(start)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except ValueError:
        return None

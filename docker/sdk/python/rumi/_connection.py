"""Keep-alive HTTP/1.1 over the component's Unix socket.

A small client of our own: the broker is the only server it meets, and the standard
library's parses headers with the mail package, which costs more than the request.
"""

import json
import os
import socket
import threading

from ._errors import Error, from_reply

HEAD_LIMIT = 64 * 1024
IDLE_CONNECTIONS = 4


class Dropped(Exception):
    """The connection ended before a single byte of the answer came."""


class Connection:
    """One connection; requests one after the other."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise Error("unavailable", "the broker cannot be reached at `%s`: %s" % (path, error.strerror or error))
        self._buffer = b""
        # Body bytes of the current answer still to come; None when it comes in chunks.
        self._left = 0
        self.reusable = True

    def close(self):
        self._socket.close()

    def is_stale(self):
        """An idle connection that has something to read was closed by the broker."""
        try:
            self._socket.setblocking(False)
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            finally:
                self._socket.setblocking(True)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def send(self, method, target, headers, body):
        """Sends a request; `body` is bytes, or an iterable of bytes that goes out in chunks."""
        whole = isinstance(body, (bytes, bytearray, memoryview))
        length = "Content-Length: %d" % len(body) if whole else "Transfer-Encoding: chunked"
        head = "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n\r\n" % (method, target, headers, length)
        data = head.encode("ascii")
        try:
            if whole and len(body) <= 65536:
                self._socket.sendall(data + bytes(body))
                return
            self._socket.sendall(data)
            if whole:
                self._socket.sendall(body)
                return
        except OSError:
            # A refusal may have come before the body was taken; the answer says.
            self.reusable = False
            return
        self._send_chunks(body)

    def _send_chunks(self, chunks):
        for chunk in chunks:
            if not chunk:
                continue
            try:
                self._socket.sendall(b"%x\r\n%s\r\n" % (len(chunk), bytes(chunk)))
            except OSError:
                self.reusable = False
                return
        try:
            self._socket.sendall(b"0\r\n\r\n")
        except OSError:
            self.reusable = False

    def _fill(self):
        try:
            data = self._socket.recv(262144)
        except OSError:
            data = b""
        self._buffer += data
        return len(data)

    def _line_end(self, mark, limit):
        while True:
            end = self._buffer.find(mark)
            if end >= 0:
                return end
            if len(self._buffer) > limit or not self._fill():
                raise Error("unavailable", "the connection to the broker ended in the middle of an answer")

    def head(self):
        """The answer's status. The body is read by `read` afterwards."""
        if not self._buffer and not self._fill():
            raise Dropped()
        while True:
            end = self._line_end(b"\r\n\r\n", HEAD_LIMIT)
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            self._buffer = self._buffer[end + 4 :]
            parts = lines[0].split(" ", 2)
            if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
                raise Error("unknown", "the broker's answer is not HTTP")
            status = int(parts[1])
            if status >= 200 or status == 101:
                break
        length = 0
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if name == "content-length" and value.isdigit():
                length = int(value)
            elif name == "transfer-encoding" and value.lower() == "chunked":
                length = None
            elif name == "connection" and value.lower() == "close":
                self.reusable = False
        self._left = length
        self._chunk = 0
        return status

    def upgraded(self):
        """The status of the answer to an upgrade; after 101 the connection is the other protocol's."""
        try:
            return self.head()
        except Dropped:
            raise Error("unavailable", "the broker closed the connection without an answer")

    def exactly(self, length):
        """So many bytes of what follows an upgrade."""
        while len(self._buffer) < length:
            if not self._fill():
                raise Error("unavailable", "the connection to the broker ended")
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return data

    def abort(self):
        """Ends the connection under whoever reads from it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It has ended already.
        self._socket.close()

    def write(self, data):
        """Bytes of the protocol that follows an upgrade."""
        self._socket.sendall(data)

    def read(self, limit):
        """Up to `limit` bytes of the body; empty at its end."""
        if self._left is None:
            return self._read_chunked(limit)
        if self._left == 0:
            return b""
        data = self._some(min(limit, self._left))
        self._left -= len(data)
        return data

    def _some(self, limit):
        if not self._buffer:
            try:
                data = self._socket.recv(limit)
            except OSError:
                data = b""
            if not data:
                self.reusable = False
                raise Error("unavailable", "the connection to the broker ended in the middle of an answer")
            return data
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data

    def _read_chunked(self, limit):
        if self._chunk == 0:
            end = self._line_end(b"\r\n", HEAD_LIMIT)
            size = self._buffer[:end].split(b";")[0]
            self._buffer = self._buffer[end + 2 :]
            self._chunk = int(size, 16)
            if self._chunk == 0:
                # No trailers are sent by the broker, only the empty line.
                end = self._line_end(b"\r\n", HEAD_LIMIT)
                self._buffer = self._buffer[end + 2 :]
                self._left = 0
                return b""
        data = self._some(min(limit, self._chunk))
        self._chunk -= len(data)
        if self._chunk == 0:
            end = self._line_end(b"\r\n", HEAD_LIMIT)
            self._buffer = self._buffer[end + 2 :]
        return data

    def body(self):
        parts = []
        while True:
            data = self.read(1048576)
            if not data:
                return b"".join(parts)
            parts.append(data)


class Pool:
    """Idle connections, shared by threads and never with a forked child."""

    def __init__(self):
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self):
        # The child's copies are closed with the list; the parent's connections stay.
        self._idle = []
        self._lock = threading.Lock()

    def take(self, path):
        """(connection, whether it was used before)"""
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            if idle is None:
                return Connection(path), False
            # Another path than before: whoever changed the environment means another broker.
            if idle[0] == path and not idle[1].is_stale():
                return idle[1], True
            idle[1].close()

    def give(self, path, connection):
        if connection.reusable:
            with self._lock:
                if len(self._idle) < IDLE_CONNECTIONS:
                    self._idle.append((path, connection))
                    return
        connection.close()


# The broker serves bulk transfers on threads of their own and sorts connections by
# their first request, so small calls and transfers do not share connections.
_calls = Pool()
_transfers = Pool()


def socket_path():
    path = os.environ.get("RUMI_SOCKET")
    if not path:
        raise Error("unavailable", "RUMI_SOCKET is not set: this program does not run as a component of a pack")
    return path


def start(pool, method, target, headers, body, repeatable):
    """Sends a request and returns (connection, path) with the status checked.

    An idle connection may be dropped at the moment it is used again. Then what can
    be asked twice without harm is asked once more.
    """
    path = socket_path()
    while True:
        connection, used = pool.take(path)
        try:
            connection.send(method, target, headers, body)
            status = connection.head()
        except Dropped:
            connection.close()
            if used and repeatable:
                continue
            raise Error(
                "unavailable",
                "the broker closed the connection without an answer"
                + ("" if repeatable else "; it is not known whether the request was carried out"),
            )
        except BaseException:
            connection.close()
            raise
        if 200 <= status < 300:
            return connection, path
        failure = _failure(connection, status)
        pool.give(path, connection)
        raise failure


def _failure(connection, status):
    try:
        text = connection.body()
    except Error as error:
        return error
    try:
        return from_reply(status, json.loads(text.decode("utf-8")))
    except ValueError:
        return from_reply(status, None)


def call(method, message, repeatable=False):
    """One unary call in the Connect protocol's JSON form."""
    try:
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        raise Error("invalid_argument", "a text of the request is not valid Unicode")
    headers = "Content-Type: application/json\r\nConnect-Protocol-Version: 1\r\n"
    connection, path = start(_calls, "POST", "/rumi.v1.Capabilities/" + method, headers, body, repeatable)
    try:
        text = connection.body()
    except BaseException:
        connection.close()
        raise
    _calls.give(path, connection)
    return json.loads(text.decode("utf-8"))


def upload(target, body):
    """`PUT` of bytes or of an iterable of bytes; the answer as parsed JSON, or {} when it has none."""
    headers = "Content-Type: application/octet-stream\r\n"
    connection, path = start(_transfers, "PUT", target, headers, body, False)
    try:
        text = connection.body()
    except BaseException:
        connection.close()
        raise
    _transfers.give(path, connection)
    return json.loads(text.decode("utf-8")) if text else {}


class Download:
    """The body of a `GET`, read bit by bit. Iterate over it, or use `read`; close it when you stop early."""

    def __init__(self, target):
        self._connection, self._path = start(_transfers, "GET", target, "", b"", True)

    def read(self, size=-1):
        """Up to `size` bytes, exactly as many when the file has them; everything when `size` is negative."""
        parts = []
        while size != 0 and self._connection is not None:
            try:
                data = self._connection.read(1048576 if size < 0 else min(size, 1048576))
            except BaseException:
                self.close()
                raise
            if not data:
                # Only a connection whose answer was read to the end can be used again.
                connection, self._connection = self._connection, None
                _transfers.give(self._path, connection)
                break
            parts.append(data)
            size -= len(data) if size > 0 else 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __iter__(self):
        while True:
            data = self.read(1048576)
            if not data:
                return
            yield data

    def close(self):
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_connection", None) is not None:
            self.close()

"""Frames between a spare and the broker."""

import json
import os
import socket
import struct
from fcntl import F_DUPFD_CLOEXEC, fcntl

FRAME_LIMIT = 16 * 1024 * 1024
# Bound once, so that a tool that replaces functions of `os` (gevent does) changes nothing here.
_read, _write, _fstat = os.read, os.write, os.fstat


class Closed(Exception):
    """The broker closed the connection."""


class Channel:
    """Frames over the connection to the broker: length (4 bytes, big-endian) + JSON."""

    def __init__(self, path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.connect(path)
        self.fd = connection.detach()
        self._buffer = b""
        self._identity = self._stat()
        self._upgrade()

    def _stat(self):
        status = _fstat(self.fd)
        return (status.st_dev, status.st_ino)

    def _upgrade(self):
        self._send(
            b"POST /rumi.v1.Worker/Spare HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: rumi-spare\r\nContent-Length: 0\r\n\r\n"
        )
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > 16384:
                raise OSError("the broker's answer to the upgrade has no end")
            self._fill()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status = head.split(b"\r\n", 1)[0]
        if not status.startswith(b"HTTP/1.1 101"):
            raise OSError("the broker refused a spare: %s" % status[:200].decode("latin-1"))

    def _fill(self):
        data = _read(self.fd, 65536)
        if not data:
            raise Closed()
        self._buffer += data

    def _take(self, count):
        if len(self._buffer) < count:
            parts, have = [self._buffer], len(self._buffer)
            while have < count:
                data = _read(self.fd, min(1048576, count - have + 65536))
                if not data:
                    raise Closed()
                parts.append(data)
                have += len(data)
            self._buffer = b"".join(parts)
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _send(self, data):
        view = memoryview(data)
        while view:
            view = view[_write(self.fd, view) :]

    def receive(self):
        (length,) = struct.unpack(">I", self._take(4))
        if length > FRAME_LIMIT:
            raise OSError("a frame of %d bytes is over the limit" % length)
        return json.loads(self._take(length).decode("utf-8"))

    def send(self, payload):
        # A tool that closed our descriptor may have something else under its number now.
        if self._stat() != self._identity:
            raise Closed()
        self._send(struct.pack(">I", len(payload)) + payload)

    def move_up(self, nofile):
        """Moves the connection to a number that a tool does not hit by accident."""
        fd = fcntl(self.fd, F_DUPFD_CLOEXEC, max(3, nofile - 8))
        os.close(self.fd)
        self.fd = fd

    def wait_for_end(self):
        while _read(self.fd, 65536):
            pass

"""Keeps the first bytes of what a tool and its children print, and lets the rest run through."""

import _thread
import os
import select
import sys
from fcntl import fcntl

from .kernel import flush_stdio

F_SETPIPE_SZ = 1031
PIPE_BYTES = 256 * 1024
# How often buffers are waited for whose tool is busy, 5 ms each.
PATIENCE = 20
_read = os.read


class Stream:
    """One captured output: a pipe, what came through it, and whether all was kept."""

    def __init__(self, target, limit):
        self.source, sink = os.pipe()
        self.kept = bytearray()
        self.limit = limit
        self.truncated = False
        self.open = True
        os.set_blocking(self.source, False)
        try:
            fcntl(self.source, F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # The user's share of pipe memory is used up: a small pipe does as well.
        os.dup2(sink, target, inheritable=True)
        os.close(sink)

    def take(self):
        """Reads once. True when there may be more."""
        try:
            data = _read(self.source, 65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # The tool closed the descriptor.
        if not data:
            self.open = False
            return False
        room = self.limit - len(self.kept)
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self.kept += data
        return True


class Capture:
    """Takes descriptors 1 and 2, keeps the first bytes and lets the rest run through.

    A thread empties the pipes, so that neither the tool nor its children ever wait
    for a reader, whatever they print. It also calls `given_up`, once, when the other end of the
    connection `line` waits for no answer any more; what was printed until then is complete.
    """

    def __init__(self, limit, line, given_up):
        self._line = line
        self._given_up = given_up
        self.streams = (Stream(1, limit), Stream(2, limit))
        self._lock = _thread.allocate_lock()
        self._done = False
        _thread.start_new_thread(self._drain, ())

    def _drain(self):
        poller = select.poll()
        by_fd = {stream.source: stream for stream in self.streams}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        poller.register(self._line, select.POLLRDHUP)
        while by_fd:
            for fd, _ in poller.poll():
                if fd == self._line:
                    poller.unregister(fd)
                    self._say_last()
                    continue
                with self._lock:
                    if self._done:
                        return
                    stream = by_fd[fd]
                    stream.take()
                    if not stream.open:
                        poller.unregister(fd)
                        del by_fd[fd]

    def _empty(self):
        for stream in self.streams:
            # Once the limit is reached, a writer that never stops must not hold us here.
            while stream.open and not stream.truncated and stream.take():
                pass

    def _say_last(self):
        flushed = _thread.allocate_lock()
        flushed.acquire()

        def flush():
            flush_output()
            flushed.release()

        try:
            # The tool may hold a buffer's lock and wait for this thread to read: it must not wait for the tool.
            _thread.start_new_thread(flush, ())
            for _ in range(PATIENCE):
                if flushed.acquire(timeout=0.005):
                    break
                with self._lock:
                    for stream in self.streams:
                        stream.take()
        except RuntimeError:
            pass  # The call has as many threads as it may.
        # Until it is said the tool's own answer waits, should it come now.
        with self._lock:
            if not self._done:
                self._empty()
                self._given_up(self)

    def finish(self):
        """Empties what is in the pipes now, without waiting for more."""
        with self._lock:
            self._done = True
            self._empty()

    def add_error(self, text):
        stream = self.streams[1]
        room = stream.limit - len(stream.kept)
        data = text.encode("utf-8", "replace")
        stream.truncated = stream.truncated or len(data) > room
        stream.kept += data[: max(0, room)]

    def texts(self, limit=None):
        """stdout, stderr, whether something is missing."""
        out, err = (bytes(stream.kept[:limit]).decode("utf-8", "replace") for stream in self.streams)
        cut = any(stream.truncated or (limit and len(stream.kept) > limit) for stream in self.streams)
        return out, err, bool(cut)


def flush_output():
    """Python's and C's own buffers, also when the tool put other objects in their place."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except BaseException:  # A tool's own object may raise anything.
            pass
    flush_stdio()

"""The broker's side of a component's socket, as far as the runner's tests need it."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(os.path.dirname(HERE), "rumi_runner.py")


class Spare:
    """The broker's end of one spare's connection."""

    def __init__(self, connection):
        self.connection = connection
        self.connection.settimeout(20)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = struct.unpack("3i", credentials)[0]
        self.request = b""
        while b"\r\n\r\n" not in self.request:
            data = connection.recv(4096)
            if not data:
                raise EOFError("the spare hung up before its request was whole")
            self.request += data
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rumi-spare\r\n\r\n")

    def send(self, frame):
        payload = json.dumps(frame).encode("utf-8")
        self.connection.sendall(struct.pack(">I", len(payload)) + payload)

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.connection.recv(min(1 << 20, count - len(data)))
            if not part:
                raise EOFError("the spare closed the connection")
            data += part
        return bytes(data)

    def receive(self):
        (length,) = struct.unpack(">I", self._exactly(4))
        return json.loads(self._exactly(length).decode("utf-8"))

    def prepare(self, entry, **limits):
        chosen = {"output_bytes": 1048576, "nofile": 1024}
        chosen.update(limits)
        self.send({"type": "prepare", "entry": entry, "component_id": "default:tool:probe", "limits": chosen})
        return self.receive()

    def call(self, args):
        self.send({"type": "call", "invocation": "1", "args": args})
        return self.receive()

    def close(self):
        self.connection.close()


class Zygote:
    """A warm interpreter, started the way the worker starts it."""

    def __init__(self, interpreter=None, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="rumi-runner-")
        self.path = os.path.join(self.folder.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        self.listener.settimeout(20)
        control, self.control = os.pipe()
        self.report, report = os.pipe()
        variables = {"RUMI_SOCKET": self.path, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": self.folder.name}
        variables.update(environment or {})

        def place():
            # Above 10 first, because 3 and 4 may be among the descriptors to be moved.
            high_control, high_report = (os.dup2(fd, spot) for fd, spot in ((control, 13), (report, 14)))
            os.dup2(high_control, 3)
            os.dup2(high_report, 4)
            os.closerange(5, 4096)

        self.process = subprocess.Popen(
            [interpreter or sys.executable, "-I", "-S", RUNNER],
            env=variables, preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        os.close(control)
        os.close(report)

    def ask(self):
        os.write(self.control, b"s")

    def spare(self):
        self.ask()
        return Spare(self.listener.accept()[0])

    def tool(self, source, name="probe_tool.py"):
        path = os.path.join(self.folder.name, name)
        with open(path, "w") as file:
            file.write(source)
        return path

    def run(self, source, args=None, **limits):
        """One whole call of a tool given by its source; the result frame."""
        spare = self.spare()
        try:
            answer = spare.prepare(self.tool(source), **limits)
            return spare.call(args or {}) if answer["type"] == "ready" else answer
        finally:
            spare.close()

    def close(self):
        os.close(self.control)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            os.close(self.report)
            self.listener.close()
            self.output = self.process.stdout.read().decode("utf-8", "replace")
            self.process.stdout.close()
            self.folder.cleanup()

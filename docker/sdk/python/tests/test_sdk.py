"""The SDK against a small server that speaks the broker's side of the JSON form."""

import base64
import io
import json
import os
import pickle
import socket
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import rumi  # noqa: E402  (found through the line above)

DENIAL = {
    "code": "permission_denied",
    "message": "`/etc` is not granted",
    "details": [{
        "type": "rumi.v1.Denial", "value": "",
        "debug": {"reason": "outside_directory", "sentence": "`/etc` is not granted", "record": "r-7"},
    }],
}


class Server:
    """Accepts connections; `answer(request)` gives (status, body bytes or list of chunks)."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rumi-sdk-")
        self.path = os.path.join(self.folder.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(32)
        self.requests = []
        self.connections = []
        self.answer = lambda request: (200, b"{}")
        # Requests a connection answers before it is closed.
        self.patience = 10 ** 9
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection, len(self.connections)), daemon=True).start()

    def _serve(self, connection, number):
        with connection, connection.makefile("rb") as stream:
            for _ in range(self.patience):
                line = stream.readline().decode()
                if not line:
                    return
                method, target, _ = line.split(" ", 2)
                headers = {}
                while True:
                    line = stream.readline().decode().strip()
                    if not line:
                        break
                    name, value = line.split(":", 1)
                    headers[name.lower()] = value.strip()
                body = self._body(stream, headers)
                request = {"method": method, "target": target, "headers": headers, "body": body, "connection": number}
                self.requests.append(request)
                try:
                    self._reply(connection, *self.answer(request))
                except BrokenPipeError:
                    return  # A client may stop reading when it likes.

    def _body(self, stream, headers):
        if headers.get("transfer-encoding") != "chunked":
            return stream.read(int(headers.get("content-length", 0)))
        parts = []
        while True:
            size = int(stream.readline(), 16)
            parts.append(stream.read(size))
            stream.readline()
            if size == 0:
                return b"".join(parts)

    def _reply(self, connection, status, body):
        head = "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status
        if isinstance(body, bytes):
            connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for chunk in body:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")

    def close_connections(self):
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        time.sleep(0.02)

    def close(self):
        self.listener.close()
        self.close_connections()
        self.folder.cleanup()


def b64(data):
    return base64.b64encode(data).decode()


class SdkTest(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        os.environ["RUMI_SOCKET"] = self.server.path

    def tearDown(self):
        self.server.close()
        del os.environ["RUMI_SOCKET"]

    def replies(self, reply, status=200):
        self.server.answer = lambda request: (status, json.dumps(reply).encode())

    def asked(self):
        request = self.server.requests[-1]
        return request["target"].rsplit("/", 1)[1], json.loads(request["body"].decode())


class Calls(SdkTest):
    def test_what_is_asked_and_what_is_made_of_the_answer(self):
        cases = [
            (lambda: rumi.read_file("/a", 5, 10), "FileRead", {"path": "/a", "offset": "5", "length": "10"},
             {"data": b64(b"\0\xff"), "size": "99"}, b"\0\xff"),
            (lambda: rumi.read_file("/a", length=3), "FileRead", {"path": "/a", "offset": "0", "length": "3"}, {}, b""),
            (lambda: rumi.write_file("/a", "ä"), "FileWrite",
             {"path": "/a", "data": b64("ä".encode()), "mode": "WRITE_MODE_REPLACE"}, {"size": "2"}, 2),
            (lambda: rumi.write_file("/a", bytearray(b"x"), append=True), "FileWrite",
             {"path": "/a", "data": b64(b"x"), "mode": "WRITE_MODE_APPEND"}, {"size": "8"}, 8),
            (lambda: rumi.write_file("/a", b"", create=True), "FileWrite",
             {"path": "/a", "data": "", "mode": "WRITE_MODE_CREATE"}, {}, 0),
            (lambda: rumi.stat("/a"), "FileStat", {"path": "/a"},
             {"kind": "FILE_KIND_DIRECTORY", "size": "4096", "modifiedUnix": "-1", "mode": 493},
             rumi.Stat("directory", 4096, -1, 0o755)),
            (lambda: rumi.mkdir("/a/b", parents=True), "FileMkdir", {"path": "/a/b", "parents": True}, {}, None),
            (lambda: rumi.delete("/a"), "FileDelete", {"path": "/a"}, {}, None),
            (lambda: rumi.rename("/a", "/b"), "FileRename", {"from": "/a", "to": "/b"}, {}, None),
            (lambda: rumi.env(), "EnvRead", {"key": ""}, {"values": {"A": "1"}}, {"A": "1"}),
            (lambda: rumi.env("A"), "EnvRead", {"key": "A"}, {"values": {"A": ""}}, ""),
            (lambda: rumi.run(["ls", "-l"], "/d"), "TerminalRun",
             {"argv": ["ls", "-l"], "directory": "/d", "stdin": "", "timeoutMs": 0},
             {"stdout": b64(b"out"), "durationMs": "12"}, rumi.RunResult(0, b"out", b"", False, "exited", 12)),
            (lambda: rumi.run("ls 'a b'", "/d", stdin="in", timeout_ms=5), "TerminalRun",
             {"command": "ls 'a b'", "directory": "/d", "stdin": b64(b"in"), "timeoutMs": 5},
             {"exitCode": -1, "stderr": b64(b"err"), "truncated": True, "stoppedReason": "STOPPED_REASON_TIMEOUT"},
             rumi.RunResult(-1, b"", b"err", True, "timeout", 0)),
            (lambda: rumi.fetch("https://x/", "POST", {"A": "1"}, "body", 9), "NetworkFetch",
             {"method": "POST", "url": "https://x/", "headers": [{"name": "A", "value": "1"}], "body": b64(b"body"), "timeoutMs": 9},
             {"status": 201, "headers": [{"name": "B", "value": "2"}, {"name": "b"}], "body": b64(b"{}")},
             rumi.Response(201, [("B", "2"), ("b", "")], b"{}")),
        ]
        for act, method, request, reply, expected in cases:
            with self.subTest(method):
                self.replies(reply)
                self.assertEqual(act(), expected)
                self.assertEqual(self.asked(), (method, request))
        self.assertEqual(len(self.server.connections), 1, "connections are kept alive")

    def test_listing_pages(self):
        pages = {
            "": {"entries": [{"name": "a", "kind": "FILE_KIND_FILE"}, {"name": "b", "kind": "FILE_KIND_SYMLINK"}], "nextPageToken": "2"},
            "2": {"entries": [{"name": "c"}]},
        }
        self.server.answer = lambda request: (200, json.dumps(pages[json.loads(request["body"].decode())["pageToken"]]).encode())
        self.assertEqual([tuple(e) for e in rumi.list_dir("/d")], [("a", "file"), ("b", "symlink"), ("c", "other")])

    def test_a_response_is_handy(self):
        response = rumi.Response(200, [("Content-Type", "x"), ("content-type", "y")], b'{"a": 1}')
        self.assertEqual((response.ok, response.json(), response.header("CONTENT-TYPE"), response.header("z")), (True, {"a": 1}, "x", None))

    def test_nothing_to_read_asks_nothing(self):
        self.assertEqual(rumi.read_file("/a", length=0), b"")
        self.assertEqual(self.server.requests, [])

    def test_wrong_arguments(self):
        with self.assertRaises(TypeError):
            rumi.read_file(b"/a")
        with self.assertRaises(ValueError):
            rumi.write_file("/a", b"", append=True, create=True)
        with self.assertRaises(ValueError):
            rumi.env("")
        for act in (lambda: rumi.read_file("/\ud800"), lambda: rumi.env("\ud800")):
            with self.assertRaises(rumi.Error) as caught:
                act()
            self.assertEqual(caught.exception.code, "invalid_argument")


class Transfers(SdkTest):
    def test_downloads(self):
        data = os.urandom(3 << 20)
        for body in (data, [data[:5], data[5 : 2 << 20], data[2 << 20 :]]):
            self.server.answer = lambda request, body=body: (200, body)
            self.assertEqual(rumi.read_file("/a b/ä?&", 7), data)
            parts = urlsplit(self.server.requests[-1]["target"])
            self.assertEqual((parts.path, parse_qs(parts.query)), ("/files", {"path": ["/a b/ä?&"], "offset": ["7"]}))
            with rumi.open_stream("/a", length=3 << 20) as stream:
                self.assertEqual(stream.read(10), data[:10])
                self.assertEqual(b"".join(stream), data[10:])
                self.assertEqual(stream.read(), b"")
        self.assertEqual(len(self.server.connections), 1)

    def test_a_download_given_up_does_not_spoil_the_next(self):
        self.server.answer = lambda request: (200, b"x" * (1 << 20))
        with rumi.open_stream("/a") as stream:
            stream.read(1)
        self.assertEqual(len(rumi.read_file("/a")), 1 << 20)

    def test_uploads(self):
        data = os.urandom(3 << 20)
        cases = [(data, "replace", {}), (io.BytesIO(data), "append", {"append": True}), (iter([b"", data[:9], data[9:]]), "create", {"create": True})]
        for source, mode, options in cases:
            self.replies({"size": str(len(data))})
            self.assertEqual(rumi.write_file("/ä", source, **options), len(data))
            request = self.server.requests[-1]
            self.assertEqual(parse_qs(urlsplit(request["target"]).query), {"path": ["/ä"], "mode": [mode]})
            self.assertEqual((request["method"], request["body"]), ("PUT", data))

    def test_a_refused_upload_is_told_even_when_nobody_reads_it(self):
        def serve():
            connection = self.server.listener.accept()[0]
            connection.recv(100)
            body = json.dumps(DENIAL).encode()
            connection.sendall(b"HTTP/1.1 403 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            connection.close()

        self.server.listener.close()
        os.unlink(self.server.path)
        self.server.listener = socket.socket(socket.AF_UNIX)
        self.server.listener.bind(self.server.path)
        self.server.listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        with self.assertRaises(rumi.Denied):
            rumi.write_file("/a", b"x" * (20 << 20))
        thread.join()

    def test_transfers_and_calls_use_their_own_connections(self):
        rumi.stat("/a")
        rumi.read_file("/a")
        rumi.stat("/a")
        self.assertEqual([request["connection"] for request in self.server.requests], [1, 2, 1])


class Failures(SdkTest):
    def test_denied(self):
        for act in (lambda: rumi.stat("/etc"), lambda: rumi.read_file("/etc"), lambda: rumi.write_file("/etc", b"x" * (2 << 20))):
            self.replies(DENIAL, 403)
            with self.assertRaises(rumi.Denied) as caught:
                act()
            denied = pickle.loads(pickle.dumps(caught.exception))
            self.assertEqual((denied.code, denied.reason, denied.record), ("permission_denied", "outside_directory", "r-7"))
            self.assertEqual(denied.sentence, "`/etc` is not granted")
            self.assertIn("r-7", str(denied))
        self.replies({})
        rumi.stat("/a")

    def test_other_errors(self):
        cases = [
            (404, json.dumps({"code": "not_found", "message": "no such file"}).encode(), "not_found", "no such file"),
            (500, b"oops", "unknown", "the broker answered with status 500"),
            (502, b"[]", "unknown", "the broker answered with status 502"),
        ]
        for status, body, code, message in cases:
            self.server.answer = lambda request, status=status, body=body: (status, body)
            with self.assertRaises(rumi.Error) as caught:
                rumi.stat("/a")
            error = pickle.loads(pickle.dumps(caught.exception))
            self.assertEqual((type(error), error.code, str(error)), (rumi.Error, code, message))

    def test_a_variable_that_is_not_set(self):
        with self.assertRaises(rumi.Error) as caught:
            rumi.env("A")
        self.assertEqual(caught.exception.code, "not_found")

    def test_no_broker(self):
        os.environ["RUMI_SOCKET"] = "/does/not/exist"
        with self.assertRaisesRegex(rumi.Error, "cannot be reached"):
            rumi.stat("/a")

    def test_dropped_idle_connections_are_replaced(self):
        for act in (lambda: rumi.stat("/a"), lambda: rumi.write_file("/a", b"x"), lambda: rumi.read_file("/a")):
            act()
            self.server.close_connections()
            act()

    def test_a_connection_dropped_in_use(self):
        # Each connection answers one request and takes the next without a word.
        self.server.patience = 1

        def answer(request):
            time.sleep(0.05)
            return 200, b"{}"

        self.server.answer = answer
        rumi.stat("/a")
        rumi.stat("/a")

        quiet = socket.socket(socket.AF_UNIX)
        path = self.server.path + "-quiet"
        quiet.bind(path)
        quiet.listen()
        taken = []

        def swallow():
            for _ in range(1):
                connection = quiet.accept()[0]
                taken.append(connection.recv(4096))
                connection.close()

        thread = threading.Thread(target=swallow)
        thread.start()
        os.environ["RUMI_SOCKET"] = path
        with self.assertRaisesRegex(rumi.Error, "not known whether"):
            rumi.run("ls", "/d")
        thread.join()
        quiet.close()
        self.assertEqual(len(taken), 1, "what may have been done is not done twice")


class Sharing(SdkTest):
    def test_threads(self):
        def answer(request):
            return 200, json.dumps({"values": {json.loads(request["body"].decode())["key"]: "v"}}).encode()

        self.server.answer = answer
        failures = []

        def work(number):
            try:
                for turn in range(50):
                    key = "K%d_%d" % (number, turn)
                    if rumi.env(key) != "v":
                        failures.append(key)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_a_forked_child_has_connections_of_its_own(self):
        rumi.stat("/a")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                rumi.stat("/child")
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        rumi.stat("/b")
        self.assertEqual([request["connection"] for request in self.server.requests], [1, 2, 1])


if __name__ == "__main__":
    unittest.main()

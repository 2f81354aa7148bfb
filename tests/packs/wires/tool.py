"""What programs do with a network, one operation a call, with nothing but the standard library."""

import os
import socket
import struct
import time
import urllib.error
import urllib.request


def run(args):
    started = time.monotonic()
    answer = globals()["do_" + args["op"]](*args.get("args", []))
    return {"answer": answer, "seconds": time.monotonic() - started}


def do_environment():
    return dict(os.environ)


def do_exists(path):
    return os.path.exists(path)


def do_resolve(name):
    """The addresses, or the error's name."""
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
        return sorted({entry[4][0] for entry in found})
    except socket.gaierror as error:
        return {v: k for k, v in vars(socket).items() if k.startswith("EAI_")}[error.errno]


def do_connect(host, port, send="", wait=5):
    """How a connection ends: what came over it, or the error's name where nothing did."""
    received = b""
    try:
        with socket.create_connection((host, port), wait) as stream:
            stream.sendall(send.encode())
            while True:
                piece = stream.recv(65536)
                if not piece:
                    return received.decode("latin-1")
                received += piece
    except OSError as error:
        name = type(error).__name__ if error.errno is None else os.strerror(error.errno)
        return received.decode("latin-1") or name


def do_get(url, timeout=10):
    """Status and body by way of the proxy that the environment names, or the refusal's."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            return [reply.status, reply.read().decode("latin-1")]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode("latin-1")]
    except OSError as error:
        return [0, str(error)]


def do_query(text, stream=False, wait=3):
    """A DNS message in hexadecimal digits, sent as it is; the answer, or None."""
    query = bytes.fromhex(text)
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as line:
        line.settimeout(wait)
        try:
            line.connect(("127.0.0.1", 53))
            line.sendall(struct.pack(">H", len(query)) + query if stream else query)
            answer = line.recv(4096)
        except OSError:
            return None
    return (answer[2:] if stream else answer).hex()


def do_flood_queries(count):
    """Sends without waiting for answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect(("127.0.0.1", 53))
        for number in range(count):
            name = b"n%d" % number
            try:
                line.send(b"\0\0\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name + b"\4test\0\0\1\0\1")
            except OSError:
                pass


def do_crowd(host, port, count):
    """How many of so many connections are still open after a moment of silence."""
    streams, open_still = [], 0
    for _ in range(count):
        try:
            streams.append(socket.create_connection((host, port), 5))
        except OSError:
            break
    time.sleep(0.5)
    for stream in streams:
        stream.setblocking(False)
        try:
            stream.recv(1)
        except BlockingIOError:
            open_still += 1
        except OSError:
            pass
    for stream in streams:
        stream.close()
    return open_still


def do_occupy(port):
    """Listens on every address; whether that was possible."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))
            listener.listen()
        except OSError as error:
            return os.strerror(error.errno)
    return "taken"


def do_take_names():
    """Tries to sit where PID 1 answers, in every way that a process of the pack has."""
    said = []
    for kind, option in (
        (socket.SOCK_DGRAM, socket.SO_REUSEADDR),
        (socket.SOCK_DGRAM, socket.SO_REUSEPORT),
        (socket.SOCK_STREAM, socket.SO_REUSEPORT),
    ):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    taken.bind((address, 53))
                    if kind == socket.SOCK_STREAM:
                        taken.listen()
                    said.append("taken")
                except OSError as error:
                    said.append(os.strerror(error.errno))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as taken:
        try:
            taken.bind("\0rumi-names")
            said.append("taken")
        except OSError as error:
            said.append(os.strerror(error.errno))
    return said

"""Runs one operation a call: a function of the SDK, or one of those below."""

import base64
import ctypes
import os
import signal
import subprocess
import sys
import time

import rumi


def plain(value):
    """What JSON cannot hold becomes what it can: bytes as base64, named tuples as objects."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def stream(path, chunk=65536):
    """Reads a file bit by bit and tells its length."""
    total = 0
    with rumi.open_stream(path) as source:
        while True:
            data = source.read(chunk)
            if not data:
                return total
            total += len(data)


def raw(kind):
    """Returns what is not a dictionary with `ok`."""
    loop = []
    loop.append(loop)
    return {
        "none": None,
        "text": "text",
        "list": [1, 2],
        "dict": {"a": 1},
        "ok_alone": {"ok": True},
        "ok_text": {"ok": "yes", "data": 1},
        "ok_data": {"ok": True, "data": 5},
        "ok_error": {"ok": False, "error": {"message": "mine", "type": "own"}},
        "set": {1, 2},
        "nan": float("nan"),
        "infinity": float("inf"),
        "keys": {(1, 2): 3},
        "loop": loop,
        "bytes": b"x",
        "surrogate": "\ud800",
    }[kind]


def spin():
    """Uses the processor for ever."""
    while True:
        pass


def fail(kind, message="failed"):
    raise {"ValueError": ValueError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind](message)


def hoard(megabytes):
    """Uses so much memory, for real."""
    return len(bytearray(os.urandom(1024)) * (1024 * megabytes))


def chatter(megabytes, to="stdout"):
    """Prints so much."""
    out = getattr(sys, to)
    for _ in range(megabytes * 16):
        out.write("x" * 65535 + "\n")
    return megabytes


def forks(depth=8):
    """Leaves processes in sessions of their own behind."""
    for _ in range(depth):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(300)
            os._exit(0)
    return os.getpid()


def kill_own():
    """Ends every process of this component that it can find."""
    me, killed = os.getuid(), []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if os.stat("/proc/" + name).st_uid == me:
                    os.kill(int(name), signal.SIGKILL)
                    killed.append(int(name))
            except OSError:
                pass
    return killed


def processes():
    """All command lines that can be seen, this one's left out."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/stat" % name) as stat:
                    found.append(stat.read().split(")")[0])
            except OSError:
                pass
    return found


def local(path, text=None):
    """Reads or writes a file of the container."""
    if text is None:
        with open(path) as file:
            return file.read()
    with open(path, "w") as file:
        return file.write(text)


OPERATIONS = {
    "stream": stream,
    "fail": fail,
    "hoard": hoard,
    "chatter": chatter,
    "forks": forks,
    "kill_own": kill_own,
    "processes": processes,
    "local": local,
    "listdir": lambda path: sorted(os.listdir(path)),
    "sleep": lambda seconds: time.sleep(seconds),
    "spin": spin,
    "exit": lambda code: os._exit(code),
    "segfault": lambda: ctypes.string_at(0),
    "say": lambda out, err="": print(out) or print(err, file=sys.stderr),
    "echo": lambda value=None: value,
    "pid": os.getpid,
    "spawn": lambda argv: subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout.decode(),
}


def run(args):
    op, rest, named = args["op"], args.get("args", []), args.get("kwargs", {})
    if op == "raw":
        return raw(*rest)
    function = OPERATIONS.get(op) or getattr(rumi, op)
    return {"ok": True, "data": plain(function(*rest, **named))}

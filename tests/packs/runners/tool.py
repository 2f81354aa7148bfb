import atexit
import os
import sys
import threading
import time

import left

COUNT = 0


def look():
    """What one call could find of another."""
    return {
        "global": [COUNT, left.VALUE],
        "file": os.path.exists("/tmp/left"),
        "environment": os.environ.get("LEFT"),
        "threads": threading.active_count(),
        "descriptors": sum(1 for fd in os.listdir("/proc/self/fd") if int(fd) > 2),
        "directory": os.getcwd(),
        "processes": sum(1 for pid in os.listdir("/proc") if pid.isdigit() and b"sleep\x00600" in read("/proc/%s/cmdline" % pid)),
    }


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def leave():
    global COUNT
    COUNT += 1
    left.VALUE += 1
    os.environ["LEFT"] = "left"
    with open("/tmp/left", "w") as file:
        file.write("left")
    os.chdir("/tmp")
    left.FILE = open("/tmp/left")
    os.set_inheritable(left.FILE.fileno(), True)
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    atexit.register(time.sleep, 600)
    if os.fork() == 0:
        os.setsid()
        os.execv("/bin/sh", ["/bin/sh", "-c", "sleep 600 & sleep 600"])


def run(args):
    op = args.get("op")
    if op == "look":
        return look()
    if op == "leave":
        before = look()
        leave()
        return before
    if op == "settings":
        with open("where.txt") as file:
            return [os.environ.get("COLOUR"), os.getcwd(), file.read().strip()]
    if op == "print":
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return None
    if op == "fail":
        raise ValueError("because")
    if op == "exit":
        os._exit(3)
    if op == "missing":
        import no_such_package  # noqa: F401
    if op == "last words":
        print("said on stdout")
        print("said on stderr", file=sys.stderr)
    if op in ("spin", "last words"):
        while True:
            pass
    if op == "hoard":
        hoard = []
        while True:
            hoard.append(bytearray(1 << 20))
    if op == "flood":
        for _ in range(300):
            sys.stdout.write("x" * 16384)
            sys.stderr.write("y" * 16384)
    return args

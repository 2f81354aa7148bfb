"""The Python runner: a warm interpreter that forks one spare process per call.

The zygote (this program) has everything imported that a call needs and nothing of
the pack. For every byte `s` on its control pipe it forks a spare, which connects to the
component's socket and is told over that connection what to load and what to
answer; docs/spare-protocol.md says what travels there. A spare answers one call and
ends, so nothing can leak from one call into the next.

Started as `INTERPRETER -I -S rumi_runner.py`: `-S` because the `.pth` files of a
virtual environment are code of the pack, and the zygote must never run any. Spares
do what `site` would have done, after they were put into their own cgroup.
"""

import gc
import os
import signal
import sys

if sys.version_info < (3, 7):
    # Before anything else is loaded: what follows is not written for it.
    os.write(4, ("failed it is Python %d.%d, and tools need Python 3.7 or later\n" % sys.version_info[:2]).encode("ascii"))
    sys.exit(1)

# Behind everything else: a pack's own module of any name comes first.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from rumi._runner import kernel, spare  # noqa: E402  (found through the line above)
from rumi._runner.packages import Packages  # noqa: E402

CONTROL = 3
REPORT = 4


def report(kind, message):
    """One line for the worker: `ready`, `forked PID`, `refused WHY` (no fork), `failed WHY` (a lost spare)."""
    line = " ".join([kind] + message.split()) + "\n"
    try:
        os.write(REPORT, line.encode("utf-8", "replace"))
    except OSError:
        pass  # The worker is gone; the control pipe will say so.


def main():
    path = os.environ.get("RUMI_SOCKET")
    if not path:
        report("failed", "RUMI_SOCKET is not set")
        return
    # The memory of the warm interpreter is what every later call starts from.
    kernel.set_dumpable(False)
    kernel.set_name(b"rumi-zygote")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # The kernel reaps children whose parent ignores this signal.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Byte code that a call leaves behind would be code of the next.
    sys.dont_write_bytecode = True
    abi = kernel.landlock_abi()
    packages = Packages()
    gc.collect()
    # Objects that no collection touches keep their pages shared with the spares.
    gc.disable()
    gc.freeze()
    report("ready", "")
    while True:
        orders = os.read(CONTROL, 64)
        if not orders:
            return
        for _ in range(orders.count(b"s")):
            try:
                child = os.fork()
            except OSError as error:
                report("refused", "cannot fork a spare: %s" % error)
                continue
            if child == 0:
                os.close(CONTROL)
                spare.live(path, abi, packages, REPORT, lambda message: report("failed", message))
            report("forked", str(child))


if __name__ == "__main__":
    main()

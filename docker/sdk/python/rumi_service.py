"""Runs a service: the pack's own program, for as long as it lives.

Started as `INTERPRETER -I -S rumi_service.py ENTRY` by the component's worker. Like a
spare of a tool it enters its Landlock domain before any code of the pack runs, and it
ends with the worker that started it, so that there are never two.
"""

import os
import resource
import runpy
import sys

SDK = os.path.dirname(os.path.abspath(__file__))
# Behind everything else: a pack's own module of any name comes first.
sys.path.append(SDK)

from rumi._runner import kernel  # noqa: E402  (found through the line above)
from rumi._runner.packages import Packages  # noqa: E402
from rumi._runner.spare import place  # noqa: E402

PR_SET_PDEATHSIG = 1
SIGKILL = 9


def main():
    entry, worker = sys.argv[1], int(sys.argv[2])
    kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != worker:
        return  # It ended before the line above; nobody would end this process.
    kernel.set_name(b"rumi-service")
    packages = Packages()
    kernel.set_dumpable(kernel.enter_domain(kernel.landlock_abi()))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    packages.finish()
    place(entry)
    # Lines are to be seen when they are printed, although nobody sits at a terminal.
    sys.stdout.reconfigure(line_buffering=True)
    runpy.run_path(entry, run_name="__main__")


if __name__ == "__main__":
    main()

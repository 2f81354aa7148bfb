"""Times the PyPI package llm-sandbox with its Docker backend, its container warm: one time in nanoseconds a line.

Started as `llm_sandbox.py IMAGE RUNS`, where IMAGE has `python` on its PATH.
"""

import sys
import time

from llm_sandbox import SandboxSession


def main():
    image, runs = sys.argv[1], int(sys.argv[2])
    settings = {"network_mode": "none"}
    session = SandboxSession(lang="python", image=image, keep_template=True, skip_environment_setup=True, runtime_configs=settings)
    with session:
        for turn in range(runs + 2):
            started = time.perf_counter_ns()
            ran = session.run("print(6 * 7)")
            took = time.perf_counter_ns() - started
            if ran.exit_code != 0 or ran.stdout.strip() != "42":
                sys.exit("llm-sandbox answered %r: %r %r" % (ran.exit_code, ran.stdout, ran.stderr))
            # The first ones look for tools in the container and load modules.
            if turn >= 2:
                print(took, flush=True)


main()

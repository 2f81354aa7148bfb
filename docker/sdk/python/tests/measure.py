"""How long a spare and a call take, seen from the broker's end of the socket."""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake_broker import Zygote  # noqa: E402  (beside this file)

ROUNDS = 500
STEPS = ("fork to connected", "prepare to ready", "call to result")


def main():
    zygote = Zygote()
    entry = zygote.tool("def run(args): return args")
    times = {step: [] for step in STEPS}
    for _ in range(ROUNDS):
        marks = [time.perf_counter()]
        spare = zygote.spare()
        marks.append(time.perf_counter())
        spare.prepare(entry)
        marks.append(time.perf_counter())
        # The broker lets a spare wait; only then is the call alone what is measured.
        time.sleep(0.002)
        marks.append(time.perf_counter())
        spare.call({"x": 1})
        marks.append(time.perf_counter())
        spare.close()
        for step, first, last in zip(STEPS, (0, 1, 3), (1, 2, 4)):
            times[step].append((marks[last] - marks[first]) * 1e3)
    for step in STEPS:
        values = sorted(times[step])
        print("%-18s p50 %.3f ms  p95 %.3f ms  min %.3f ms" % (
            step, statistics.median(values), values[len(values) * 95 // 100], values[0]))
    try:
        with open("/proc/%d/smaps_rollup" % zygote.process.pid) as file:
            print("zygote " + ", ".join(" ".join(line.split()) for line in file if line.startswith(("Rss", "Pss:"))))
    except PermissionError:
        print("the zygote's memory is closed to this user; root outside of a container may look")
    zygote.close()


if __name__ == "__main__":
    main()

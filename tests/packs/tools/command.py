"""Runs one command in a directory of its own."""

import subprocess
import tempfile


def run(args):
    with tempfile.TemporaryDirectory() as directory:
        ended = subprocess.run(
            args["argv"], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, text=True
        )
        return {"code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr}

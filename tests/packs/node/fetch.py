"""Runs the Node script beside this file."""

import json
import os
import subprocess

SCRIPT = os.path.join(os.path.dirname(__file__), "fetch.js")


def run(args):
    ended = subprocess.run(["node", SCRIPT, args["url"]], capture_output=True, timeout=30, text=True)
    if not ended.stdout:
        raise RuntimeError(ended.stderr)
    return {"exit": ended.returncode, **json.loads(ended.stdout)}

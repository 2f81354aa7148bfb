"""Looks through pieces of Python or Bash for what the settings object to.

Reads `{"language", "code", "settings"}` as a line of JSON and prints `{"findings": [{"line", "column",
"rule", "found", "name", "import"}], "more": COUNT}`, or `{"failed": WHY}`. It only parses: nothing of the code runs here.
All is imported before the first line is read, so that it can be started ahead.
"""

import json
import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from rumi_vetting import bash, python  # noqa: E402  (found through the line above)
from rumi_vetting.rules import Settings  # noqa: E402

# Findings that are printed; further ones are counted.
PRINTED = 100

CHECKERS = {"python": python.check, "bash": bash.check}


def answer(line):
    """The reply to one question."""
    asked = json.loads(line)
    checker = CHECKERS.get(asked["language"])
    if checker is None:
        return {"failed": f"`{asked['language']}` is not checked here"}
    try:
        findings = checker(asked["code"], Settings(asked["language"], asked["settings"]))
    except (RecursionError, MemoryError):
        return {"failed": "it is nested too deeply"}
    except OSError as error:
        return {"failed": str(error)}
    findings = sorted(findings, key=lambda one: (one.line, one.column))
    return {"findings": [vars(one) for one in findings[:PRINTED]], "more": max(0, len(findings) - PRINTED)}


def main():
    for line in sys.stdin.buffer:
        if line.strip():
            sys.stdout.write(json.dumps(answer(line)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Looks through one piece of Python or Bash for what the settings object to.

Reads `{"language", "code", "settings"}` as one line of JSON and prints `{"findings": [{"line", "column",
"rule", "found", "name", "import"}]}`, or `{"failed": WHY}`. It only parses: nothing of the code runs here.
All is imported before the line is read, so that it can be started ahead.
"""

import json
import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from rumi_vetting import bash, python  # noqa: E402  (found through the line above)
from rumi_vetting.rules import Settings  # noqa: E402

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
    return {"findings": [vars(finding) for finding in sorted(findings, key=lambda one: (one.line, one.column))]}


def main():
    line = sys.stdin.buffer.readline()
    if line.strip():
        sys.stdout.write(json.dumps(answer(line)) + "\n")


if __name__ == "__main__":
    main()

"""Looks through pieces of Python or Bash for what the settings object to.

Reads `{"language", "code", "settings"}` as a line of JSON and prints `{"findings": [{"line", "column",
"rule", "found", "name", "import"}], "more": COUNT}`, or `{"failed": WHY}`. It only parses: nothing of the code runs here.
All is imported before the first line is read, so that it can be started ahead.
"""

import sys
from _json import encode_basestring_ascii, make_scanner

sys.path.append(__file__.rpartition("/")[0])

from rumi_vetting import python  # noqa: E402  (found through the line above)
from rumi_vetting.rules import Settings  # noqa: E402


class Scanning:
    """What the scanner asks. The module `json` around it takes longer to import than all else here together."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_int = int
    parse_float = parse_constant = float
    memo = {}


scanned = make_scanner(Scanning)

# Findings that are printed; further ones are counted.
PRINTED = 100


def checker(language):
    """What looks through a language; that of Bash is imported only where it is asked for."""
    if language == "python":
        return python.check
    if language == "bash":
        from rumi_vetting import bash

        return bash.check
    return None


def answer(line):
    """The reply to one question."""
    asked, _ = scanned(line, 0)
    check = checker(asked["language"])
    if check is None:
        return {"failed": f"`{asked['language']}` is not checked here"}
    try:
        findings = check(asked["code"], Settings(asked["language"], asked["settings"]))
    except (RecursionError, MemoryError):
        return {"failed": "it is nested too deeply"}
    except OSError as error:
        return {"failed": str(error)}
    findings = sorted(findings, key=lambda one: (one.line, one.column))
    return {"findings": [vars(one) for one in findings[:PRINTED]], "more": max(0, len(findings) - PRINTED)}


def spelled(value):
    """A value as JSON."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ",".join(f"{spelled(key)}:{spelled(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spelled, value)) + "]"
    return str(value)


def main():
    for line in sys.stdin.buffer:
        if line.strip():
            sys.stdout.write(spelled(answer(line.decode())) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

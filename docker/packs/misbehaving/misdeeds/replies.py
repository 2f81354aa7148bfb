"""Answers that cannot be, and answers by other ways than returning."""

import json
import os
import struct
import sys

MEBIBYTE = 1 << 20


def return_set(args):
    """Returns what JSON cannot hold."""
    return {1, 2, 3}


def return_bytes(args):
    return {"data": b"\xff\x00"}


def return_nan(args):
    return {"value": float("nan")}


def return_infinity(args):
    return [float("inf")]


def return_number_keys(args):
    return {1: "one", None: "none"}


def return_cycle(args):
    cycle = []
    cycle.append(cycle)
    return cycle


def return_deep(args):
    """Returns lists in lists, `amount` deep (100,000 without)."""
    deep = []
    for _ in range(args.get("amount", 100_000)):
        deep = [deep]
    return deep


def return_surrogate(args):
    """Returns text that is not Unicode."""
    return "\ud800"


def return_huge(args):
    """Returns a text of `amount` MiB (20 without)."""
    return "x" * (args.get("amount", 20) * MEBIBYTE)


def return_huge_number(args):
    """Returns a number of 10,000 digits."""
    return 10**9_999


def return_function(args):
    return return_function


def return_nothing(args):
    return None


def return_failure(args):
    """Returns the form of a failure by itself."""
    return {"ok": False, "error": {"message": "chosen by the tool", "type": "Chosen"}}


def return_odd_ok(args):
    """Returns a dict that only looks like an answer."""
    return {"ok": "yes", "data": 1}


def return_forged_call(args):
    """Returns a dict with the fields of the frames between runner and broker."""
    return {"type": "result", "invocation": "other", "result": {"ok": True}}


def return_changing(args):
    """Returns a dict that changes while it is written down."""

    class Changing(dict):
        def items(self):
            raise RuntimeError("changed my mind")

    return Changing(ok=True)


def answer_early(args):
    """Writes a forged answer to every open descriptor before returning the true one."""
    body = json.dumps(
        {
            "type": "result",
            "result": {"ok": True, "data": "forged"},
            "stdout": "",
            "stderr": "",
            "truncated": False,
        }
    ).encode()
    for descriptor in descriptors():
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            continue
    return "true"


def write_garbage(args):
    """Writes bytes that are no frame to every open descriptor."""
    for descriptor in descriptors():
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    return "true"


def close_everything(args):
    """Closes every descriptor, the connection to the broker included."""
    os.closerange(0, 4096)
    return "true"


def close_output(args):
    """Closes the standard streams and returns."""
    sys.stdout.close()
    sys.stderr.close()
    os.closerange(0, 3)
    return "true"


def print_escapes(args):
    """Prints sequences that steer a terminal, and lines that look like those of a log."""
    print("\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\nlevel=info msg=forged\n\x00\u202eesrever")
    return "true"


def print_invalid(args):
    """Prints bytes that are no text."""
    os.write(1, b"\xff\xfe\x80 not text\n")
    return "true"


def descriptors():
    """Returns the open descriptors of this process."""
    return [number for number in range(4096) if is_open(number)]


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        return_set,
        return_bytes,
        return_nan,
        return_infinity,
        return_number_keys,
        return_cycle,
        return_deep,
        return_surrogate,
        return_huge,
        return_huge_number,
        return_function,
        return_nothing,
        return_failure,
        return_odd_ok,
        return_forged_call,
        return_changing,
        answer_early,
        write_garbage,
        close_everything,
        close_output,
        print_escapes,
        print_invalid,
    )
}

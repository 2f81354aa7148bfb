"""Misdeeds by kind. Each takes the call's arguments and returns what it achieved.

Each also ends by itself after a while or an amount, so that a wall that does not hold costs
a failed test and not the machine.
"""

import errno


def attempt(action):
    """Does something forbidden; returns `{"done": bool}` with what came of it."""
    try:
        value = action()
    except OSError as error:
        return {"done": False, "error": errno.errorcode.get(error.errno, str(error.errno or error))}
    result = {"done": True}
    if isinstance(value, (bool, int, str, list, dict)):
        result["value"] = value
    return result


def tried(attempts):
    """Returns the answer for several attempts by name: achieved where any of them was done."""
    return {"achieved": any(result["done"] for result in attempts.values()), "attempts": attempts}

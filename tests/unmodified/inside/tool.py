"""Runs a script that knows nothing of rumi, and looks around from within the same process."""

import importlib
import time
import traceback

import surroundings


def run(args):
    script = importlib.import_module(args["script"])
    function = getattr(script, args.get("function", "run"))
    answer = error = None
    started = time.monotonic()
    try:
        answer = function(args["args"])
    except Exception as raised:
        error = "".join(traceback.format_exception(raised))
    seconds = time.monotonic() - started
    seen = surroundings.look(args["look"]) if "look" in args else None
    return {"answer": answer, "error": error, "seconds": seconds, "surroundings": seen}

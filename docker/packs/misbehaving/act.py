"""Commits one misdeed a call and tells what it achieved."""

from importlib import import_module

# The first are loaded soonest: a process is made for each call, and has to load what the call needs.
MODULES = ("replies", "endings", "processes", "floods", "files", "kernel", "sockets", "network")


def run(args):
    """Commits `args["misdeed"]`; most misdeeds return `{"achieved": bool, …}`, some never return."""
    for module in MODULES:
        misdeed = import_module(f"misdeeds.{module}").MISDEEDS.get(args["misdeed"])
        if misdeed is not None:
            return misdeed(args)
    raise ValueError(f"`{args['misdeed']}` is no misdeed; README.md lists them")


def names():
    """Returns the names of all misdeeds."""
    return sorted(name for module in MODULES for name in import_module(f"misdeeds.{module}").MISDEEDS)

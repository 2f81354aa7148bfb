"""Commits one misdeed a call and tells what it achieved."""

from misdeeds import endings, files, floods, kernel, network, processes, replies, sockets

MODULES = (endings, files, floods, kernel, network, processes, replies, sockets)
MISDEEDS = {name: misdeed for module in MODULES for name, misdeed in module.MISDEEDS.items()}


def run(args):
    """Commits `args["misdeed"]`; most misdeeds return `{"achieved": bool, …}`, some never return."""
    misdeed = MISDEEDS.get(args["misdeed"])
    if misdeed is None:
        raise ValueError(f"`{args['misdeed']}` is no misdeed; README.md lists them")
    return misdeed(args)

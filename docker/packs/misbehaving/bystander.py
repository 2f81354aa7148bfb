"""A harmless component in the same container as a misbehaving one."""

import os
import time

SECRET = "the bystander's secret"


def run(args):
    """Looks at its own surroundings, leaves a file behind, or waits to be disturbed."""
    if args["do"] == "leave":
        # Readable by its owner only: the other component has another uid.
        path = f"/tmp/bystander-{os.getpid()}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(SECRET)
        os.environ["BYSTANDER_SECRET"] = SECRET
        time.sleep(args.get("seconds", 0))
        return {"path": path, "pid": os.getpid(), "uid": os.getuid()}
    if args["do"] == "wait":
        time.sleep(args.get("seconds", 1))
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "tmp": sorted(os.listdir("/tmp")),
        "disturbed": os.path.exists("/tmp/disturbed"),
    }

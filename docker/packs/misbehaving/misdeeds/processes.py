"""Processes that stay behind, and attacks on those of others."""

import os
import signal
import time

from . import attempt, tried

# No process left behind lives longer, walls or not.
SECONDS = 60

BEAT_SECONDS = 0.05


def beat(name):
    """Writes to the work area as long as it lives, where the host sees whether it still does."""
    end = time.monotonic() + SECONDS
    path = f"/workspace/beat-{name}"
    while time.monotonic() < end:
        try:
            with open(path, "w") as file:
                file.write(f"{os.getpid()} {time.time():.3f}\n")
        except OSError:
            os._exit(1)
        time.sleep(BEAT_SECONDS)
    os._exit(0)


def detach():
    """Leaves the session, the parent and every descriptor behind."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 4096)


def leave_child(args):
    """Leaves a plain child behind."""
    child = os.fork()
    if child == 0:
        beat("child")
    wait_for_beat("child")
    return {"achieved": True, "pid": child}


def leave_daemon(args):
    """Leaves a child behind that forked twice, in a session of its own, ignoring signals."""
    child = os.fork()
    if child == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        detach()
        beat("daemon")
    os.waitpid(child, 0)
    wait_for_beat("daemon")
    return {"achieved": True}


def leave_respawners(args):
    """Leaves a chain behind in which each makes the next and ends, `amount` links (20 without) at once."""
    for _ in range(args.get("amount", 20)):
        child = os.fork()
        if child == 0:
            detach()
            respawn()
        os.waitpid(child, 0)
    wait_for_beat("respawner")
    return {"achieved": True}


def respawn():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            with open("/workspace/beat-respawner", "w") as file:
                file.write(f"{os.getpid()} {time.time():.3f}\n")
            if os.fork():
                os._exit(0)
            os.setsid()
        except OSError:
            os._exit(1)
        time.sleep(0.01)
    os._exit(0)


def leave_and_loop(args):
    """Leaves a daemon behind and never answers."""
    leave_daemon(args)
    while True:
        time.sleep(3600)


def leave_and_crash(args):
    """Leaves a daemon behind and dies of a signal."""
    leave_daemon(args)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def wait_for_beat(name):
    """Waits until the process left behind is at work, so that its end is an end."""
    start = time.time()
    while time.time() < start + 2:
        try:
            if os.stat(f"/workspace/beat-{name}").st_mtime >= start - 0.5:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.01)


def find_survivors(args):
    """Lists the other processes of this component; achieved where one has outlived the call that made it."""
    mine, found = os.getpid(), []
    for pid in processes():
        try:
            with open(f"/proc/{pid}/stat") as status:
                name, fields = status.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        state, parent = fields.split()[:2]
        found.append({"pid": pid, "name": name, "state": state, "parent": int(parent)})
    # Forked from a spare, and handed to PID 1 when the spare had gone.
    orphans = [process for process in found if process["parent"] == 1 and process["name"] == "rumi-spare"]
    return {"achieved": bool(orphans), "processes": [process for process in found if process["pid"] != mine]}


def processes():
    """Returns the pids of all processes of this uid that it can see."""
    pids = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid in (os.getuid(), 0):
                pids.append(int(name))
        except OSError:
            continue
    return sorted(pids)


def kill_parent(args):
    """Kills the process that made it, which makes the later ones too."""
    return strike({f"parent {os.getppid()}": os.getppid()}, args)


def kill_init(args):
    """Kills PID 1, and with it the container."""
    return strike({"init": 1}, args)


def kill_neighbours(args):
    """Kills every process it can see but itself, one by one."""
    mine = os.getpid()
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return strike({str(pid): pid for pid in pids if pid != mine}, args)


def kill_everything(args):
    """Kills whatever the kernel lets it reach, in one call, and its own process group."""
    number = args.get("amount", signal.SIGKILL)
    attempts = {"everything": attempt(lambda: os.kill(-1, number))}
    return tried(attempts)


def stop_neighbours(args):
    """Stops every process it can see but itself."""
    return kill_neighbours({"amount": signal.SIGSTOP})


def strike(targets, args):
    """Sends the signal in `amount`, SIGKILL without; 0 only asks whether it may."""
    number = args.get("amount", signal.SIGKILL)
    return tried({name: attempt(lambda pid=pid: os.kill(pid, number)) for name, pid in targets.items()})


def read_processes(args):
    """Reads memory, environment and open files of every process but itself."""
    mine = str(os.getpid())
    attempts = {}
    for pid in sorted(name for name in os.listdir("/proc") if name.isdigit() and name != mine):
        for what in ("environ", "mem", "maps", "fd", "cwd", "root", "syscall"):
            path = f"/proc/{pid}/{what}"
            attempts[path] = attempt(lambda path=path, what=what: look(path, what))
    return tried(attempts)


def look(path, what):
    if what in ("cwd", "root"):
        return os.readlink(path)
    if what == "fd":
        return [os.readlink(f"{path}/{name}") for name in os.listdir(path)][:10]
    with open(path, "rb", buffering=0) as file:
        if what == "mem":
            # Opening needs the right to trace; reading would only need an address.
            return "opened"
        return file.read(64).hex()


def write_processes(args):
    """Opens the memory of every process but itself for writing, the warm interpreter's with it."""
    mine = str(os.getpid())
    attempts = {}
    for pid in sorted(name for name in os.listdir("/proc") if name.isdigit() and name != mine):
        path = f"/proc/{pid}/mem"
        attempts[path] = attempt(lambda path=path: os.close(os.open(path, os.O_RDWR)))
    return tried(attempts)


def raise_priority(args):
    """Takes precedence over its neighbours."""
    return tried(
        {
            "nice": attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
            "real time": attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))),
            "never killed for memory": attempt(spare_itself),
        }
    )


def spare_itself():
    with open("/proc/self/oom_score_adj", "r+") as file:
        before = int(file.read())
        file.seek(0)
        file.write("-1000")
    return before


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        leave_child,
        leave_daemon,
        leave_respawners,
        leave_and_loop,
        leave_and_crash,
        find_survivors,
        kill_parent,
        kill_init,
        kill_neighbours,
        kill_everything,
        stop_neighbours,
        read_processes,
        write_processes,
        raise_priority,
    )
}

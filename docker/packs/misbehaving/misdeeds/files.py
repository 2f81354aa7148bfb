"""Files that are none of the pack's business, and traces left for later calls."""

import os
import stat

from . import attempt, tried

# Places where a careless set-up shows the host.
HOST_FILES = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/rumi/../control.sock",
    "/run/rumi/control.sock",
    "/var/lib/rumi/secrets.sealed",
    "/var/lib/rumi/keys",
    "/var/lib/docker",
    "/etc/shadow",
    "/etc/gshadow",
    "/root/.ssh",
    "/host",
    "/mnt/host",
    "/boot",
    "/home/user",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/sda",
    "/dev/vda",
    "/proc/kcore",
    "/proc/1/root",
    "/proc/1/mem",
    "/proc/1/environ",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/keys",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/fs/bpf",
)

# What the container shows and nobody in it may change.
FIXED_FILES = (
    "/written",
    "/etc/passwd",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/ld.so.preload",
    "/usr/bin/python3.11",
    "/usr/bin/written",
    "/usr/lib/python3.11/os.py",
    "/usr/lib/python3.11/__pycache__/os.cpython-311.pyc",
    "/usr/lib/rumi/python/rumi/__init__.py",
    "/usr/lib/rumi/python/rumi_runner.py",
    "/usr/libexec/rumi/guest",
    "/opt/written",
    "/opt/venv/written",
    "/files/written",
    "/run/written",
    "/var/written",
)

# The pack's own code, and what must not appear beside it.
PACK_FILES = (
    "/opt/pack/act.py",
    "/opt/pack/bystander.py",
    "/opt/pack/pack.json",
    "/opt/pack/written.py",
    "/opt/pack/__pycache__/act.cpython-311.pyc",
)

# Switches of the kernel that reach beyond the container.
KERNEL_FILES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/proc/1/oom_score_adj",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
)


def read_host(args):
    """Reads files of the host where a careless set-up would show them; `target` names another."""
    paths = [args["target"]] if "target" in args else HOST_FILES
    return tried({path: attempt(lambda path=path: read(path)) for path in paths})


def read(path):
    if os.path.isdir(path):
        # A directory that exists and is empty shows nothing.
        names = os.listdir(path)
        if not names:
            raise FileNotFoundError(2, "empty")
        return names[:10]
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content = os.read(descriptor, 64)
    finally:
        os.close(descriptor)
    if not content:
        raise FileNotFoundError(2, "empty")
    return content.hex()


def write_system(args):
    """Writes to the container's own system files."""
    return tried({path: attempt(lambda path=path: write(path)) for path in FIXED_FILES})


def write_pack(args):
    """Writes to the pack's own code, which later calls would run."""
    return tried({path: attempt(lambda path=path: write(path)) for path in PACK_FILES})


def write_kernel(args):
    """Writes to switches of the kernel, what they say already."""
    return tried({path: attempt(lambda path=path: rewrite(path)) for path in KERNEL_FILES})


def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    return path


def rewrite(path):
    """Opens for writing only: what is open can be written, and nothing changes on the host."""
    os.close(os.open(path, os.O_WRONLY))
    return path


def write_cgroup(args):
    """Raises its own limits in the control groups."""
    attempts = {}
    for directory, _, names in os.walk("/sys/fs/cgroup"):
        for name in names:
            path = os.path.join(directory, name)
            attempts[path] = attempt(lambda path=path: rewrite(path))
    result = tried(attempts)
    # Thousands of refusals say no more than their number.
    result["attempts"] = {path: outcome for path, outcome in attempts.items() if outcome["done"]}
    result["refused"] = len(attempts) - len(result["attempts"])
    return result


def make_setuid(args):
    """Makes programs that would run with another's rights, and device files."""
    return tried(
        {
            "setuid in /tmp": attempt(lambda: runs_as_another("/tmp")),
            "setuid in /workspace": attempt(lambda: runs_as_another("/workspace")),
            "device in /tmp": attempt(lambda: os.mknod("/tmp/device", 0o600 | stat.S_IFBLK, os.makedev(254, 0))),
            "chown in /tmp": attempt(lambda: give_away("/tmp/given")),
        }
    )


def runs_as_another(directory):
    """Makes a setuid file; true where its mount would honour the bit."""
    path = os.path.join(directory, "setuid")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o755))
    os.chmod(path, 0o6755)
    if os.statvfs(directory).f_flag & os.ST_NOSUID:
        raise PermissionError(1, "the mount ignores the bit")
    if no_new_privileges():
        raise PermissionError(1, "the process may not gain rights")
    return path


def no_new_privileges():
    with open("/proc/self/status") as status:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in status)


def give_away(path):
    write(path)
    os.chown(path, 0, 0)


def run_from_tmp(args):
    """Runs a program that it wrote to /tmp."""
    path = "/tmp/program"
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 7\n")
    os.chmod(path, 0o755)
    return tried({path: attempt(lambda: start(path))})


def start(path):
    child = os.posix_spawn(path, [path], {})
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def link_out(args):
    """Leaves links in the work area that point out of it, for whoever reads it on the host."""
    links = {"shadow": "/etc/shadow", "root": "/", "up": "../../../..", "mem": "/proc/self/mem"}
    for name, target in links.items():
        path = f"/workspace/{name}"
        if not os.path.islink(path):
            os.symlink(target, path)
    hard = attempt(lambda: os.link("/usr/bin/python3.11", "/workspace/hard"))
    return {"achieved": hard["done"], "links": sorted(links), "hard": hard}


def leave_traces(args):
    """Leaves files in /tmp and changes the interpreter, for a later call to find."""
    with open("/tmp/trace", "w") as file:
        file.write("left behind")
    os.makedirs("/tmp/deep/er", exist_ok=True)
    os.symlink("/etc/passwd", f"/tmp/link-{os.getpid()}")
    import builtins
    import json

    builtins.trace = "left behind"
    json.dumps = None
    os.environ["TRACE"] = "left behind"
    os.umask(0)
    os.chdir("/tmp")
    return {"achieved": True, "pid": os.getpid()}


def find_traces(args):
    """Looks for what an earlier call left; achieved where there is anything."""
    import builtins
    import json

    umask = os.umask(0o022)
    # The other component's files are not a trace of ours.
    mine = [entry.path for entry in os.scandir("/tmp") if entry.stat(follow_symlinks=False).st_uid == os.getuid()]
    found = {
        "tmp": sorted(mine),
        "builtins": hasattr(builtins, "trace"),
        "json": json.dumps is None,
        "environment": "TRACE" in os.environ,
        "umask": umask == 0,
        "directory": os.getcwd() == "/tmp",
    }
    return {"achieved": any(found.values()), "found": found, "pid": os.getpid()}


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        read_host,
        write_system,
        write_pack,
        write_kernel,
        write_cgroup,
        make_setuid,
        run_from_tmp,
        link_out,
        leave_traces,
        find_traces,
    )
}

"""System calls that a tool has no use for, made by number so that no library stands between."""

import ctypes
import errno
import os
import platform

from . import tried

LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER = 0x10000000
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PTRACE_SEIZE = 0x4206
AF_ALG, AF_VSOCK, AF_PACKET, AF_NETLINK = 38, 40, 17, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5

# Numbers of those calls that are older than the common numbering (424 and up).
OLD_NUMBERS = {
    "x86_64": {
        "acct": 163,
        "add_key": 248,
        "bpf": 321,
        "chroot": 161,
        "delete_module": 176,
        "fanotify_init": 300,
        "finit_module": 313,
        "init_module": 175,
        "ioperm": 173,
        "iopl": 172,
        "kexec_load": 246,
        "keyctl": 250,
        "mount": 165,
        "mq_open": 240,
        "msgget": 68,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "perf_event_open": 298,
        "pivot_root": 155,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "ptrace": 101,
        "quotactl": 179,
        "reboot": 169,
        "request_key": 249,
        "semget": 64,
        "setdomainname": 171,
        "setgid": 106,
        "sethostname": 170,
        "setns": 308,
        "setuid": 105,
        "settimeofday": 164,
        "shmget": 29,
        "socket": 41,
        "swapon": 167,
        "syslog": 103,
        "umount2": 166,
        "unshare": 272,
        "userfaultfd": 323,
        "vhangup": 153,
    },
    "aarch64": {
        "acct": 89,
        "add_key": 217,
        "bpf": 280,
        "chroot": 51,
        "delete_module": 106,
        "fanotify_init": 262,
        "finit_module": 273,
        "init_module": 105,
        "kexec_load": 104,
        "keyctl": 219,
        "mount": 40,
        "mq_open": 180,
        "msgget": 186,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "perf_event_open": 241,
        "pivot_root": 41,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "ptrace": 117,
        "quotactl": 60,
        "reboot": 142,
        "request_key": 218,
        "semget": 190,
        "setdomainname": 162,
        "setgid": 144,
        "sethostname": 161,
        "setns": 268,
        "setuid": 146,
        "settimeofday": 170,
        "shmget": 194,
        "socket": 198,
        "swapon": 224,
        "syslog": 116,
        "umount2": 39,
        "unshare": 97,
        "userfaultfd": 282,
        "vhangup": 58,
    },
}
NUMBERS = {
    **OLD_NUMBERS.get(platform.machine(), {}),
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}


def call(name, *arguments):
    """Makes a system call in a child, which may die of it; returns what came of it."""
    if name not in NUMBERS:
        return {"done": False, "error": "ENOSYS"}
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        result = LIBC.syscall(NUMBERS[name], *(wide(argument) for argument in arguments))
        os.write(writer, f"{result} {ctypes.get_errno() if result == -1 else 0}".encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 64).split()
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not answer:
        return {"done": False, "error": f"signal {-code}"}
    if answer[0] == b"-1":
        return {"done": False, "error": errno.errorcode.get(int(answer[1]), answer[1].decode())}
    return {"done": True, "value": int(answer[0])}


def wide(argument):
    """A bare int would be passed with 32 bits, where the upper half of the register is not defined."""
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def mount_things(args):
    """Mounts, unmounts and moves the root, by the old calls and the new ones."""
    return tried(
        {
            "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
            "mount bind": call("mount", b"/proc", b"/tmp", None, 4096, None),
            "mount remount": call("mount", b"none", b"/", None, 32, None),
            "umount2": call("umount2", b"/tmp", 2),
            "pivot_root": call("pivot_root", b"/tmp", b"/tmp"),
            "chroot": call("chroot", b"/tmp"),
            "open_tree": call("open_tree", -100, b"/", 1),
            "fsopen": call("fsopen", b"tmpfs", 0),
            "mount_setattr": call("mount_setattr", -100, b"/", 0, None, 0),
        }
    )


def make_namespaces(args):
    """Makes namespaces of its own, where it would hold every capability."""
    return tried(
        {
            "unshare user": call("unshare", CLONE_NEWUSER),
            "unshare mount": call("unshare", CLONE_NEWNS),
            "unshare user, mount, pid, net": call("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET),
            "setns": enter_namespace(),
        }
    )


def enter_namespace():
    try:
        descriptor = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    except OSError as error:
        return {"done": False, "error": errno.errorcode[error.errno]}
    try:
        return call("setns", descriptor, 0)
    finally:
        os.close(descriptor)


def trace_worker(args):
    """Takes hold of its parent process, of PID 1 and of the other component's processes."""
    parent = os.getppid()
    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 64)
    address = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 64)
    attempts = {}
    for name, pid in (("parent", parent), ("init", 1)):
        attempts[f"ptrace {name}"] = call("ptrace", PTRACE_SEIZE, pid, None, None)
        attempts[f"process_vm_readv {name}"] = call("process_vm_readv", pid, vector, 1, address, 1, 0)
        attempts[f"process_vm_writev {name}"] = call("process_vm_writev", pid, vector, 1, address, 1, 0)
    return tried(attempts)


def use_io_uring(args):
    """Asks for a ring, whose operations no system call filter sees."""
    return tried({"io_uring_setup": call("io_uring_setup", 8, ctypes.create_string_buffer(256))})


def share_memory(args):
    """Makes System V and POSIX objects, which outlive processes and ignore file rights."""
    return tried(
        {
            "shmget": call("shmget", 0x52554D49, 4096, 0o1666),
            "semget": call("semget", 0x52554D49, 1, 0o1666),
            "msgget": call("msgget", 0x52554D49, 0o1666),
            "mq_open": call("mq_open", b"misbehaving", os.O_CREAT | os.O_RDWR, 0o666, None),
        }
    )


def use_keys(args):
    """Uses the kernel's key store, which is not divided between containers."""
    return tried(
        {
            "add_key": call("add_key", b"user", b"misbehaving", b"x", 1, -3),
            "request_key": call("request_key", b"user", b"misbehaving", None, -3),
            "keyctl": call("keyctl", 0, -3, 1),
        }
    )


def open_sockets(args):
    """Opens sockets of families that reach past the network namespace or into rarely used code."""
    return tried(
        {
            "AF_ALG": call("socket", AF_ALG, SOCK_SEQPACKET, 0),
            "AF_VSOCK": call("socket", AF_VSOCK, SOCK_STREAM, 0),
            "AF_PACKET": call("socket", AF_PACKET, SOCK_RAW, 0),
            "raw IP": call("socket", 2, SOCK_RAW, 1),
        }
    )


def rule_machine(args):
    """Loads modules, reboots, sets the clock and the name, with arguments that do nothing where they fail."""
    return tried(
        {
            "init_module": call("init_module", None, 0, b""),
            "finit_module": call("finit_module", -1, b"", 0),
            "delete_module": call("delete_module", b"misbehaving", 2048),
            "kexec_load": call("kexec_load", 0, 0, None, 0),
            # With a wrong magic number even a permitted call does nothing.
            "reboot": call("reboot", 0, 0, 0, None),
            "settimeofday": call("settimeofday", None, None),
            "sethostname": call("sethostname", b"owned", 5),
            "setdomainname": call("setdomainname", b"owned", 5),
            "swapon": call("swapon", b"/tmp/none", 0),
            "acct": call("acct", None),
            "quotactl": call("quotactl", 0x800001, None, 0, None),
            "syslog": call("syslog", 3, ctypes.create_string_buffer(64), 64),
            "iopl": call("iopl", 3),
            "ioperm": call("ioperm", 0x80, 1, 1),
            "vhangup": call("vhangup"),
        }
    )


def watch_machine(args):
    """Uses interfaces that see or steer more than one process, and the usual levers of exploits."""
    handle = ctypes.create_string_buffer(256)
    return tried(
        {
            "bpf": call("bpf", 0, ctypes.create_string_buffer(128), 128),
            "perf_event_open": call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0),
            "userfaultfd": call("userfaultfd", 0),
            "fanotify_init": call("fanotify_init", 0, 0),
            "open_by_handle_at": call("open_by_handle_at", -100, handle, 0),
        }
    )


def become_root(args):
    """Asks for root's and the other component's identity."""
    return tried(
        {
            "setuid 0": call("setuid", 0),
            "setgid 0": call("setgid", 0),
            "setuid neighbour": call("setuid", os.getuid() + 1),
        }
    )


def show_rights(args):
    """Tells what it holds: capabilities, filter, groups."""
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")
    with open("/proc/self/status") as status:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    rights = {name: lines.get(name, "").strip() for name in wanted}
    capable = any(int(rights[name] or "0", 16) for name in wanted[:5])
    return {"achieved": capable or rights["NoNewPrivs"] != "1" or rights["Seccomp"] != "2", "rights": rights}


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        mount_things,
        make_namespaces,
        trace_worker,
        use_io_uring,
        share_memory,
        use_keys,
        open_sockets,
        rule_machine,
        watch_machine,
        become_root,
        show_rights,
    )
}

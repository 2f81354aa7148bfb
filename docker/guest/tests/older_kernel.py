"""Runs a program as under a kernel with an older Landlock: `older_kernel.py ABI PROGRAM ARGUMENT…`; with ABI alone, tells this kernel's.

Whoever asks the kernel for a ruleset is held by a seccomp filter, and this process answers as the older
kernel would: it refuses what was not there yet and lets the kernel itself do the rest.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import sys

CREATE_RULESET = 444
SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
RECEIVE, ANSWER = 0xC0502100, 0xC0182101
NOTIFICATION, RESPONSE = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
GO_ON = 1
VERSION = 1
EINVAL, E2BIG, EOPNOTSUPP = 22, 7, 95
# Rights to files by the version that brought the last of them.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def own_version():
    return max(0, LIBC.syscall(ctypes.c_long(CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(VERSION)))


def hold():
    """Has every later question for a ruleset wait for an answer; returns the descriptor to answer by."""
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, CREATE_RULESET), (0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
    LIBC.prctl(38, 1, 0, 0, 0)
    listener = LIBC.syscall(ctypes.c_long(SECCOMP), ctypes.c_uint(1), ctypes.c_uint(8), program)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def answer(abi, pid, attributes, size, flags):
    """Returns a value and an error as that version would, or nothing where the kernel may go on."""
    if flags & VERSION:
        return (abi, 0) if abi else (0, -EOPNOTSUPP)
    if abi == 0:
        return 0, -EOPNOTSUPP
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(attributes)
        files, network, scopes = struct.unpack("QQQ", memory.read(min(size, 24)).ljust(24, b"\0"))
    if (network and abi < 4) or (scopes and abi < 6):
        return 0, -E2BIG
    if files >> FILE_RIGHTS[abi]:
        return 0, -EINVAL
    return None


def attend(abi, listener):
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while not any(events & select.POLLHUP for _, events in waiting.poll()):
        asked = bytearray(NOTIFICATION.size)
        fcntl.ioctl(listener, RECEIVE, asked)
        number, pid, _, _, _, _, attributes, size, flags, *_ = NOTIFICATION.unpack(asked)
        said = answer(abi, pid, attributes, size, flags)
        value, error = said or (0, 0)
        response = RESPONSE.pack(number, value, error, 0 if said else GO_ON)
        fcntl.ioctl(listener, ANSWER, bytearray(response))


def main():
    abi, program = int(sys.argv[1]), sys.argv[2:]
    if not program:
        print(own_version())
        return 0
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        socket.send_fds(there, [b"x"], [hold()])
        os.execv(program[0], program)
    there.close()
    _, [listener], _, _ = socket.recv_fds(here, 1, 1)
    attend(abi, listener)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


sys.exit(main())

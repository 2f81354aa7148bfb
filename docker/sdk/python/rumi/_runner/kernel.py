"""What the runner asks of the kernel directly: process flags and the Landlock domain."""

import ctypes
import os
import struct

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
# System calls added since 2019 have the same number on every architecture.
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_SCOPES_SINCE_ABI = 6
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1
LANDLOCK_SCOPE_SIGNAL = 2

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def prctl(option, value):
    return LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0


def set_name(name):
    """What `ps` shows, so that a person can tell the warm interpreter from its spares."""
    return LIBC.prctl(PR_SET_NAME, name, 0, 0, 0) == 0


def set_dumpable(dumpable):
    """Whether processes of the same user may trace this one or write its memory."""
    return prctl(PR_SET_DUMPABLE, 1 if dumpable else 0)


def flush_stdio():
    """Empties C's own buffers, which an extension may have printed into."""
    LIBC.fflush(None)


def landlock_abi():
    """The kernel's Landlock version, 0 where there is none."""
    return max(0, LIBC.syscall(ctypes.c_long(SYS_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def enter_domain(abi):
    """Forbids signals and abstract sockets beyond this process and its children.

    Returns whether it is so; an older kernel is no reason not to answer a call.
    """
    if abi < LANDLOCK_SCOPES_SINCE_ABI or not prctl(PR_SET_NO_NEW_PRIVS, 1):
        return False
    scopes = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL
    attributes = struct.pack("QQQ", 0, 0, scopes)
    ruleset = LIBC.syscall(
        ctypes.c_long(SYS_LANDLOCK_CREATE_RULESET), attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    )
    if ruleset < 0:
        return False
    entered = LIBC.syscall(ctypes.c_long(SYS_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0
    os.close(ruleset)
    return entered

"""Ends that a call should not have."""

import atexit
import ctypes
import os
import resource
import signal
import sys
import time


def loop(args):
    """Uses the processor for ever."""
    while True:
        pass


def sleep(args):
    """Does nothing, for ever."""
    while True:
        time.sleep(3600)


def ignore_signals(args):
    """Ignores every signal that can be ignored, then does nothing."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            # The C library keeps two for itself.
            continue
    sleep(args)


def leave(args):
    """Exits as programs do."""
    sys.exit(args.get("amount", 3))


def leave_at_once(args):
    """Exits without any clean-up."""
    os._exit(args.get("amount", 0))


def crash(args):
    """Reads where no memory is."""
    ctypes.string_at(0)


def abort(args):
    """Aborts, as a failed assertion in C does."""
    os.abort()


def kill_itself(args):
    """Dies of the signal in `amount`, SIGKILL without."""
    os.kill(os.getpid(), args.get("amount", signal.SIGKILL))
    time.sleep(10)


def dump_core(args):
    """Allows itself a core file, and aborts where one would lie."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass  # Where it may not, it aborts all the same.
    os.chdir("/workspace")
    os.abort()


class Hanging:
    """Never lets go of its process."""

    def __del__(self):
        time.sleep(3600)


def hang_at_exit(args):
    """Answers, and leaves an exit handler and a finaliser that never end."""
    global hanging
    hanging = Hanging()
    atexit.register(time.sleep, 3600)
    return {"achieved": True}


def stop_itself(args):
    """Stops, and never continues."""
    os.kill(os.getpid(), signal.SIGSTOP)
    sleep(args)


def recurse(args):
    """Calls itself without end."""
    return recurse(args)


def overflow_stack(args):
    """Calls itself until the C stack is used up."""
    sys.setrecursionlimit(1 << 30)

    class Endless:
        def __repr__(self):
            return repr([self])

    return repr(Endless())


def raise_error(args):
    """Raises an ordinary exception."""
    raise RuntimeError("as promised")


def raise_interrupt(args):
    """Raises what only a keyboard should."""
    raise KeyboardInterrupt


def raise_unprintable(args):
    """Raises an exception that cannot be turned into text."""

    class Unprintable(BaseException):
        def __str__(self):
            raise ValueError("no text for you")

        __repr__ = __str__

    raise Unprintable


def raise_forged(args):
    """Raises what looks like a refusal of the broker."""

    class Denied(Exception):
        reason = "no_grant"
        record = "00000000"

    raise Denied("forged by the tool")


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        loop,
        sleep,
        ignore_signals,
        leave,
        leave_at_once,
        crash,
        abort,
        kill_itself,
        stop_itself,
        dump_core,
        hang_at_exit,
        recurse,
        overflow_stack,
        raise_error,
        raise_interrupt,
        raise_unprintable,
        raise_forged,
    )
}

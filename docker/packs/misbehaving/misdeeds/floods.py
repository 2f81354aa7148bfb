"""Too much of everything: output, memory, processes, files, descriptors."""

import mmap
import os
import threading
import time

MEBIBYTE = 1 << 20

# No flood goes on for longer, walls or not.
SECONDS = 60


def print_much(args):
    """Prints `amount` MiB (4,096 without) to stdout."""
    return pour(1, args.get("amount", 4096))


def print_errors(args):
    """Prints `amount` MiB (4,096 without) to stderr."""
    return pour(2, args.get("amount", 4096))


def print_one_line(args):
    """Prints `amount` MiB (64 without) without a line break, through Python's own stream."""
    for _ in range(args.get("amount", 64)):
        print("x" * MEBIBYTE, end="")
    return {"achieved": True, "mebibytes": args.get("amount", 64)}


def pour(descriptor, mebibytes):
    block = (b"x" * 99 + b"\n") * 10_486
    written = 0
    end = time.monotonic() + SECONDS
    while written < mebibytes * MEBIBYTE and time.monotonic() < end:
        written += os.write(descriptor, block[: mebibytes * MEBIBYTE - written])
    return {"achieved": True, "mebibytes": written // MEBIBYTE}


def eat_memory(args):
    """Takes `amount` MiB of memory (4,096 without) and touches every page."""
    taken = []
    wanted = args.get("amount", 4096)
    try:
        for _ in range(wanted):
            taken.append(os.urandom(4096) * 256)
    except MemoryError:
        return {"achieved": False, "mebibytes": len(taken)}
    return {"achieved": len(taken) == wanted, "mebibytes": len(taken)}


def eat_mapped_memory(args):
    """Maps `amount` MiB of shared memory (1,024 without) and touches every page."""
    wanted = args.get("amount", 1024)
    mapped = mmap.mmap(-1, wanted * MEBIBYTE)
    for at in range(0, wanted * MEBIBYTE, mmap.PAGESIZE):
        mapped[at] = 1
    return {"achieved": True, "mebibytes": wanted}


def eat_memory_in_a_file(args):
    """Writes `amount` MiB (1,024 without) to a file in memory that has no name."""
    try:
        descriptor = os.memfd_create("eaten")
    except OSError as error:
        return {"achieved": False, "refused": error.strerror}
    block = b"x" * MEBIBYTE
    for _ in range(args.get("amount", 1024)):
        os.write(descriptor, block)
    return {"achieved": True}


def eat_memory_in_children(args):
    """Takes `amount` MiB (1,024 without) spread over eight children, each of them below the limit."""
    wanted = args.get("amount", 1024)
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            taken = [os.urandom(4096) * 256 for _ in range(wanted // 8)]
            time.sleep(2)
            os._exit(0 if taken else 1)
        children.append(child)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return {"achieved": all(code == 0 for code in ended), "exit_codes": ended}


def fork_bomb(args):
    """Forks until it may not, `amount` processes at most (2,000 without)."""
    most = args.get("amount", 2000)
    children, refused = [], None
    while len(children) < most:
        try:
            child = os.fork()
        except OSError as error:
            refused = error.strerror
            break
        if child == 0:
            time.sleep(SECONDS)
            os._exit(0)
        children.append(child)
    return {"achieved": refused is None, "processes": len(children), "refused": refused}


def fork_wildly(args):
    """Forks in every child as well, for `amount` seconds (10 without); never answers itself."""
    end = time.monotonic() + min(args.get("amount", 10), SECONDS)
    while time.monotonic() < end:
        try:
            os.fork()
        except OSError:
            time.sleep(0.001)
    time.sleep(1)
    return {"achieved": True}


def leave_zombies(args):
    """Makes children that end and are never waited for, `amount` at most (5,000 without)."""
    most = args.get("amount", 5000)
    made, refused = 0, None
    while made < most:
        try:
            child = os.fork()
        except OSError as error:
            refused = error.strerror
            break
        if child == 0:
            os._exit(0)
        made += 1
    return {"achieved": refused is None, "processes": made, "refused": refused}


def thread_bomb(args):
    """Starts threads until it may not, `amount` at most (5,000 without)."""
    most = args.get("amount", 5000)
    end = threading.Event()
    threads, refused = [], None
    try:
        while len(threads) < most:
            thread = threading.Thread(target=end.wait, args=(SECONDS,), daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError as error:
        refused = str(error)
    end.set()
    return {"achieved": refused is None, "threads": len(threads), "refused": refused}


def fill_tmp(args):
    """Writes to /tmp until it is full, `amount` MiB at most (1,024 without)."""
    return fill("/tmp/filled", args.get("amount", 1024))


def fill_workspace(args):
    """Writes to the work area until it is full, `amount` MiB at most (4,096 without)."""
    try:
        return fill("/workspace/filled", args.get("amount", 4096))
    finally:
        if args.get("target") != "keep" and os.path.exists("/workspace/filled"):
            os.unlink("/workspace/filled")


def fill_shared_memory(args):
    """Writes to /dev/shm until it is full, `amount` MiB at most (1,024 without)."""
    return fill("/dev/shm/filled", args.get("amount", 1024))


def fill(path, most):
    block = b"x" * MEBIBYTE
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < most * MEBIBYTE:
                written += file.write(block)
    except OSError as error:
        return {"achieved": False, "mebibytes": written // MEBIBYTE, "refused": error.strerror}
    return {"achieved": True, "mebibytes": written // MEBIBYTE, "refused": None}


def make_many_files(args):
    """Makes empty files in /tmp, `amount` at most (200,000 without)."""
    most = args.get("amount", 200_000)
    os.mkdir("/tmp/many")
    made = 0
    try:
        for made in range(most):
            os.close(os.open(f"/tmp/many/{made}", os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        return {"achieved": False, "files": made, "refused": error.strerror}
    return {"achieved": True, "files": most, "refused": None}


def open_many(args):
    """Opens descriptors until it may not, `amount` at most (100,000 without)."""
    opened, refused = [], None
    try:
        for _ in range(args.get("amount", 100_000)):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        refused = error.strerror
    for descriptor in opened:
        os.close(descriptor)
    return {"achieved": refused is None, "descriptors": len(opened), "refused": refused}


def burn_all_processors(args):
    """Keeps eight processes busy for `amount` seconds (5 without)."""
    end = time.monotonic() + min(args.get("amount", 5), SECONDS)
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            while time.monotonic() < end:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    used = os.times()
    return {"achieved": True, "cpu_seconds": round(used.children_user + used.children_system, 3)}


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        print_much,
        print_errors,
        print_one_line,
        eat_memory,
        eat_mapped_memory,
        eat_memory_in_a_file,
        eat_memory_in_children,
        leave_zombies,
        fork_bomb,
        fork_wildly,
        thread_bomb,
        fill_tmp,
        fill_workspace,
        fill_shared_memory,
        make_many_files,
        open_many,
        burn_all_processors,
    )
}

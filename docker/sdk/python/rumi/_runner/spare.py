"""The life of a spare: connect, load the tool when told to, answer one call, end."""

import _signal
import gc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import traceback

from . import kernel
from .capture import Capture, flush_output
from .channel import Channel, Closed
from .result import Unserializable, describe, encode, encode_result, frame_of

PACK = "/opt/pack"
OURS = os.path.dirname(os.path.abspath(__file__))
# The directory that holds the `rumi` package.
SDK = os.path.dirname(os.path.dirname(OURS))
# What a tool may have set up that would strike between its end and our answer. Built-in
# functions only, because a trace function strikes at every call of another; and all of it
# twice, because the first time may be when it strikes.
SIGNALS = range(1, 65)
DISARMING = 2 * ((sys.settrace, None), (sys.setprofile, None), (sys.setrecursionlimit, 1000))
_getsignal, _signal_action = _signal.getsignal, _signal.signal
_getpid, _exit = os.getpid, os._exit


def place(entry):
    """Makes the pack's modules and the SDK importable, here and in children, as from the pack's own file."""
    folder = os.path.dirname(entry)
    sys.path[:0] = [folder, PACK] if entry.startswith(PACK + "/") and folder != PACK else [folder]
    if sys.prefix != sys.base_prefix:
        # The system's interpreter finds the SDK by itself, a virtual environment's does not.
        os.environ["PYTHONPATH"] = SDK
    sys.argv = [entry]


def load(entry, packages):
    """Loads the tool's file as a module and returns its `run`."""
    packages.finish()
    place(entry)
    name = os.path.splitext(os.path.basename(entry))[0]
    if name in sys.modules or not name.isidentifier():
        name = "rumi_tool_" + "".join(c if c.isalnum() else "_" for c in name)
    loader = importlib.machinery.SourceFileLoader(name, entry)
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, entry, loader=loader))
    sys.modules[name] = module
    loader.exec_module(module)
    run = getattr(module, "run", None)
    if not callable(run):
        raise AttributeError("`%s` defines no function `run(args)`" % entry)
    return run


def begin(prepare, packages):
    """Gives the tool its variables and its directory, which its children have too, and loads it."""
    os.environ.update(prepare.get("env") or {})
    directory = prepare.get("working_dir")
    if directory:
        try:
            os.chdir(directory)
        except OSError as error:
            raise OSError(
                "`working_dir` is `%s`, which cannot be entered (%s); name a directory of the container in pack.json"
                % (directory, error.strerror)
            )
    return load(prepare["entry"], packages)


def show_traceback(capture, error):
    """The tool's author finds the traceback in stderr, without the runner's own lines."""
    frames = error.__traceback__
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if not name.startswith(OURS) and not name.startswith("<frozen importlib"):
            break
        frames = frames.tb_next
    try:
        capture.add_error("".join(traceback.format_exception(type(error), error, frames)))
    except BaseException:  # Formatting calls the tool's `__str__`.
        pass


def attempt(step, capture, last):
    """Runs the tool's code. (value, None), or (None, error object); `last` when no more of it will run."""
    pid = _getpid()
    value = raised = None
    try:
        value = step()
    except BaseException as error:  # SystemExit and its kin are answers too.
        raised = error
    if last or raised is not None:
        for undo, argument in DISARMING:
            try:
                undo(argument)
                for number in SIGNALS:
                    # Blocking would not do: another thread may take the signal.
                    if callable(_getsignal(number)):
                        _signal_action(number, _signal.SIG_IGN)
            except BaseException:  # It struck here, and for the last time.
                pass
    if _getpid() != pid:
        _exit(0)  # A child that the tool forked and let run on: it has nothing to say here.
    if raised is None:
        return value, None
    show_traceback(capture, raised)
    return None, describe(raised)


def end_output(capture):
    """From here on nothing of the tool's output is waited for."""
    flush_output()
    capture.finish()


def result_frame(value, failure, capture):
    """The frame for a call, an error where the value fits none."""
    if failure is None:
        try:
            return frame_of(b"result", b"result", encode_result(value), capture)
        except Unserializable as error:
            failure = {"message": str(error), "type": error.kind}
        except BaseException as error:  # Subclasses of dict and list are the tool's code.
            failure = describe(error)
    body = encode({"ok": False, "error": failure}).encode("utf-8")
    return frame_of(b"result", b"result", body, capture)


def last_words(channel):
    """What is said when the broker waits for no answer any more: what was printed."""

    def say(capture):
        try:
            channel.send(result_frame(None, {"message": "nobody waits for an answer", "type": "given_up"}, capture))
        except BaseException:  # The broker is gone altogether, or the tool meddled with the connection.
            pass

    return say


def serve(channel, abi, packages):
    """From the prepare frame to the end of the one call."""
    prepare = channel.receive()
    limits = prepare.get("limits") or {}
    nofile = int(limits.get("nofile", 1024))
    # A domain keeps siblings from tracing us; without one, only this flag does.
    kernel.set_dumpable(kernel.enter_domain(abi))
    channel.move_up(nofile)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # After the domain: Landlock binds the calling thread and those it starts later.
    capture = Capture(int(limits.get("output_bytes", 1048576)), channel.fd, last_words(channel))

    run, failure = attempt(lambda: begin(prepare, packages), capture, last=False)
    if failure is not None:
        end_output(capture)
        channel.send(frame_of(b"broken", b"error", encode(failure).encode("utf-8"), capture))
        channel.wait_for_end()
        return
    # Once for nothing: what the answer touches is copied from the zygote now, not in the call.
    result_frame({"ok": True, "data": [""]}, None, capture)
    channel.send(b'{"type":"ready"}')

    args = channel.receive()["args"]
    value, failure = attempt(lambda: run(args), capture, last=True)
    end_output(capture)
    channel.send(result_frame(value, failure, capture))
    channel.wait_for_end()


def live(path, abi, packages, pipe, failed):
    """What a forked child does; it never returns. `failed` tells the worker over `pipe` why no spare came of it."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # `kill(0, …)` of a tool must not reach the zygote.
        os.setsid()
        kernel.set_name(b"rumi-spare")
        gc.enable()
        try:
            channel = Channel(path)
        except (OSError, Closed) as error:
            failed("a spare cannot reach the broker at `%s`: %s" % (path, error))
            return
        os.close(pipe)
        serve(channel, abi, packages)
    except Closed:
        pass  # The broker has no use for this spare any more.
    except BaseException:  # Nothing may run on behind this.
        _exit(70)
    finally:
        _exit(0)

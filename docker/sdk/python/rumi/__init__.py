"""rumi: what a tool may ask of the world outside its container.

Every function asks the broker, which checks the request against what the component
was granted and writes it down. A refusal raises `rumi.Denied`, with a reason code, a
sentence and the id of the audit record; everything else that fails raises `rumi.Error`.
"""

from ._capabilities import (
    Entry,
    Response,
    RunResult,
    Stat,
    delete,
    env,
    fetch,
    iter_dir,
    list_dir,
    mkdir,
    open_stream,
    read_file,
    read_text,
    rename,
    run,
    stat,
    write_file,
)
from ._custom import call
from ._errors import Denied, Error, HandlerError
from ._terminal import Exit, Process, popen

__all__ = [
    "Denied",
    "Entry",
    "Error",
    "Exit",
    "HandlerError",
    "Process",
    "Response",
    "RunResult",
    "Stat",
    "call",
    "delete",
    "env",
    "fetch",
    "iter_dir",
    "list_dir",
    "mkdir",
    "open_stream",
    "popen",
    "read_file",
    "read_text",
    "rename",
    "run",
    "stat",
    "write_file",
]

"""Calls of custom handlers: permissions that the admin added."""

import json
from typing import Any, Dict

from ._connection import call as unary
from ._errors import Error, HandlerError


def call(*handler: Any, **args: Any) -> Any:
    """The answer of a custom handler, called by its name: `call("clock", zone="UTC")`.

    Arguments may also be one dict, for those that are no names: `call("clock", {"time zone": "UTC"})`.
    A handler that answers with an error raises `rumi.HandlerError`, which holds the error.
    """
    if not 1 <= len(handler) <= 2 or (len(handler) == 2 and args):
        raise TypeError("call takes a handler's name, then one dict of arguments or arguments by name")
    named = handler[1] if len(handler) == 2 else args  # type: Dict[str, Any]
    if not isinstance(named, dict):
        raise TypeError("a handler's arguments are a dict, not %s" % type(named).__name__)
    text = json.dumps(named, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    reply = unary("CustomCall", {"permission": handler[0], "argsJson": text})
    try:
        result = json.loads(reply.get("resultJson") or "null")
    except RecursionError:
        raise Error("handler_failed", "the answer of `%s` is nested too deep" % handler[0])
    if isinstance(result, dict) and result.get("ok") is True:
        return result.get("data")
    raise HandlerError(handler[0], result.get("error") if isinstance(result, dict) else None)

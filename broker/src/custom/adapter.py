"""Stands between the runner and a custom handler: shows its META, calls its `execute`, and
gives the answer the form of every tool's. Written by the broker, one copy a handler."""

import importlib.util
import os
import sys


def _load():
    # A directory that is not on `sys.path`: a handler called `json` must not become everybody's.
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handler")
    (file,) = [name for name in os.listdir(folder) if name.endswith(".py")]
    name = "rumi_handler_" + file[: -len(".py")]
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_handler = _load()


def _wrong(message):
    return {"ok": False, "error": {"message": message, "type": "bad_handler"}}


def run(request):
    execute = getattr(_handler, "execute", None)
    if not callable(execute):
        return _wrong("the file defines no function `execute(context, args)`")
    if request.get("describe") is True:
        if not hasattr(_handler, "META"):
            return _wrong("the file defines no `META`")
        return {"ok": True, "data": _handler.META}
    answer = execute(request["context"], request["args"])
    success = answer.get("success") if isinstance(answer, dict) else None
    if success is True:
        return {"ok": True, "data": answer.get("data")}
    if success is False:
        return {"ok": False, "error": answer.get("error")}
    return _wrong('the handler returned no `{"success": true, "data": …}` and no `{"success": false, "error": …}`')

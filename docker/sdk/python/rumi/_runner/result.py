"""Turns what a tool returned or raised into the frame that answers a call."""

import json

from .._errors import Denied
from .channel import FRAME_LIMIT

MESSAGE_LIMIT = 16 * 1024
# What is kept of the output when the frame would not hold it otherwise.
OUTPUT_REST = 64 * 1024
# The reader of the reply (serde_json) stops at 128 levels; three are the frame's own.
DEPTH_LIMIT = 120
# Bound once, so that nothing a tool does to `json` reaches the output's encoding.
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Unserializable(Exception):
    """A result that JSON cannot hold, or that no frame can hold."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def describe(error):
    """The error object of an exception."""
    try:
        message = str(error)
    except BaseException as second:  # `__str__` is the tool's code.
        message = "(its message cannot be shown: %s)" % type(second).__name__
    name = type(error).__name__
    message = (message or name).encode("utf-8", "replace")[:MESSAGE_LIMIT].decode("utf-8", "ignore")
    if isinstance(error, ModuleNotFoundError):
        message += " (if it is a package, add it to the pack's requirements.txt and build the pack again)"
    described = {"message": message, "type": name}
    if isinstance(error, Denied):
        described["reason"] = str(error.reason)
        described["record"] = str(error.record)
    return described


def check_shape(value):
    """Refuses what json would bend into shape (keys that are not text) or no reader takes (depth)."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEPTH_LIMIT:
            raise Unserializable("unserializable", "the result is nested deeper than %d levels" % DEPTH_LIMIT)
        below = []
        for item in level:
            if isinstance(item, dict):
                for kind in set(map(type, item)):
                    if not issubclass(kind, str):
                        raise Unserializable("unserializable", "a key of the result is %s; JSON keys are text" % kind.__name__)
                item = item.values()
            for kind in set(map(type, item)):
                if issubclass(kind, (dict, list, tuple)):
                    below.extend(child for child in item if isinstance(child, (dict, list, tuple)))
                    break
        level = below


def encode_result(value):
    """The JSON text of what a tool returned, wrapped where it is not in the form already."""
    formed = isinstance(value, dict) and isinstance(value.get("ok"), bool) and ("data" in value or "error" in value)
    result = value if formed else {"ok": True, "data": value}
    try:
        # First, because it finds cycles; what follows would run for ever in one.
        text = encode(result)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise Unserializable("unserializable", "the result cannot be written as JSON: %s" % error)
    check_shape(result)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unserializable("unserializable", "a text of the result holds half of a surrogate pair, which UTF-8 cannot hold")


def frame_of(kind, name, body, capture):
    """The bytes of a frame; the output gives way where both do not fit."""
    for limit in (None, OUTPUT_REST):
        out, err, truncated = capture.texts(limit)
        payload = b'{"type":"%s","%s":%s,"stdout":%s,"stderr":%s,"truncated":%s}' % (
            kind, name, body, encode(out).encode("utf-8"), encode(err).encode("utf-8"), b"true" if truncated else b"false",
        )
        if len(payload) <= FRAME_LIMIT:
            return payload
    raise Unserializable("result_too_large", "the result is %d bytes of JSON; at most 16 MiB are possible" % len(body))

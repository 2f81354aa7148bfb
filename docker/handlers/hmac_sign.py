"""Signs text with a key that the caller never sees.

The caller's grant names the key (`{"key": "WEBHOOK_KEY"}`); this handler's own grant for
`env_read` says which keys it may use at all.
"""

import hashlib
import hmac

import rumi

META = {
    "requires_scope": False,
    "supports_modes": ["sandbox"],
    "description": "HMAC-SHA-256 of a text, under a key that stays with the handler.",
    "schema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
}


def execute(context, args):
    name = context["config"].get("key")
    if not isinstance(name, str):
        return {"success": False, "error": {"type": "no_key", "message": "the grant names no `key`"}}
    # The caller is told that there is no signature, and not why the handler has no key.
    try:
        key = rumi.env(name)
    except rumi.Error:
        return {"success": False, "error": {"type": "no_key", "message": "the key cannot be used"}}
    return {"success": True, "data": hmac.new(key.encode(), args["text"].encode(), hashlib.sha256).hexdigest()}

"""What goes wrong, as exceptions."""


class Error(Exception):
    """A request that failed. `code` is the protocol's code, e.g. `not_found`."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        # Exceptions are pickled by their message alone unless told otherwise.
        return type(self), (self.code, self.args[0])


class Denied(Error):
    """A request that the broker refused.

    `reason` is one of the reason codes (e.g. `outside_directory`), `sentence` says it in
    words, `record` is the audit record's id, which an admin can look up.
    """

    def __init__(self, code, reason, sentence, record):
        super().__init__(code, "%s (%s, record %s)" % (sentence, reason, record))
        self.reason = reason
        self.sentence = sentence
        self.record = record

    def __reduce__(self):
        return type(self), (self.code, self.reason, self.sentence, self.record)


class HandlerError(Error):
    """A custom handler that answered with an error. `error` is what it answered, as it came."""

    def __init__(self, handler, error):
        said = error.get("message") if isinstance(error, dict) else error
        super().__init__("handler_failed", "`%s` answered: %s" % (handler, said))
        self.handler = handler
        self.error = error

    def __reduce__(self):
        return type(self), (self.handler, self.error)


def from_reply(status, body):
    """The exception that a reply with an error status stands for; `body` is the parsed JSON or None."""
    if not isinstance(body, dict):
        return Error("unknown", "the broker answered with status %d" % status)
    code = str(body.get("code") or "unknown")
    message = str(body.get("message") or "the broker answered with status %d" % status)
    for detail in body.get("details") or ():
        if isinstance(detail, dict) and detail.get("type") == "rumi.v1.Denial":
            denial = detail.get("debug") or {}
            return Denied(
                code,
                str(denial.get("reason") or code),
                str(denial.get("sentence") or message),
                str(denial.get("record") or ""),
            )
    return Error(code, message)

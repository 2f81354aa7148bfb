"""Read-only SQL over databases that the caller was granted.

The caller names a database; its grant says which file that is, and this handler's own
grant for `file_read` says which files may be opened at all. Both must agree.
"""

import base64
import math
import os
import sqlite3
import time
import urllib.parse

import rumi

META = {
    "requires_scope": True,
    "supports_modes": ["sandbox"],
    "description": "Answers one SELECT over a granted SQLite database.",
    "schema": {
        "type": "object",
        "properties": {
            "database": {"type": "string", "minLength": 1},
            "sql": {"type": "string", "minLength": 1, "maxLength": 100000},
            "parameters": {
                "anyOf": [
                    {"type": "array", "items": {"$ref": "#/$defs/value"}},
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
                ]
            },
        },
        "required": ["database", "sql"],
        "additionalProperties": False,
        "$defs": {"value": {"type": ["string", "number", "boolean", "null"]}},
    },
}

# What a query may do, and nothing else: no PRAGMA, no ATTACH, no writing, no transactions.
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# Functions that reach beyond the query.
FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}


def execute(context, args):
    config = context["config"]
    path = config.get("databases", {}).get(args["database"])
    if not isinstance(path, str):
        return refused("no_database", "the database `%s` was not granted" % args["database"])
    if path in config.get("forbidden_databases", []):
        return refused("no_database", "the database `%s` is forbidden to all" % args["database"])
    try:
        return {"success": True, "data": query(path, args["sql"], args.get("parameters", []), config)}
    except rumi.Error as error:
        return refused("unreadable", "the database `%s` cannot be read: %s" % (args["database"], error))
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        return refused("sql", str(error))


def refused(kind, message):
    return {"success": False, "error": {"type": kind, "message": message}}


def query(path, sql, parameters, config):
    connection = connect(path, config["max_database_bytes"])
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, config["max_result_bytes"])
    connection.set_authorizer(authorize)
    deadline = time.monotonic() + config["timeout_ms"] / 1000
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
    try:
        cursor = connection.execute(sql, parameters)
        if cursor.description is None:
            raise ValueError("only a SELECT is answered")
        columns = [column[0] for column in cursor.description]
        rows, truncated = fetch(cursor, config["max_rows"], config["max_result_bytes"])
    except sqlite3.OperationalError as error:
        if time.monotonic() > deadline:
            raise ValueError("the query took longer than %d ms" % config["timeout_ms"])
        raise error
    return {"columns": columns, "rows": rows, "truncated": truncated}


def fetch(cursor, most_rows, most_bytes):
    rows, size = [], 0
    for row in cursor:
        if len(rows) == most_rows:
            return rows, True
        row = [plain(value) for value in row]
        size += sum(len(value) if isinstance(value, str) else 16 for value in row)
        if size > most_bytes:
            return rows, True
        rows.append(row)
    return rows, False


def plain(value):
    """What JSON cannot hold as text: BLOBs as base64, numbers without an end by name."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def authorize(action, first, second, database, trigger):
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY


def connect(path, most_bytes):
    file = "/files" + path
    if os.path.isfile(file):
        if os.path.getsize(file) > most_bytes:
            raise ValueError("the database is larger than %d bytes" % most_bytes)
        # Immutable: no journal is looked for, no lock is taken, nothing is ever written.
        uri = "file:%s?mode=ro&immutable=1" % urllib.parse.quote(file)
        return sqlite3.connect(uri, uri=True, isolation_level=None)
    data = bytearray(rumi.read_file(path, 0, most_bytes + 1))
    if len(data) > most_bytes:
        raise ValueError("the database is larger than %d bytes" % most_bytes)
    if data[18:20] == b"\x02\x02":
        # A copy in memory has no write-ahead log; what stands in the file alone is read.
        data[18:20] = b"\x01\x01"
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(bytes(data))
    connection.execute("PRAGMA query_only = ON")
    return connection

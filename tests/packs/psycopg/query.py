"""Runs one query."""

import psycopg


def run(args):
    with psycopg.connect(args["database"]) as connection:
        rows = connection.execute(args["query"]).fetchall()
        return {"rows": rows, "tls": connection.pgconn.ssl_in_use}

"""Fetches a page."""

import httpx


def run(args):
    response = httpx.get(args["url"], timeout=20, follow_redirects=True)
    return {"status": response.status_code, "text": response.text}

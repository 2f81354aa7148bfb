"""Fetches a page."""

import hashlib

import requests


def run(args):
    response = requests.request(args.get("method", "GET"), args["url"], data=args.get("data"), timeout=20)
    return {
        "status": response.status_code,
        "text": response.text,
        "url": response.url,
        "hops": [hop.url for hop in response.history],
    }


def download(args):
    """Reads a page bit by bit and tells its length and SHA-256."""
    digest, length = hashlib.sha256(), 0
    with requests.get(args["url"], stream=True, timeout=20) as response:
        response.raise_for_status()
        for piece in response.iter_content(256 * 1024):
            digest.update(piece)
            length += len(piece)
    return {"bytes": length, "sha256": digest.hexdigest()}


def upload(args):
    """Sends so many bytes, which nobody ever holds as a whole."""
    piece = b"0123456789abcdef" * 4096
    digest, count = hashlib.sha256(), args["bytes"] // len(piece)
    for _ in range(count):
        digest.update(piece)
    response = requests.put(args["url"], data=(piece for _ in range(count)), timeout=20)
    return {"sent": digest.hexdigest(), "server": response.json()}

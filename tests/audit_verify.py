#!/usr/bin/env python3
"""Verifies an audit log as docs/audit-format.md describes it: audit_verify.py DIR PUBKEY [LAST_KNOWN].

Written from that page alone, so that a mistake in the broker's own verifier is not repeated here.
Exit code 0: the log is whole. 1: it is not; the first bad record is named.
"""
import base64
import hashlib
import json
import os
import re
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LIMIT, EXACT, DEPTH = 65536, 2**53, 32
HEADER = "v seq time boot_id mono_ns phase".split()
MEMBERS = "id pack component container peer invocation permission action target decision reason grant policy detail".split()
PHASES = {  # phase: (required, allowed besides)
    "decision": ("id pack component peer permission action target decision policy", "container invocation reason grant detail"),
    "outcome": ("id pack component permission action reason", "detail"),
    "admin": ("id peer action target", "pack component reason detail"),
    "policy": ("id policy detail", ""),
    "recovered": ("id detail", ""),
    "key": ("id detail", ""),
}
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
BOOT = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ID, HASH, NAME = r"[0-9a-hjkmnp-tv-z]{16}", r"[0-9a-f]{64}", r"[^\s+]+"
ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\"\\\\]")


class Bad(Exception):
    """What is wrong with a log."""


def need(truth, what):
    if not truth:
        raise Bad(what)


def from_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Bad(f"bad base64: {error}") from error
    need(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


def members(pairs):
    need(len({key for key, _ in pairs}) == len(pairs), "a key that occurs twice")
    return dict(pairs)


def spell(value, depth=0):
    """The one spelling of a value. What was read must be spelled just so."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        need(abs(value) <= EXACT, "a number beyond 2^53")
        return str(value)
    if isinstance(value, str):
        escape = lambda m: "\\" + m[0] if m[0] in '"\\' else f"\\u{ord(m[0]):04x}"
        return '"' + ESCAPED.sub(escape, value) + '"'
    need(depth < DEPTH + 1, "a value nested too deep")
    if isinstance(value, list):
        return "[" + ",".join(spell(item, depth + 1) for item in value) + "]"
    return "{" + ",".join(f"{spell(key)}:{spell(item, depth + 1)}" for key, item in value.items()) + "}"


def number(value):
    if isinstance(value, str):
        need(re.fullmatch("[1-9][0-9]{15,19}", value) and EXACT < int(value) < 2**64, "a number in the wrong spelling")
        return int(value)
    need(isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a number is expected")
    return value


def check_target(value):
    if isinstance(value, str):
        return
    need(isinstance(value, dict), "a target that is no text")
    keys = list(value)
    need(keys[:1] in (["truncated"], ["base64"]) and keys[1:] in ([], ["bytes", "sha256"]), "a target of unknown form")
    need(keys != ["truncated"] and isinstance(value[keys[0]], str), "a target of unknown form")
    if keys[0] == "base64":
        from_base64(value["base64"])
    if len(keys) > 1:
        number(value["bytes"])
        need(isinstance(value["sha256"], str) and re.fullmatch(HASH, value["sha256"]), "a target without its hash")


def check_member(key, value):
    if key == "target":
        check_target(value)
    elif key == "detail":
        need(isinstance(value, dict), "a detail that is no object")
    elif key == "peer":
        need(isinstance(value, dict) and list(value) == ["uid", "pid"], "a peer without uid and pid")
        number(value["uid"]), number(value["pid"])
    else:
        need(isinstance(value, str), f"`{key}` is no string")
        need(key != "id" or re.fullmatch(ID, value), "an id that is none")
        need(key != "decision" or value in ("allow", "deny"), "a decision other than allow and deny")


def no_float(text):
    raise Bad(f"the number {text}")


def read_record(line):
    """The record that a line holds, if it is spelled and built as it must be."""
    record = json.loads(line.decode(), object_pairs_hook=members, parse_float=no_float, parse_constant=no_float)
    need(isinstance(record, dict) and spell(record).encode() == line, "not in its one spelling")
    keys = list(record)
    need(keys[:6] == HEADER and keys[-1] == "prev", "a member is missing or out of order")
    need(record["v"] == 1 and record["v"] is not True, "not version 1")
    for key, form in (("time", TIME), ("boot_id", BOOT), ("prev", HASH)):
        need(isinstance(record[key], str) and re.fullmatch(form, record[key]), f"`{key}` is malformed")
    number(record["seq"]), number(record["mono_ns"])
    need(isinstance(record["phase"], str) and record["phase"] in PHASES, "an unknown phase")
    required, allowed = (set(names.split()) for names in PHASES[record["phase"]])
    body = keys[6:-1]
    need(body == [key for key in MEMBERS if key in record], "a member is unknown or out of order")
    need(required <= set(body) <= required | allowed, "members that do not fit the phase")
    need(record.get("decision") != "deny" or "reason" in record, "a denial without reason")
    for key in body:
        check_member(key, record[key])
    return record


def read_key(path):
    with open(path, encoding="utf-8") as file:
        name, hint, key = file.read().rstrip("\n").split("+", 2)
    typed = from_base64(key)
    need(re.fullmatch(NAME, name) and len(typed) == 33 and typed[0] == 1, "the public key is malformed")
    digest = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    need(digest.hex() == hint, "the hash in the public key does not fit")
    return name, digest, typed[1:]


def read_checkpoint(path, key):
    name, hint, public = key
    with open(path, "rb") as file:
        text, mark, signatures = file.read().decode().rpartition("\n\n")
    need(mark and signatures.endswith("\n"), "the checkpoint has no signature")
    text += "\n"
    signed = False
    for line in signatures[:-1].split("\n"):
        need(line.startswith("\u2014 ") and line.count(" ") >= 2, "the checkpoint has a malformed signature line")
        _, signer, spelled = line.split(" ", 2)
        if signer != name:
            continue
        data = from_base64(spelled)
        if data[:4] == hint:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(data[4:], text.encode())
                signed = True
            except InvalidSignature:
                pass
    need(signed, "the checkpoint is not signed by this key")
    lines = text.split("\n")
    need(len(lines) > 3 and lines[0] == name, "the checkpoint is of another log")
    need(re.fullmatch("0|[1-9][0-9]*", lines[1]), "the checkpoint's size is malformed")
    return int(lines[1]), from_base64(lines[2])


class Tree:
    """Merkle tree of RFC 6962, by the roots of its complete subtrees, largest first."""

    def __init__(self):
        self.size, self.edge = 0, []

    def push(self, leaf):
        self.edge.append(leaf)
        self.size += 1
        size = self.size
        while size % 2 == 0:
            right, left = self.edge.pop(), self.edge.pop()
            self.edge.append(hashlib.sha256(b"\x01" + left + right).digest())
            size //= 2

    def root(self):
        if not self.edge:
            return hashlib.sha256(b"").digest()
        root = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            root = hashlib.sha256(b"\x01" + left + root).digest()
        return root


def read_lines(path, last):
    for attempt in range(10):
        with open(path, "rb") as file:
            data = file.read()
        if data.endswith(b"\n") or not data or not last:
            break
        time.sleep(0.05)
    return data.split(b"\n")[:-1] if data.endswith(b"\n") else data.split(b"\n") if data else [], data.endswith(b"\n")


def verify(directory, key_path, last_known=None):
    key = read_key(key_path)
    checkpoints = [read_checkpoint(os.path.join(directory, "checkpoint"), key)]
    if last_known:
        checkpoints.append(read_checkpoint(last_known, key))
    names = sorted(n for n in os.listdir(directory) if re.fullmatch(r"log-[0-9]{20}\.jsonl", n))
    tree, prev = Tree(), bytes(32)
    for place, name in enumerate(names):
        last = place == len(names) - 1
        need(int(name[4:24]) == tree.size, f"{name}: the segment is not the one that must come here")
        lines, ended = read_lines(os.path.join(directory, name), last)
        need(lines or last, f"{name}: the segment is empty")
        for count, line in enumerate(lines, 1):
            seq = tree.size
            try:
                need(len(line) < LIMIT, "longer than a line may be")
                need(ended or count < len(lines), "the line is cut off")
                record = read_record(line)
                need(number(record["seq"]) == seq, "its number is not the one that must come here")
                need(record["prev"] == prev.hex(), "`prev` is not the hash of the record before it")
                need((record["phase"] == "key") == (count == 1), "a `key` record must begin a segment, and only that")
                introduction = {"origin": key[0], "public_key": base64.b64encode(key[2]).decode(), "segment": place,
                                "tree": [root.hex() for root in tree.edge]}
                need(count > 1 or spell(record["detail"]) == spell(introduction), "states another key, number or tree")
                prev = hashlib.sha256(b"\x00" + line).digest()
                tree.push(prev)
                for size, root in checkpoints:
                    need(size != tree.size or root == tree.root(), "the records up to here are not those that were signed")
            except (Bad, ValueError, RecursionError) as error:
                raise Bad(f"{name}, line {count}, record {seq}: {error}") from error
    for size, _ in checkpoints:
        need(tree.size >= size, f"record {tree.size}: the log ends before it, but {size} records were signed")
    return f"ok: {tree.size} records in {len(names)} segments, {checkpoints[0][0]} signed"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        print(verify(*sys.argv[1:]))
    except (Bad, OSError, ValueError) as problem:
        print(f"bad: {problem}", file=sys.stderr)
        sys.exit(1)

"""Looks through Python."""

import _ast
import sys

from .origins import IMPORTERS, Origins
from .rules import Finding

ONLY_TREE = 0x400
# What is opened by name, and where its mode stands; modes are for reading unless they say otherwise.
OPENERS = {
    "builtins.open": 1,
    "codecs.open": 1,
    "gzip.open": 1,
    "bz2.open": 1,
    "lzma.open": 1,
    "tarfile.open": 1,
    "tarfile.TarFile": 1,
    "tarfile.TarFile.open": 1,
    "zipfile.ZipFile": 1,
    "gzip.GzipFile": 1,
    "bz2.BZ2File": 1,
    "lzma.LZMAFile": 1,
    "io.FileIO": 1,
    "pathlib.Path.open": 0,
}
HARMLESS = {"/dev/null", "/dev/stdout", "/dev/stderr"}
# Ways into the interpreter that code has no other use for.
INNARDS = set(
    "__subclasses__ __globals__ __builtins__ __code__ __closure__ f_globals f_builtins f_locals f_back gi_frame cr_frame "
    "ag_frame tb_frame __loader__ __import__".split()
)


def check(code, settings):
    """What the settings object to in the code."""
    # The compiler calls itself, and must come to its end before the stack does.
    sys.setrecursionlimit(1_000)
    try:
        tree = compile(code, "code", "exec", ONLY_TREE)
        # What only the compiler refuses, such as a `return` outside of functions.
        compile(code, "code", "exec", 0x2000)
    except SyntaxError as error:
        return [Finding(error.lineno or 1, error.offset or 1, "syntax", f"{error.msg}")]
    except ValueError as error:
        return [Finding(1, 1, "syntax", str(error))]
    # The tree is there, and as deep as the parser lets it be.
    sys.setrecursionlimit(100_000)
    return list(Reader(code, tree, settings).findings.values())


class Reader:
    """Goes through a tree and collects findings, one a place."""

    def __init__(self, code, tree, settings):
        self.lines = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.settings = settings
        self.findings = {}
        self.origins = Origins(tree, settings)
        for node in self.origins.code.order:
            look = getattr(self, type(node).__name__, None)
            if look is not None:
                look(node)

    def find(self, node, rule, found, name=None, module=False):
        line = self.lines[node.lineno - 1] if node.lineno <= len(self.lines) else ""
        column = len(line.encode("utf-8", "replace")[: node.col_offset].decode("utf-8", "ignore")) + 1
        place = (node.lineno, column)
        self.findings.setdefault(place, Finding(*place, rule, found, name, module))

    def source(self, node):
        """What stands there, where it is short."""
        if node.lineno != node.end_lineno or node.lineno > len(self.lines):
            return None
        text = self.lines[node.lineno - 1].encode("utf-8", "replace")[node.col_offset : node.end_col_offset]
        return text.decode("utf-8", "replace") if len(text) <= 60 else None

    def refer(self, node):
        """A name or an attribute that is read, whatever becomes of it."""
        for origin in sorted(one for one in self.origins.of(node) if isinstance(one, str)):
            found = self.settings.rule(origin)
            # A module was found where it was imported.
            if found is None or (isinstance(node, _ast.Name) and "." not in origin):
                continue
            rule, listed = found
            plain = origin.removeprefix("builtins.")
            written = self.source(node) or plain
            text = f"`{written}`" if written == plain else f"`{written}`, which is `{plain}`"
            self.find(node, rule, text, listed.removeprefix("builtins.") if rule != "forbidden" else listed)
            return

    def Name(self, node):
        if isinstance(node.ctx, _ast.Load):
            self.refer(node)

    def Attribute(self, node):
        if not isinstance(node.ctx, _ast.Load):
            return
        if node.attr in INNARDS and "dynamic_code" in self.settings.on and node.attr not in self.settings.permitted:
            self.find(node, "dynamic_code", f"`{node.attr}`, which leads into the interpreter", node.attr)
        else:
            self.refer(node)

    def Subscript(self, node):
        self.refer(node)

    def Import(self, node):
        for alias in node.names:
            self.module(alias, alias.name, f"`import {alias.name}`")

    def ImportFrom(self, node):
        if node.level or not node.module:
            return
        if self.module(node, node.module, f"`from {node.module} import`"):
            return
        for alias in node.names:
            found = self.settings.rule(f"{node.module}.{alias.name}")
            if found:
                self.find(alias, found[0], f"`{alias.name}` of `{node.module}`", found[1])
            elif not self.settings.covered(f"{node.module}.{alias.name}"):
                self.module(alias, f"{node.module}.{alias.name}", f"`{alias.name}` of `{node.module}`")

    def module(self, node, path, text):
        found = self.settings.module(path)
        if found is None:
            return False
        self.find(node, found[0], text, found[1], module=found[0] != "forbidden")
        return True

    def Call(self, node):
        call = (node.func, node.args, node.keywords)
        if isinstance(node.func, _ast.Call):
            self.refer(node.func)
        for origin in self.origins.of(node.func):
            if origin == "functools.partial" and node.args:
                call = (node.args[0], node.args[1:], node.keywords)
                for inner in self.origins.of(node.args[0]):
                    self.opened(node, inner, call)
            elif isinstance(origin, str):
                self.opened(node, origin, call)
                self.reached(node, origin)

    def reached(self, node, path):
        """Names that are only known when the code runs, of modules that have something to hide."""
        if path in IMPORTERS and node.args:
            for text in self.origins.texts(node.args[0]):
                self.module(node.args[0], text, f"import of `{text}`")
        if path != "builtins.getattr" or len(node.args) < 2 or "getattr" in self.settings.permitted:
            return
        for origin in self.origins.of(node.args[0]):
            if isinstance(origin, str) and self.settings.below(origin):
                texts = self.origins.texts(node.args[1])
                if not texts and "dynamic_code" in self.settings.on:
                    found = f"`getattr` of `{origin}` with a name that is only known when it runs"
                    self.find(node, "dynamic_code", found, "getattr")
                for text in texts:
                    rule = self.settings.rule(f"{origin}.{text}")
                    if rule:
                        self.find(node, rule[0], f"`getattr` of `{origin}.{text}`", rule[1])

    def opened(self, node, path, call):
        """Whether a file is opened for more than reading."""
        if path == "os.open":
            self.flags(node, call)
        place = OPENERS.get(path)
        name = path.removeprefix("builtins.")
        if place is None or "file_writes" not in self.settings.on or name in self.settings.permitted:
            return
        _, arguments, keywords = call
        modes = [keyword.value for keyword in keywords if keyword.arg == "mode"]
        spread = any(isinstance(one, _ast.Starred) for one in arguments) or any(one.arg is None for one in keywords)
        if len(arguments) > place and not spread:
            modes.append(arguments[place])
        files = self.origins.texts(arguments[0]) if arguments and place == 1 else set()
        if files and files <= HARMLESS:
            return
        for mode in modes:
            texts = {text for text in self.origins.texts(mode) if isinstance(text, str)}
            writing = sorted(text for text in texts if set(text) & set("wax+"))
            if writing:
                self.find(node, "file_writes", f"`{name}` for writing (mode `{writing[0]}`)", name)
            elif not texts:
                self.find(node, "file_writes", f"`{name}` with a mode that is only known when it runs", name)
        if spread and not modes:
            self.find(node, "file_writes", f"`{name}` with a mode that is only known when it runs", name)

    def flags(self, node, call):
        _, arguments, keywords = call
        given = [*arguments[1:2], *(keyword.value for keyword in keywords if keyword.arg == "flags")]
        reading = any("os.O_RDONLY" in self.origins.of(flags) for flags in given)
        if not reading and "file_writes" in self.settings.on and "os.open" not in self.settings.permitted:
            self.find(node, "file_writes", "`os.open` for writing", "os.open")

"""Looks through Bash."""

import bisect
import os
import re

from .rules import Finding
from .words import Script

BASH = "/usr/bin/bash"
# Where writing leaves no file.
NOWHERE = re.compile(r"/dev/(null|stdout|stderr|tty|fd/\d+)")
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
# Commands that run the one that follows them: how many plain words come between, and which options take a word.
WRAPPERS = {
    "command": (0, ""),
    "builtin": (0, ""),
    "exec": (0, "a"),
    "env": (0, "uCS"),
    "nohup": (0, ""),
    "setsid": (0, ""),
    "sudo": (0, "ugh"),
    "doas": (0, "u"),
    "nice": (0, "n"),
    "ionice": (0, "cnp"),
    "time": (0, "fo"),
    "timeout": (1, "ks"),
    "stdbuf": (0, "ioe"),
    "xargs": (0, "InPLdEas"),
    "busybox": (0, ""),
    "chroot": (1, ""),
    "watch": (0, "n"),
    "coproc": (0, ""),
    "parallel": (0, "j"),
}
SHELLS = {"sh", "bash", "dash", "ash"}
FIND_RUNS = {"-exec", "-execdir", "-ok", "-okdir"}


def check(code, settings):
    """What the settings object to in the code."""
    finding = syntax(code)
    if finding:
        return [finding]
    return list(Reader(code, settings).findings.values())


def syntax(code):
    """What Bash itself says that cannot be read."""
    # In a file of no name, because a pipe could fill while nobody reads it.
    script = os.memfd_create("code")
    said = os.memfd_create("said")
    os.write(script, b"")
    with os.fdopen(os.dup(script), "wb") as file:
        file.write(code.encode("utf-8", "surrogateescape"))
    os.lseek(script, 0, os.SEEK_SET)
    actions = [(os.POSIX_SPAWN_DUP2, script, 0), (os.POSIX_SPAWN_DUP2, said, 2), (os.POSIX_SPAWN_DUP2, said, 1)]
    try:
        pid = os.posix_spawn(BASH, ["bash", "-n"], {"LC_ALL": "C"}, file_actions=actions)
    except FileNotFoundError:
        raise OSError("the image has no bash") from None
    _, status = os.waitpid(pid, 0)
    os.lseek(said, 0, os.SEEK_SET)
    text = os.read(said, 4096).decode("utf-8", "replace")
    os.close(script)
    os.close(said)
    if status == 0:
        return None
    first = text.splitlines()[0] if text else "bash: line 1: it cannot be read"
    place = re.fullmatch(r"bash: line (\d+): (?:syntax error: )?(.*)", first)
    line, message = (int(place[1]), place[2]) if place else (1, first)
    return Finding(max(1, min(line, code.count("\n") + 1)), 1, "syntax", message)


class Reader:
    """Goes through the commands of a script and collects findings, one a place."""

    def __init__(self, code, settings):
        self.code = code
        self.settings = settings
        self.findings = {}
        self.lines = [0, *(match.end() for match in re.finditer("\n", code))]
        script = Script(code)
        self.functions = script.functions
        self.variables = {}
        self.aliases = {}
        for command in script.commands:
            self.remember(command.words)
        for command in script.commands:
            self.redirections(command)
            self.command(command.words, 0)

    def remember(self, words):
        """Names that stand for others: variables with a plain value, and aliases."""
        for word in words:
            named = word.text and ASSIGNMENT.match(word.text)
            if named:
                name, value = word.text[: named.end()].rstrip("+="), word.text[named.end() :]
                alias = words[0].text == "alias"
                (self.aliases if alias else self.variables).setdefault(name, set()).add(value)

    def find(self, at, rule, found, name=None):
        line = bisect.bisect_right(self.lines, at)
        place = (line, at - self.lines[line - 1] + 1)
        self.findings.setdefault(place, Finding(*place, rule, found, name))

    def redirections(self, command):
        for at, operator, target in command.redirections:
            if ">" not in operator or operator.endswith("&-") or "file_writes" not in self.settings.on:
                continue
            if target.text is not None and (NOWHERE.fullmatch(target.text) or not target.text):
                continue
            if operator == ">&" and (target.text is None or target.text.rstrip("-").isdigit() or target.text == "-"):
                continue
            shown = "a file" if target.text is None else f"`{target.text}`"
            self.find(at, "file_writes", f"`{operator}` into {shown}")

    def names(self, word):
        """What a word in the place of a command may be, as lists of plain words."""
        if word.variable is not None:
            return [value.split() for value in sorted(self.variables.get(word.variable, ()))]
        if word.text is None:
            return []
        if not word.quoted and word.text in self.aliases:
            return [value.split() for value in sorted(self.aliases[word.text])]
        return [[word.text]]

    def command(self, words, depth):
        """One command, and those that it runs."""
        while words and self.assigns(words[0]):
            words = words[1:]
        if not words or depth > 8:
            return
        for plain in self.names(words[0]):
            if plain and plain[0] not in self.functions:
                self.named(plain[0].rpartition("/")[2] or plain[0], plain[1:], words, depth)

    def assigns(self, word):
        """Whether the word stands before a command and sets a variable; its value may be in quotes, its name not."""
        plain = word.text is not None and not word.quoted and ASSIGNMENT.match(word.text)
        return bool(plain or ASSIGNMENT.match(self.code, word.at))

    def named(self, name, more, words, depth):
        rest = words[1:]
        texts = more + [word.text or "" for word in rest]
        at = words[0].at
        found = self.settings.rule(name) if self.objected(name, texts) else None
        if found:
            written = self.code[at : at + 60].split("\n")[0]
            same = written.startswith((name, "'", '"'))
            self.find(at, found[0], f"`{name}`" if same else f"`{written.split(' ')[0]}`, which is `{name}`", name)
        if name in SHELLS:
            self.shell(name, rest, at, depth)
        elif name == "trap" and rest and rest[0].text and rest[0].text != "-":
            self.text(rest[0].text, rest[0].at, depth)
        elif name == "find":
            self.search(rest, depth)
        elif name in WRAPPERS:
            self.command(self.wrapped(name, rest), depth + 1)
        self.written(name, texts, at)

    @staticmethod
    def objected(name, texts):
        """Whether a command does what its rule is about, where that depends on its words."""
        if name == "dd":
            return any(text.startswith("of=") for text in texts)
        if name == "tee":
            return any(not text.startswith("-") and not NOWHERE.fullmatch(text) for text in texts)
        if name == "mktemp":
            return "-u" not in texts
        return True

    def written(self, name, texts, at):
        """Options that make a command write, or run text."""
        short = "".join(text[1:] for text in texts if re.fullmatch(r"-[A-Za-z]+(\.\w+)?", text))
        if name == "sed" and ("i" in short or any(text.startswith("--in-place") for text in texts)):
            self.option(at, "file_writes", "`sed -i`", name)
        elif name == "find" and "-delete" in texts:
            self.option(at, "file_removals", "`find -delete`", name)
        elif name == "curl" and ("o" in short or "O" in short or "--output" in texts):
            self.option(at, "file_writes", "`curl -o`", name)
        elif name == "sort" and "o" in short:
            self.option(at, "file_writes", "`sort -o`", name)

    def option(self, at, rule, found, name):
        if rule in self.settings.on and name not in self.settings.permitted:
            self.find(at, rule, found, name)

    def shell(self, name, rest, at, depth):
        for index, word in enumerate(rest):
            if word.text and re.fullmatch(r"-[a-z]*c", word.text) and not word.quoted:
                self.option(at, "dynamic_code", f"`{name} -c`", name)
                if index + 1 < len(rest) and rest[index + 1].text:
                    self.text(rest[index + 1].text, rest[index + 1].at, depth)
                return

    def text(self, text, at, depth):
        """A text that is run as a script."""
        for command in Script(text, at).commands:
            self.redirections(command)
            self.command(command.words, depth + 1)

    def search(self, rest, depth):
        for index, word in enumerate(rest):
            if word.text in FIND_RUNS:
                self.command(rest[index + 1 :], depth + 1)

    @staticmethod
    def wrapped(name, rest):
        """The words of the command that another one runs."""
        between, taking = WRAPPERS[name]
        index = 0
        while index < len(rest):
            text = rest[index].text
            if text is None or text == "--":
                index += text == "--"
                break
            if text.startswith("-") and len(text) > 1:
                index += 2 if len(text) == 2 and text[1] in taking else 1
            elif name in ("env", "sudo") and ASSIGNMENT.match(text):
                index += 1
            else:
                break
        return rest[index + between :]

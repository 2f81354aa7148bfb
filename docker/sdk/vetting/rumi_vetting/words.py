"""Reads a script of Bash as far as its commands: words without their quotes, redirections, and what is inside of both.

`bash -n` has read the script before, so that this need not complain: what it cannot follow it passes over.
"""

SPACE = " \t"
ENDS = "\n;&|"
META = " \t\n;&|<>()"
# Words after which a command begins.
OPENERS = set("if then else elif do while until ! { time coproc".split())
CLOSERS = set("fi done }".split())
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}
DEEPEST = 60


class Word:
    """A word: its text without quotes, or None where it is only known when it runs."""

    def __init__(self, at):
        self.at = at
        self.text = ""
        self.quoted = False
        self.variable = None

    def add(self, text):
        if self.text is not None:
            self.text += text


class Command:
    """One simple command with its words and redirections `(operator, target)`."""

    def __init__(self, at):
        self.at = at
        self.words = []
        self.redirections = []


class Script:
    """All commands of a script, those in substitutions included, and the names of its functions.

    A text that was taken out of quotes has one place for all that is in it.
    """

    def __init__(self, text, place=None, depth=0):
        self.text = text
        self.place = place
        self.depth = depth
        self.commands = []
        self.functions = set()
        self.documents = []
        if depth < DEEPEST:
            self.scan(0, None)

    def inside(self, text, place):
        """Reads a text that is code as well."""
        inner = Script(text, place, self.depth + 1)
        self.commands += inner.commands
        self.functions |= inner.functions

    def at(self, i):
        return self.text[i : i + 1]

    def where(self, i):
        return i if self.place is None else self.place

    def command(self, i):
        return Command(self.where(i))

    def scan(self, i, stop):
        """Reads commands until the end, or until `stop`; gives back where it ended."""
        command = self.command(i)
        cases = []
        while i < len(self.text):
            c = self.at(i)
            if c in SPACE:
                i += 1
            elif c == "\\" and self.at(i + 1) == "\n":
                i += 2
            elif c == "#":
                i = self.line_end(i)
            elif c == "&" and self.at(i + 1) == ">" or c in "<>" and self.at(i + 1) != "(":
                i = self.redirect(i, command)
            elif c in ENDS:
                self.finish(command)
                i = self.separator(i, cases)
                command = self.command(i)
            elif c == ")" and stop == ")":
                self.finish(command)
                return i + 1
            elif c in "()":
                i = self.bracket(i, command)
                command = self.command(i)
            else:
                i, command = self.next_word(i, command, cases)
        self.finish(command)
        return i

    def line_end(self, i):
        end = self.text.find("\n", i)
        return len(self.text) if end < 0 else end

    def separator(self, i, cases):
        """What ends a command: a line, `;`, `&`, `|`, or the end of one part of a `case`."""
        if self.at(i) == "\n":
            return self.newline(i)
        part = self.at(i) == ";" and self.at(i + 1) in (";", "&")
        if not part or not self.at(i + 1):
            return i + 1
        i += 3 if self.text.startswith(";;&", i) else 2
        return self.pattern(i) if cases else i

    def next_word(self, i, command, cases):
        """One word, and what it says of those that follow."""
        word, i = self.word(i)
        plain = word.text if not word.quoted else None
        if command.words or (command.redirections and not plain):
            command.words.append(word)
            if command.words[0].text == "function" and len(command.words) == 2:
                self.functions.add(word.text)
                return i, self.command(i)
        elif plain in OPENERS or plain in CLOSERS:
            return i, self.command(i)
        elif plain in ("for", "select"):
            return self.skipped(i), self.command(i)
        elif plain == "case":
            _, i = self.word(self.blank(i))
            _, i = self.word(self.blank(i))
            cases.append(plain)
            return self.pattern(i), self.command(i)
        elif plain == "esac":
            if cases:
                cases.pop()
            return i, self.command(i)
        elif plain == "[[":
            return self.condition(i), self.command(i)
        else:
            if word.text and word.text.isdigit() and self.at(i) in ("<", ">") and self.at(i) and not word.quoted:
                return i, command  # The number of a descriptor.
            command.at = word.at
            command.words.append(word)
        return i, command

    def finish(self, command):
        if command.words or command.redirections:
            self.commands.append(command)

    def blank(self, i):
        while self.at(i) and (self.at(i) in SPACE or self.at(i) == "\n"):
            i += 1
        return i

    def bracket(self, i, command):
        """`(`: a group, arithmetic, or the brackets of a function's definition."""
        if self.at(i) == ")":
            self.finish(command)
            return i + 1
        after = self.blank(i + 1)
        if len(command.words) == 1 and self.at(after) == ")":
            self.functions.add(command.words[0].text)
            return after + 1
        self.finish(command)
        if self.at(i + 1) == "(":
            return self.arithmetic(i + 2)
        return self.scan(i + 1, ")")

    def arithmetic(self, i):
        """Until `))`; what is substituted in it is read."""
        depth = 0
        while i < len(self.text):
            c = self.at(i)
            if c == ")" and depth == 0:
                return i + 2 if self.at(i + 1) == ")" else i + 1
            depth += {"(": 1, ")": -1}.get(c, 0)
            i = self.expand(i, Word(i)) if c in "$`" else i + 1
        return i

    def condition(self, i):
        """Until `]]`, where `<` and `&&` are no operators of the shell's."""
        while i < len(self.text):
            i = self.blank(i)
            if self.at(i) and self.at(i) in META:
                i += 1
                continue
            word, after = self.word(i)
            if word.text == "]]" and not word.quoted or after == i:
                return max(after, i + 1)
            i = after
        return i

    def skipped(self, i):
        """The head of a `for`: names and values, and no commands."""
        while i < len(self.text) and self.at(i) not in "\n;":
            if self.text.startswith("((", i):
                return self.arithmetic(i + 2)
            if self.at(i) in META:
                i += 1
                continue
            word, i = self.word(i)
            if word.text == "do" and not word.quoted:
                return i
        return i

    def pattern(self, i):
        """The pattern of a `case`, unless that ends here."""
        i = self.blank(i)
        while self.at(i) == "#":
            i = self.blank(self.line_end(i))
        if self.text.startswith("esac", i):
            return i
        if self.at(i) == "(":
            i += 1
        while i < len(self.text) and self.at(i) != ")":
            if self.at(i) in META:
                i += 1
            else:
                _, after = self.word(i)
                i = max(after, i + 1)
        return i + 1

    def redirect(self, i, command):
        """An operator and what it leads to."""
        begin = i
        while self.at(i) and self.at(i) in "<>&|-" and i - begin < 3:
            # `>(…)` and `<(…)` are words, and `-` belongs to `<<-` and `>&-` only.
            if self.at(i) == "-" and self.text[begin:i] not in ("<<", ">&", "<&"):
                break
            i += 1
        operator = self.text[begin:i]
        while self.at(i) and self.at(i) in SPACE:
            i += 1
        if operator.endswith("-") and operator != "<<-":
            return i
        target, i = self.word(i)
        if operator in ("<<", "<<-"):
            self.documents.append((target, operator == "<<-"))
        else:
            command.redirections.append((self.where(begin), operator, target))
        return i

    def newline(self, i):
        """After the line's end, and after the documents that were announced in it."""
        i += 1
        for target, tabs in self.documents:
            begin = i
            while i < len(self.text):
                end = self.text.find("\n", i)
                end = len(self.text) if end < 0 else end
                line = self.text[i:end]
                begun, i = i, end + 1
                if (line.lstrip("\t") if tabs else line) == target.text:
                    break
            else:
                begun = len(self.text)
            if not target.quoted:
                self.document(begin, begun)
        self.documents = []
        return min(i, len(self.text))

    def document(self, i, end):
        while i < end:
            if self.at(i) == "\\":
                i += 2
            elif self.at(i) in "$`":
                i = self.expand(i, Word(i))
            else:
                i += 1

    def word(self, i):
        """A word from here, and where it ends."""
        word = Word(self.where(i))
        begin = i
        while i < len(self.text):
            c = self.at(i)
            if c in "<>" and self.at(i + 1) == "(":
                word.text = None
                i = self.scan(i + 2, ")")
            elif c in META:
                name = self.text[begin:i]
                if c != "(" or not name.rstrip("+").endswith("=") or word.text is None:
                    break
                word.text = None
                i = self.array(i + 1)
            elif c == "\\":
                if self.at(i + 1) != "\n":
                    word.add(self.at(i + 1))
                    word.quoted = True
                i += 2
            elif c == "'":
                end = self.text.find("'", i + 1)
                end = len(self.text) if end < 0 else end
                word.add(self.text[i + 1 : end])
                word.quoted = True
                i = end + 1
            elif c == '"':
                word.quoted = True
                i = self.double(i + 1, word)
            elif c in "$`":
                i = self.expand(i, word)
            else:
                word.add(c)
                i += 1
        return word, i

    def array(self, i):
        """The values of an array."""
        while i < len(self.text) and self.at(i) != ")":
            if self.at(i) in META:
                i += 1
            else:
                _, after = self.word(i)
                i = max(after, i + 1)
        return i + 1

    def double(self, i, word):
        while i < len(self.text):
            c = self.at(i)
            if c == '"':
                return i + 1
            if c == "\\":
                after = self.at(i + 1)
                word.add(after if after in '$`"\\' else "" if after == "\n" else c + after)
                i += 2
            elif c in "$`":
                i = self.expand(i, word)
            else:
                word.add(c)
                i += 1
        return i

    def expand(self, i, word):
        """What begins with `$` or a backtick."""
        if self.at(i) == "`":
            return self.backtick(i + 1, word)
        after = self.at(i + 1)
        alone = word.text == ""
        if after == "'":
            return self.ansi(i + 2, word)
        if after == '"':
            return self.double(i + 2, word)
        if after == "(":
            word.text = None
            return self.arithmetic(i + 3) if self.at(i + 2) == "(" else self.scan(i + 2, ")")
        if after == "{":
            return self.braces(i + 2, word, alone)
        end = i + 1
        while self.at(end) and (self.at(end).isalnum() or self.at(end) == "_"):
            end += 1
        if end > i + 1:
            word.variable = self.text[i + 1 : end] if alone else None
            word.text = None
        elif after and after in "@*#?$!-":
            word.text = None
            end = i + 2
        else:
            word.add("$")
        return end

    def braces(self, i, word, alone):
        """`${…}`, in which further ones may stand."""
        begin, depth = i, 0
        word.text = None
        while i < len(self.text):
            c = self.at(i)
            if c == "}" and depth == 0:
                name = self.text[begin:i]
                word.variable = name if alone and name.isidentifier() else None
                return i + 1
            if c == "\\":
                i += 2
            elif c == "'":
                end = self.text.find("'", i + 1)
                i = len(self.text) if end < 0 else end + 1
            elif c == '"':
                i = self.double(i + 1, Word(i))
            elif c in "$`":
                i = self.expand(i, Word(i))
            else:
                depth += {"{": 1, "}": -1}.get(c, 0)
                i += 1
        return i

    def backtick(self, i, word):
        """A substitution in backticks, in which a backslash takes itself away."""
        word.text = None
        begin, inner = i, ""
        while i < len(self.text) and self.at(i) != "`":
            if self.at(i) == "\\" and self.at(i + 1) in ("\\", "`", "$"):
                i += 1
            inner += self.at(i)
            i += 1
        self.inside(inner, self.where(begin))
        return i + 1

    def ansi(self, i, word):
        """`$'…'`, whose escapes may spell anything."""
        word.quoted = True
        while i < len(self.text) and self.at(i) != "'":
            if self.at(i) != "\\":
                word.add(self.at(i))
                i += 1
                continue
            c = self.at(i + 1)
            base, digits, most = {"x": (16, 2, 2), "u": (16, 4, 4), "U": (16, 8, 8)}.get(c, (8, 0, 3))
            begin = i + 2 if digits else i + 1
            end = begin
            while end - begin < most and self.at(end) and self.at(end) in "0123456789abcdefABCDEF"[: 22 if base == 16 else 8]:
                end += 1
            if end > begin:
                code = int(self.text[begin:end], base)
                word.add(chr(code) if code < 0x110000 else "")
                i = end
            else:
                word.add(ESCAPES.get(c, c))
                i += 2
        return i + 1

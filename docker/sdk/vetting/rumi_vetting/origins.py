"""What the expressions of Python code may stand for, as far as that can be told from reading.

An origin is a dotted path (`os.system`, `pathlib.Path()` for a call's result), or one of
`("text", words)`, `("items", origin)` and `("function", node)`. Where the code cannot be followed there is none.
"""

import _ast

from .scopes import Collector

# Everything that is bound is followed at most so often: names that go round in circles come to rest.
ROUNDS = 8
LONGEST = 120
MOST = 24

PATHS = ("pathlib.PosixPath", "pathlib.WindowsPath")
# What is a path again; all else of a path is looked at by name.
PATH_METHODS = set(
    "absolute resolve with_name with_stem with_suffix joinpath expanduser relative_to readlink cwd home parent".split()
)
PATH_LISTS = {"iterdir", "glob", "rglob", "parents"}
# Modules under other names.
SAME = {
    "posix": "os",
    "_io": "io",
    "io.open": "builtins.open",
    "_pyio.open": "builtins.open",
    "os.sys": "sys",
    "_posixsubprocess": "subprocess",
    "_winapi": "subprocess",
    "_imp": "imp",
    "__builtins__": "builtins",
    "builtins.__builtins__": "builtins",
    "posixpath.os": "os",
    "os.path.os": "os",
}
IMPORTERS = {"builtins.__import__", "importlib.import_module", "importlib.__import__"}
NAMESPACES = {"builtins.globals()", "builtins.locals()", "builtins.vars()"}


def joined(path, attribute):
    """The path of an attribute."""
    if attribute in ("__dict__", "__wrapped__", "__func__") or len(path) > LONGEST:
        return path if attribute == "__dict__" else None
    if path.startswith("pathlib.Path"):
        if attribute == "parent":
            return "pathlib.Path()"
        path = "pathlib.Path"
    path = f"{path}.{attribute}"
    if path in PATHS:
        return "pathlib.Path"
    return SAME.get(path, path)


class Origins:
    """Follows names, attributes and calls until nothing new is found."""

    def __init__(self, tree, settings):
        self.code = Collector(tree)
        self.settings = settings
        self.attributes = {}
        self.put = {}
        self.seen = {}
        for scope, name, path, line in self.code.imports:
            scope.bind(name, line).values[name].add(SAME.get(path, "pathlib.Path" if path in PATHS else path))
        calls = [node for node in self.code.order if isinstance(node, _ast.Call)]
        for _ in range(ROUNDS):
            self.seen = {}
            self.changed = False
            for binding in self.code.bindings:
                self._bind(*binding)
            for call in calls:
                self.of(call)
            if not self.changed:
                break
        self.seen = {}

    def _bind(self, scope, name, value, how, evaluated_in):
        found = self.of(value) if evaluated_in is None else self.of(value)
        if how != "is":
            for _ in range(1 if how == "items" else 2):
                found = self.items(found)
        if isinstance(name, tuple):
            kind, name = name
            if kind == "attribute":
                values = self.attributes.setdefault(name, set())
            else:
                holder = scope.holder(name)
                if holder is None:
                    return
                values = holder.values[name]
                found = {("items", origin) for origin in found if not isinstance(origin, tuple)}
        else:
            values = scope.bind(name, scope.first.get(name, 1)).values[name]
        self._add(values, found)

    def _add(self, values, found):
        new = found - values
        if new and len(values) < MOST:
            values |= new
            self.changed = True

    def items(self, found):
        """What may come out of what was found, one by one."""
        out = set()
        for origin in found:
            if isinstance(origin, tuple) and origin[0] == "items":
                out.add(origin[1])
            elif isinstance(origin, str) and origin == "pathlib.Path[]":
                out.add("pathlib.Path()")
        return out

    def of(self, node):
        """All that an expression may stand for."""
        key = id(node)
        if key not in self.seen:
            # Whatever refers to itself finds nothing in this round.
            self.seen[key] = frozenset()
            evaluate = getattr(self, type(node).__name__, None)
            self.seen[key] = frozenset(evaluate(node)) if evaluate else frozenset()
        return self.seen[key]

    def texts(self, node):
        """The strings that an expression may be."""
        return {origin[1] for origin in self.of(node) if isinstance(origin, tuple) and origin[0] == "text"}

    def Name(self, node):
        scope = self.code.scopes[id(node)]
        holder = scope.holder(node.id)
        found = set(holder.values[node.id]) if holder else set()
        early = holder is not None and holder is scope.module is scope and node.lineno < holder.first[node.id]
        if holder is None or early:
            path = f"builtins.{node.id}"
            found.add(SAME.get(node.id, path))
            for module in scope.module.stars:
                if node.id in self.settings.below(module):
                    found.add(f"{module}.{node.id}")
        return found

    def Attribute(self, node):
        found = set()
        for origin in self.of(node.value):
            if isinstance(origin, str):
                if origin.startswith("pathlib.Path") and node.attr in PATH_LISTS:
                    found.add("pathlib.Path[]")
                else:
                    found.add(joined(origin, node.attr))
        found |= self.attributes.get(node.attr, set())
        found.discard(None)
        return found

    def Constant(self, node):
        return {("text", node.value)} if isinstance(node.value, str) and len(node.value) <= LONGEST else ()

    def BinOp(self, node):
        left = self.of(node.left)
        if isinstance(node.op, _ast.Div):
            return {origin for origin in left if origin == "pathlib.Path()"}
        if isinstance(node.op, _ast.Add):
            texts = {a + b for a in self.texts(node.left) for b in self.texts(node.right)}
            lists = {origin for origin in left | self.of(node.right) if origin[0] == "items"}
            return {("text", text) for text in texts if len(text) <= LONGEST} | lists
        return ()

    def IfExp(self, node):
        return self.of(node.body) | self.of(node.orelse)

    def BoolOp(self, node):
        return {origin for value in node.values for origin in self.of(value)}

    def NamedExpr(self, node):
        return self.of(node.value)

    def Await(self, node):
        return self.of(node.value)

    def Starred(self, node):
        return self.of(node.value)

    def Lambda(self, node):
        return {("function", id(node))}

    def JoinedStr(self, node):
        texts = {""}
        for part in node.values:
            inner = part.value if isinstance(part, _ast.FormattedValue) else part
            texts = {a + b for a in texts for b in self.texts(inner)}
        return {("text", text) for text in texts if len(text) <= LONGEST}

    def List(self, node):
        return {("items", origin) for part in node.elts for origin in self.of(part) if not self.nested(origin)}

    Tuple = Set = List

    def Dict(self, node):
        return {("items", origin) for part in node.values for origin in self.of(part) if not self.nested(origin)}

    def ListComp(self, node):
        return {("items", origin) for origin in self.of(node.elt) if not self.nested(origin)}

    SetComp = GeneratorExp = ListComp

    @staticmethod
    def nested(origin):
        return isinstance(origin, tuple) and origin[0] == "items" and isinstance(origin[1], tuple)

    def Subscript(self, node):
        base = self.of(node.value)
        found = self.items(base)
        for text in self.texts(node.slice):
            for origin in base:
                if isinstance(origin, str):
                    found |= self.entry(origin, text)
        if isinstance(node.slice, _ast.Slice):
            found |= {origin for origin in base if origin[0] == "items"}
        return found

    def entry(self, origin, name):
        """What a namespace has under a name."""
        if origin == "sys.modules":
            return {SAME.get(name, name)}
        if origin in NAMESPACES:
            return set(self.code.top.values.get(name, ())) or {SAME.get(name, f"builtins.{name}")}
        if origin.endswith("()"):
            return set()
        return {joined(origin, name)} - {None}

    def Call(self, node):
        found = set()
        for function in self.of(node.func):
            if isinstance(function, tuple):
                if function[0] == "function":
                    found |= self.local(function[1], node)
                elif function[0] == "getter":
                    found |= {joined(o, function[1]) for a in node.args for o in self.of(a) if isinstance(o, str)}
            else:
                found |= self.called(function, node)
        found.discard(None)
        return found

    def local(self, function, call):
        """What a function of the code itself gives back, and what it is given."""
        node, scope = self.code.inner[function]
        parameters = [*node.args.posonlyargs, *node.args.args]
        if parameters and parameters[0].arg in ("self", "cls"):
            parameters = parameters[1:]
        for parameter, argument in zip(parameters, call.args):
            self._add(scope.values[parameter.arg], self.of(argument))
        for keyword in call.keywords:
            if keyword.arg in scope.values:
                self._add(scope.values[keyword.arg], self.of(keyword.value))
        return {origin for value in self.code.returns[function] for origin in self.of(value)}

    def called(self, path, node):
        """What a call of something from elsewhere gives back."""
        first = node.args[0] if node.args else None
        if path in IMPORTERS and first is not None:
            return {SAME.get(text, text) for text in self.texts(first)}
        if path == "builtins.getattr" and len(node.args) >= 2:
            return {
                joined(origin, text)
                for origin in self.of(first)
                for text in self.texts(node.args[1])
                if isinstance(origin, str)
            }
        if path == "builtins.vars" and first is not None:
            return {origin for origin in self.of(first) if isinstance(origin, str)}
        if path == "operator.attrgetter" and first is not None:
            return {("getter", text) for text in self.texts(first)}
        if path in ("builtins.list", "builtins.tuple", "builtins.reversed", "builtins.iter") and first is not None:
            return set(self.of(first))
        if path == "builtins.next" and first is not None:
            return self.items(self.of(first))
        owner, _, method = path.rpartition(".")
        if method in ("get", "pop", "__getitem__") and first is not None and owner:
            found = {origin for text in self.texts(first) for origin in self.entry(owner, text)}
            if found:
                return found
        if method in ("__getattribute__", "__getattr__") and first is not None:
            return {joined(owner, text) for text in self.texts(first)}
        if path == "pathlib.Path" or (owner == "pathlib.Path" and method in PATH_METHODS):
            return {"pathlib.Path()"}
        return {path + "()" if len(path) < LONGEST and not path.endswith("[]") else path}

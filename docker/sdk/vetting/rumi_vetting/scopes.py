"""Which names Python code binds where, and to what."""

import _ast

FUNCTIONS = (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.Lambda)
COMPREHENSIONS = (_ast.ListComp, _ast.SetComp, _ast.DictComp, _ast.GeneratorExp)


def children(node):
    """The nodes directly below one."""
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, _ast.AST):
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, _ast.AST):
                    yield item


class Scope:
    """The names of a module, a class, a function or a comprehension."""

    def __init__(self, parent, kind):
        self.parent = parent
        self.kind = kind
        self.module = self if parent is None else parent.module
        self.values = {}
        self.first = {}
        self.elsewhere = {}
        self.stars = set()

    def bind(self, name, line):
        """The scope that a binding of this name belongs to."""
        place = self.elsewhere.get(name, self)
        place.values.setdefault(name, set())
        place.first[name] = min(line, place.first.get(name, line))
        return place

    def holder(self, name):
        """The scope in which a name that is read here is bound, if any."""
        scope = self
        if name in self.elsewhere:
            return self.elsewhere[name]
        while scope is not None:
            if name in scope.values and (scope is self or scope.kind != "class"):
                return scope
            scope = scope.parent
        return None


class Collector:
    """Goes through a tree once: every node's scope, and every binding."""

    def __init__(self, tree):
        self.top = Scope(None, "module")
        self.scopes = {}
        self.inner = {}
        self.order = []
        # (scope, target, expression, how): `is` the value, or one of its `items`.
        self.bindings = []
        # (scope, name, path): names that imports bind.
        self.imports = []
        self.returns = {}
        self._walk(tree)

    def _walk(self, tree):
        waiting = [(tree, self.top, None)]
        while waiting:
            node, scope, function = waiting.pop()
            self.scopes[id(node)] = scope
            self.order.append(node)
            # In the order of the code, because `global` stands before what it is about.
            waiting.extend(reversed(list(self._enter(node, scope, function))))

    def _enter(self, node, scope, function):
        if isinstance(node, FUNCTIONS):
            return self._function(node, scope, function)
        if isinstance(node, _ast.ClassDef):
            scope.bind(node.name, node.lineno)
            inner = Scope(scope, "class")
            outside = [*node.bases, *node.keywords, *node.decorator_list]
            return [*((one, scope, function) for one in outside), *((one, inner, function) for one in node.body)]
        if isinstance(node, COMPREHENSIONS):
            inner = Scope(scope, "comprehension")
            self._comprehended(node, inner)
            return [(one, inner, function) for one in children(node)]
        self._plain(node, scope, function)
        return [(one, scope, function) for one in children(node)]

    def _function(self, node, scope, function):
        inner = Scope(scope, "function")
        self.inner[id(node)] = (node, inner)
        self.returns[id(node)] = []
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for parameter in filter(None, parameters):
            inner.bind(parameter.arg, node.lineno)
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
        late = [one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults) if default]
        named = [*positional[len(positional) - len(arguments.defaults) :], *late]
        for parameter, default in zip(named, defaults):
            self.bindings.append((inner, parameter.arg, default, "is", scope))
        outside = [*defaults, *getattr(node, "decorator_list", ())]
        if isinstance(node, _ast.Lambda):
            self.returns[id(node)].append(node.body)
            body = [node.body]
        else:
            scope.bind(node.name, node.lineno).values[node.name].add(("function", id(node)))
            body = node.body
        return [*((one, scope, function) for one in outside), *((one, inner, node) for one in body)]

    def _comprehended(self, node, inner):
        for part in node.generators:
            self._target(inner, part.target, part.iter, "items")

    def _plain(self, node, scope, function):
        kind = type(node)
        if kind is _ast.Assign:
            for target in node.targets:
                self._target(scope, target, node.value, "is")
        elif kind in (_ast.AnnAssign, _ast.AugAssign) and node.value is not None:
            self._target(scope, node.target, node.value, "is")
        elif kind is _ast.NamedExpr:
            place = scope
            while place.kind == "comprehension":
                place = place.parent
            self._target(place, node.target, node.value, "is")
        elif kind in (_ast.For, _ast.AsyncFor):
            self._target(scope, node.target, node.iter, "items")
        elif kind is _ast.withitem and node.optional_vars is not None:
            self._target(scope, node.optional_vars, node.context_expr, "is")
        elif kind is _ast.ExceptHandler and node.name:
            scope.bind(node.name, node.lineno)
        elif kind in (_ast.Import, _ast.ImportFrom):
            self._import(node, scope)
        elif kind in (_ast.Global, _ast.Nonlocal):
            for name in node.names:
                holder = scope.module if kind is _ast.Global else scope.parent and scope.parent.holder(name)
                scope.elsewhere[name] = holder or scope.module
        elif kind is _ast.Return and node.value is not None and function is not None:
            self.returns[id(function)].append(node.value)
        elif kind in (_ast.MatchAs, _ast.MatchStar) and node.name:
            scope.bind(node.name, node.lineno)

    def _import(self, node, scope):
        for alias in node.names:
            if isinstance(node, _ast.Import):
                bound = alias.asname or alias.name.partition(".")[0]
                path = alias.name if alias.asname else bound
            elif alias.name == "*":
                scope.stars.add(node.module or "")
                continue
            else:
                bound = alias.asname or alias.name
                path = f"{node.module or ''}.{alias.name}".lstrip(".")
            self.imports.append((scope, bound, path, node.lineno))
            scope.bind(bound, node.lineno)

    def _target(self, scope, target, value, how):
        """Every name that an assignment binds; of pairs that stand side by side, each its own."""
        if isinstance(target, _ast.Starred):
            target = target.value
        if isinstance(target, _ast.Name):
            scope.bind(target.id, target.lineno)
            self.bindings.append((scope, target.id, value, how, None))
        elif isinstance(target, _ast.Attribute):
            self.bindings.append((scope, ("attribute", target.attr), value, how, None))
        elif isinstance(target, _ast.Subscript):
            # Into a list or a dictionary: what comes out of it may be this.
            if isinstance(target.value, _ast.Name):
                self.bindings.append((scope, ("put", target.value.id), value, how, None))
        elif isinstance(target, (_ast.Tuple, _ast.List)):
            values = getattr(value, "elts", None) if how == "is" else None
            plain = values and len(values) == len(target.elts) and not any(isinstance(v, _ast.Starred) for v in values)
            for index, part in enumerate(target.elts):
                if plain:
                    self._target(scope, part, values[index], "is")
                else:
                    self._target(scope, part, value, "items" if how == "is" else "inner")

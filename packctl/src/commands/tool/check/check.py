"""Parses a tool and looks for its function `run`; nothing of it is run."""

import ast
import json
import sys


def find(source):
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        yield error.lineno or 0, error.offset or 0, error.msg
        return
    except (MemoryError, RecursionError, ValueError) as error:
        yield 0, 0, "it cannot be parsed: %s" % (error or type(error).__name__)
        return
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "run"]
    # A name may be bound in more ways than one can list here.
    others = [node for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.alias, ast.FunctionDef))]
    bound = any("run" in (getattr(node, "id", None), getattr(node, "asname", None), getattr(node, "name", None)) for node in others)
    if not functions and not bound:
        yield 1, 1, "there is no function `run(args)`"
    for function in functions[-1:]:
        place = function.lineno, function.col_offset + 1
        if isinstance(function, ast.AsyncFunctionDef):
            yield place + ("`run` must be an ordinary function, not an async one",)
        arguments = function.args
        positional = arguments.posonlyargs + arguments.args
        needed = len(positional) - len(arguments.defaults)
        keywords = [name for name, default in zip(arguments.kwonlyargs, arguments.kw_defaults) if default is None]
        if needed > 1 or keywords or not (positional or arguments.vararg):
            yield place + ("`run` is called with one argument, the dict of arguments",)


with open(sys.argv[1], "rb") as file:
    found = [{"line": line, "column": column, "message": message} for line, column, message in find(file.read())]
print(json.dumps(found))

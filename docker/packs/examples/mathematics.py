"""Evaluates an expression, or says what there is to say about a list of numbers.

The expression is read as a tree and walked; nothing of it is run as Python.
"""

import ast
import math
import operator
import statistics

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
NAMES = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS = {
    name: getattr(math, name)
    for name in ("sqrt", "sin", "cos", "tan", "log", "log2", "log10", "exp", "floor", "ceil", "gcd", "hypot")
}
FUNCTIONS.update(abs=abs, round=round, min=min, max=max)
MOST_DIGITS = 1000


def run(args):
    if "expression" in args:
        return {"value": evaluate(ast.parse(args["expression"].strip(), mode="eval").body, args.get("variables", {}))}
    numbers = args["numbers"]
    return {
        "count": len(numbers),
        "sum": math.fsum(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "mean": statistics.fmean(numbers),
        "median": statistics.median(numbers),
        "deviation": statistics.pstdev(numbers),
    }


def evaluate(node, variables):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name) and (node.id in variables or node.id in NAMES):
        return variables[node.id] if node.id in variables else NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        value = evaluate(node.operand, variables)
        return value if isinstance(node.op, ast.UAdd) else -value
    if isinstance(node, ast.BinOp):
        left, right = evaluate(node.left, variables), evaluate(node.right, variables)
        if isinstance(node.op, ast.Pow):
            return power(left, right)
        if type(node.op) in BINARY:
            return BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        return FUNCTIONS[node.func.id](*(evaluate(argument, variables) for argument in node.args))
    raise ValueError("`%s` is not understood" % ast.unparse(node))


def power(base, exponent):
    """A power, unless its digits alone would fill the memory."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1:
        if exponent * math.log10(abs(base)) > MOST_DIGITS:
            raise ValueError("%d to the power of %d has more than %d digits" % (base, exponent, MOST_DIGITS))
    return base**exponent

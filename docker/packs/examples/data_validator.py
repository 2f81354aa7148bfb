"""Checks records against rules and names the place of everything that does not fit (a JSON Pointer)."""

import re

KINDS = {"text": str, "number": (int, float), "integer": int, "truth": bool, "list": list, "object": dict}


def run(args):
    problems = []
    for number, record in enumerate(args["records"]):
        for field, rule in args["rules"].items():
            place = "/records/%d/%s" % (number, field.replace("~", "~0").replace("/", "~1"))
            if field not in record:
                if rule.get("required", False):
                    problems.append({"at": place, "problem": "is missing"})
                continue
            problems += [{"at": place, "problem": text} for text in broken(record[field], rule)]
        if args.get("strict", False):
            others = sorted(set(record) - set(args["rules"]))
            problems += [{"at": "/records/%d" % number, "problem": "has `%s` as well" % name} for name in others]
    return {"valid": not problems, "records": len(args["records"]), "problems": problems}


def broken(value, rule):
    """Yields what is wrong with one value."""
    kind = rule.get("kind")
    # To Python a truth value is a number as well.
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "truth")):
        yield "is no %s" % kind
        return
    size = len(value) if isinstance(value, (str, list, dict)) else value
    if "min" in rule and size < rule["min"]:
        yield "is less than %s" % rule["min"]
    if "max" in rule and size > rule["max"]:
        yield "is more than %s" % rule["max"]
    if "one_of" in rule and value not in rule["one_of"]:
        yield "is none of %s" % ", ".join(map(str, rule["one_of"]))
    if "pattern" in rule and not re.fullmatch(rule["pattern"], str(value)):
        yield "does not look like %s" % rule["pattern"]

"""Takes a list through steps, one after the other: sort, keep, unique, pick, group, take, count, sum."""

from operator import eq, ge, gt, le, lt, ne

COMPARE = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


def run(args):
    items = args["list"]
    for number, step in enumerate(args["steps"]):
        try:
            items = STEPS[step["do"]](items, step)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("/steps/%d: `%s` does not fit the list: %s" % (number, step["do"], error)) from None
    return items


def value(item, step):
    """What a step looks at: a field of each item, or the item itself."""
    return item[step["by"]] if "by" in step else item


def sort(items, step):
    return sorted(items, key=lambda item: value(item, step), reverse=step.get("reverse", False))


def keep(items, step):
    compare = COMPARE[step["is"]]
    return [item for item in items if compare(value(item, step), step["than"])]


def unique(items, step):
    seen, kept = [], []
    for item in items:
        if value(item, step) not in seen:
            seen.append(value(item, step))
            kept.append(item)
    return kept


def group(items, step):
    groups = {}
    for item in items:
        groups.setdefault(str(value(item, step)), []).append(item)
    return groups


STEPS = {
    "sort": sort,
    "keep": keep,
    "unique": unique,
    "group": group,
    "pick": lambda items, step: [value(item, step) for item in items],
    "take": lambda items, step: items[: step["count"]],
    "count": lambda items, step: len(items),
    "sum": lambda items, step: sum(value(item, step) for item in items),
}

"""Sums a table up."""

import pandas


def run(args):
    table = pandas.read_csv(args["path"])
    sums = table.groupby("city")["rain"].sum()
    return {"rows": len(table), "rain": sums.to_dict()}

"""Rules about the shape of a table: its columns, their order, number and types."""

from nightgate.contracts.families import Types, family
from nightgate.contracts.forms import Rule, Shape
from nightgate.contracts.suites import Check


def exists(check: Check, types: Types) -> Rule:
    name, place = check.columns[0], check.arguments.get("column_index")

    def wrong(found: Types) -> str:
        if name not in found:
            return "no such column"
        return "" if place in (None, at := list(found).index(name)) else f"it is column {at}"
    return Shape(wrong)


def column_set(check: Check, types: Types) -> Rule:
    wanted, exact = set(check.arguments["column_set"]), check.arguments.get("exact_match", True)

    def wrong(found: Types) -> str:
        absent, new = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
        told = ([f"missing {', '.join(absent)}"] if absent else []) + ([f"new {', '.join(new)}"] if new and exact else [])
        return "; ".join(told)
    return Shape(wrong)


def column_list(check: Check, types: Types) -> Rule:
    wanted = list(check.arguments["column_list"])
    return Shape(lambda found: "" if list(found) == wanted else f"columns {', '.join(found)}")


def column_count(check: Check, types: Types) -> Rule:
    value = check.arguments.get("value")
    low, high = check.arguments.get("min_value", value), check.arguments.get("max_value", value)

    def wrong(found: Types) -> str:
        return "" if (low is None or len(found) >= low) and (high is None or len(found) <= high) else f"{len(found)} columns"
    return Shape(wrong)


def types(check: Check, known: Types) -> Rule | None:
    families = {family(str(name)) for name in check.arguments.get("type_list") or [check.arguments["type_"]]} - {None}
    column = check.columns[0]
    return Shape(lambda found: "" if family(found[column]) in families else f"type {found[column].lower()}")

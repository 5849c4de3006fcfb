"""The door's rules as expressions over a row's values `v0`, `v1`, …, with constants that begin with `@`."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def holds(expression: str, constants: Mapping[str, Any], values: Sequence[Any]) -> bool:
    space = {f"v{place}": value for place, value in enumerate(values)} | {f"r_{key}": constant for key, constant in constants.items()}
    return bool(eval(expression.replace("@", "r_"), {}, space))  # an expression of this file


def expression_of(rule: Mapping[str, Any], places: Mapping[str, int], raw: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return what is true where a rule holds, and the constants in it. `places`: where in a row a column's value stands."""
    names = [f"v{places[name]}" for name in rule["columns"]]
    kinds = [raw[name] for name in rule["columns"]]
    v, kind = names[0], rule["kind"]
    if kind in ("known", "unknown"):
        return f"{v} is {'not ' if kind == 'known' else ''}None", {}
    if kind in ("between", "length"):
        value = v if kind == "between" else f"len({v})"
        sides = {key: _value(rule[key], kinds[0] if kind == "between" else "integer") for key in ("min", "max") if rule[key] is not None}
        parts = [f"{value} {'>' if key == 'min' else '<'}{'' if rule[f'strict_{key}'] else '='} @{key}" for key in sides]
        return f"{v} is None or ({' and '.join(parts) or 'True'})", sides
    if kind in ("in", "not_in"):
        values = frozenset(_value(each, kinds[0]) for each in rule["values"])
        return f"{v} is None or {v} {kind.replace('_', ' ')} @values", {"values": values}
    if kind in ("matches", "matches_not"):
        text = v if kinds[0] == "text" else f"str({v})"
        found = {f"p{number}": re.compile(pattern).search for number, pattern in enumerate(rule["patterns"])}
        whole = (" and " if rule["all"] else " or ").join(f"@{name}({text}) is not None" for name in found)
        return f"{v} is None or {'' if kind == 'matches' else 'not '}({whole})", found
    return _of_several(rule, names)


def _of_several(rule: Mapping[str, Any], names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    kind, first, known = rule["kind"], names[0], " and ".join(f"{name} is not None" for name in names)
    constants: dict[str, Any] = {}
    if kind == "greater":
        holds = f"{known} and {first} {'>=' if rule['or_equal'] else '>'} {names[1]}"
    elif kind == "equal":
        holds = f"{known} and {first} == {names[1]}"
    elif kind == "pairs":
        holds, constants = f"({first}, {names[1]}) in @pairs", {"pairs": frozenset(tuple(pair) for pair in rule["value_pairs_set"])}
    elif kind == "sum":
        holds, constants = f"{known} and {' + '.join(names)} == @total", {"total": rule["sum_total"]}
    elif kind == "same":
        holds = " and ".join(f"{first} == {name}" for name in names[1:]) or "True"
    else:
        holds = f"len({{{', '.join(names)}}}) == {len(names)}"
    some = " or ".join(f"{name} is not None" for name in names)
    ignored = rule["ignored"]
    applies = known if ignored in ("either_value_is_missing", "any_value_is_missing") else \
        some if ignored in ("both_values_are_missing", "all_values_are_missing") else "True"
    return f"not ({applies}) or ({holds})", constants


def _value(value: Any, kind: str) -> Any:
    return datetime.fromisoformat(value) if kind == "date" else value


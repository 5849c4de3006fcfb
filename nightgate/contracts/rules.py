"""The one form of a rule: an expectation as SQL aggregates over the data, and how their answers are judged.

A rule about rows has a predicate for the rows against it; a rule about a whole column has figures with bounds; a rule
about the table's shape is judged by its columns alone. What has no form here goes to Great Expectations itself.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nightgate.contracts.conditions import identifier, literal, parse_condition
from nightgate.contracts.drifting import FILLED
from nightgate.contracts.families import FAMILIES, Family, Types, family
from nightgate.contracts.forms import Figure, Figures, Grouped, Quantiles, RowRule, Rule, Shape, Shares
from nightgate.contracts.mistakes import query_condition
from nightgate.contracts.patterns import like, regex
from nightgate.contracts.suites import Check
from nightgate.contracts.values import NUMERIC, Misfit, bound_of, is_in, known, members, outside, value_of
from nightgate.wording import counted

HASHED = 4
"""Columns from which a compound key is compared by its 64-bit hash: a chance of 3e-8 in a million rows, and a tenth of the memory."""


def rule(check: Check, types: Types | None = None) -> Rule | None:
    """Return the form of a check, None when it has none here. Raises Misfit when `types`, DuckDB's, do not bear it.

    Without `types` no column is looked at: enough to see which kind of rule it is.
    """
    make = _FORMS.get(check.type)
    return None if make is None else make(check, types or {})


def _rows(*allowed: Family, against: Callable[[str, Family | None, Mapping[str, Any]], str]) -> "Maker":
    """Make a rule about the rows in which one column is known."""
    def make(check: Check, types: Types) -> Rule:
        sql, kind = value_of(check, types, *allowed)
        return RowRule(known(check, check.columns[0]), against(sql, kind, check.arguments))
    return make


def _bounded(*allowed: Family, of: str = "{}") -> "Maker":
    """Make a rule of bounds: when the smallest and the largest value keep them, all do, and no row need be counted."""
    def make(check: Check, types: Types) -> Rule:
        sql, kind = value_of(check, types, *allowed)
        sql, kind = of.format(sql), kind if of == "{}" else None
        extremes = outside(sql, kind, check.arguments, least=f"min({sql})", most=f"max({sql})")
        return RowRule(known(check, check.columns[0]), outside(sql, kind, check.arguments), doubt="" if check.condition else extremes)
    return make


def _applying(check: Check, default: str) -> str:
    """Return which rows a rule over several columns is about, by `ignore_row_if`."""
    ignored = check.arguments.get("ignore_row_if", default)
    if ignored in ("either_value_is_missing", "any_value_is_missing"):
        return known(check, *check.columns)
    parts = [check.condition.sql] if check.condition else []
    if ignored in ("both_values_are_missing", "all_values_are_missing"):
        parts.append("NOT (" + " AND ".join(f"{identifier(column)} IS NULL" for column in check.columns) + ")")
    return " AND ".join(parts)


def _pair(holds: Callable[[str, str, Mapping[str, Any]], str]) -> "Maker":
    def make(check: Check, types: Types) -> Rule:
        kinds = {"number" if kind in NUMERIC else kind for kind in (value_of(check, types, *FAMILIES, column=at)[1] for at in (0, 1))}
        if len(kinds) > 1:
            raise Misfit(f"`{check.columns[0]}` and `{check.columns[1]}` hold values of different kinds")
        first, second = map(identifier, check.columns)
        return RowRule(_applying(check, "both_values_are_missing"), f"({holds(first, second, check.arguments)}) IS NOT TRUE")
    return make


def _pairs(check: Check, types: Types) -> Rule:
    """Make the rule that the values of two columns are one of some pairs; `"1"` is no number there and 1 is no text."""
    kinds = [value_of(check, types, *FAMILIES, column=place)[1] for place in (0, 1)]
    fitting = [[members([value], kind) for value, kind in zip(pair, kinds, strict=True)] for pair in check.arguments["value_pairs_set"]]
    first, second = map(identifier, check.columns)
    inside = " OR ".join(f"({first} = {literal(one[0])} AND {second} = {literal(other[0])})" for one, other in fitting if one and other)
    return RowRule(_applying(check, "both_values_are_missing"), f"({inside or 'FALSE'}) IS NOT TRUE")


def _within(holds: Callable[[Sequence[str], Mapping[str, Any]], str]) -> "Maker":
    """Make a rule about the values of one row in several columns. Rows without any value count, unless the suite says otherwise."""
    def make(check: Check, types: Types) -> Rule:
        return RowRule(_applying(check, "never"), f"({holds([*map(identifier, check.columns)], check.arguments)}) IS NOT TRUE")
    return make


def _different(check: Check, types: Types) -> Rule:
    """Make the rule that a row has no value twice; values of different kinds are different."""
    kinds = {name: "number" if (kind := value_of(check, types, *FAMILIES, column=place)[1]) in NUMERIC else kind
             for place, name in enumerate(check.columns)}
    tests = [f"{one} IS DISTINCT FROM {other}" if alike else f"{one} IS NOT NULL OR {other} IS NOT NULL"
             for one, other, alike in ((identifier(one), identifier(other), kinds[one] == kinds[other])
                                       for one, other in itertools.combinations(check.columns, 2))]
    return RowRule(_applying(check, "never"), f"({' AND '.join(f'({test})' for test in tests) or 'TRUE'}) IS NOT TRUE")


def _sum(check: Check, types: Types) -> Rule:
    """Make the rule that the columns of a row add up to a number, whatever the width of their types."""
    terms = [f"CAST({sql} AS {'DOUBLE' if kind == 'number' else 'HUGEINT'})"
             for sql, kind in (value_of(check, types, *NUMERIC, column=place) for place in range(len(check.columns)))]
    return RowRule(_applying(check, "never"), f"({' + '.join(terms)} = {literal(check.arguments['sum_total'])}) IS NOT TRUE")


def _unique(check: Check, types: Types) -> Rule:
    names = ", ".join(map(identifier, check.columns))
    applies = known(check, *check.columns) if len(check.columns) == 1 else _applying(check, "never")
    return Grouped(names, f"hash({names})" if len(check.columns) > HASHED else names, applies)


def _figure(sql: str, *allowed: Family, slack: float = 0.0, counts: str = "count({})") -> "Maker":
    """Make a rule about one figure of a column; `{}` in `sql` stands for the column."""
    def make(check: Check, types: Types) -> Rule:
        column, kind = value_of(check, types, *allowed)
        if kind == "date":
            column = f"CAST({column} AS TIMESTAMP)"
        arguments, of_values = check.arguments, not sql.startswith("count(")
        low, high = (bound_of(arguments.get(key), kind) if of_values else arguments.get(key) for key in ("min_value", "max_value"))
        filtered = f" FILTER (WHERE {check.condition.sql})" if check.condition else ""
        figure = _with_bounds(_filled(sql, column, filtered), check, low, high)
        return Figures((figure,), _filled(counts, column, filtered), of_values, slack)
    return make


def _with_bounds(sql: str, check: Check, low: Any, high: Any) -> Figure:
    return Figure(sql, low, high, bool(check.arguments.get("strict_min")), bool(check.arguments.get("strict_max")))


def _filled(sql: str, column: str, filtered: str) -> str:
    """Put a column into aggregates and the condition behind each of them."""
    return " / ".join(f"{part.replace('{}', column)}{filtered}" for part in sql.split(" / "))


def _different_values(check: Check, types: Types) -> Rule | None:
    """Count different values; where only two are asked for, the smallest and the largest tell it faster."""
    column, _ = value_of(check, types, *FAMILIES)
    if check.arguments.get("max_value") is None and check.arguments.get("min_value") == 2 and not check.arguments.get("strict_min") \
            and "count" in check.type:
        filtered = f" FILTER (WHERE {check.condition.sql})" if check.condition else ""
        sql = f"(CASE WHEN min({column}){filtered} < max({column}){filtered} THEN 2 ELSE 1 END)"
        return Figures((Figure(sql, 2, None),), f"count({column}){filtered}", of_values=False, at_least=True)
    applies = known(check, check.columns[0])
    sql = _distinct(column, applies, "count(*) / sum(n)" if "proportion" in check.type else "count(*)")
    figure = _with_bounds(sql, check, check.arguments.get("min_value"), check.arguments.get("max_value"))
    return Figures((figure,), f"count_if({applies})", of_values=False)


def _distinct(sql: str, applies: str, what: str = "count(*)") -> str:
    """Count different values in a scan of their own: among other aggregates DISTINCT makes these twice as slow."""
    return f"(SELECT {what} FROM (SELECT count(*) AS n FROM data WHERE {applies} GROUP BY {sql}))"


def _holding(check: Check, types: Types) -> Rule:
    """Make the rule that every value of a set occurs, and no other where the sets are to be equal."""
    sql, kind = value_of(check, types, *FAMILIES)
    applies, wanted = known(check, check.columns[0]), check.arguments["value_set"]
    inside = is_in(sql, wanted, kind)
    strange = {str(value) for value in wanted if not members([value], kind)}  # never there
    figures = [Figure(_distinct(sql, f"{applies} AND {inside}"), len(members(wanted, kind)) + len(strange), None)]
    figures += [Figure(f"count_if({applies} AND NOT ({inside}))", None, 0)] if "equal" in check.type else []
    return Figures(tuple(figures), f"count_if({applies})", of_values=False)


def _quantiles(check: Check, types: Types) -> Rule | None:
    if check.arguments.get("allow_relative_error") not in (None, False, "nearest"):
        return None
    sql, kind = value_of(check, types, "integer", "number", "date")
    ranges = check.arguments["quantile_ranges"]
    bounds = tuple((float(quantile), bound_of(low, kind), bound_of(high, kind))
                   for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True))
    return Quantiles(sql, known(check, check.columns[0]), bounds)


def _shares(check: Check, types: Types) -> Rule | None:
    """Return the form of a distribution over named values; one over bins is left to the library."""
    arguments = check.arguments
    if "values" not in arguments["partition_object"] or arguments.get("internal_weight_holdout"):
        return None
    _, kind = value_of(check, types, "integer", "boolean", "text")
    values = [bool(value) if kind == "boolean" else value for value in arguments["partition_object"]["values"]]
    return Shares(identifier(check.columns[0]), check.condition.sql if check.condition else "",
                  tuple(zip(values, map(float, arguments["partition_object"]["weights"]), strict=True)), float(arguments["threshold"]),
                  float(arguments.get("tail_weight_holdout") or 0.0))


def _row_count(check: Check, types: Types) -> Rule:
    filtered, value = f" FILTER (WHERE {check.condition.sql})" if check.condition else "", check.arguments.get("value")
    figure = _with_bounds(f"count(*){filtered}", check, check.arguments.get("min_value", value), check.arguments.get("max_value", value))
    return Figures((figure,), "1", of_values=False)


def _exists(check: Check, types: Types) -> Rule:
    name, place = check.columns[0], check.arguments.get("column_index")

    def wrong(found: Types) -> str:
        if name not in found:
            return "no such column"
        return "" if place in (None, at := list(found).index(name)) else f"it is column {at}"
    return Shape(wrong)


def _column_set(check: Check, types: Types) -> Rule:
    wanted, exact = set(check.arguments["column_set"]), check.arguments.get("exact_match", True)

    def wrong(found: Types) -> str:
        absent, new = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
        told = ([f"missing {', '.join(absent)}"] if absent else []) + ([f"new {', '.join(new)}"] if new and exact else [])
        return "; ".join(told)
    return Shape(wrong)


def _column_list(check: Check, types: Types) -> Rule:
    wanted = list(check.arguments["column_list"])
    return Shape(lambda found: "" if list(found) == wanted else f"columns {', '.join(found)}")


def _column_count(check: Check, types: Types) -> Rule:
    value = check.arguments.get("value")
    low, high = check.arguments.get("min_value", value), check.arguments.get("max_value", value)

    def wrong(found: Types) -> str:
        return "" if (low is None or len(found) >= low) and (high is None or len(found) <= high) else counted(len(found), "column")
    return Shape(wrong)


def _types(check: Check, types: Types) -> Rule | None:
    families = {family(str(name)) for name in check.arguments.get("type_list") or [check.arguments["type_"]]} - {None}
    column = check.columns[0]
    return Shape(lambda found: "" if family(found[column]) in families else f"type {found[column].lower()}")


Maker = Callable[[Check, Types], Rule | None]
_not_in_set = _rows(*FAMILIES, against=lambda sql, kind, arguments: is_in(sql, arguments["value_set"], kind))
_in_set = _rows(*FAMILIES, against=lambda sql, kind, arguments: f"NOT ({is_in(sql, arguments['value_set'], kind)})")

_FORMS: Mapping[str, Maker] = {
    "expect_column_to_exist": _exists,
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_columns_to_match_ordered_list": _column_list,
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count,
    "expect_column_type_to_be": _types,
    "expect_column_values_to_be_of_type": _types,
    "expect_column_values_to_be_in_type_list": _types,
    "expect_column_values_to_not_be_null":
        lambda check, types: RowRule(known(check), f"{identifier(check.columns[0])} IS NULL", examples=False),
    "expect_column_values_to_be_null": lambda check, types: RowRule(known(check), f"{identifier(check.columns[0])} IS NOT NULL"),
    "expect_column_values_to_be_between": _bounded(*FAMILIES),
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_distinct_values_to_be_in_set": _in_set,
    "expect_column_distinct_values_to_contain_set": _holding,
    "expect_column_distinct_values_to_equal_set": _holding,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    **dict.fromkeys(FILLED, _not_in_set),
    "expect_column_value_lengths_to_be_between": _bounded("text", of="length({})"),
    "expect_column_value_lengths_to_equal":
        _rows("text", against=lambda sql, kind, arguments: f"length({sql}) <> {literal(arguments['value'])}"),
    **{f"expect_column_values_to_{verb}_{what}": make for verb in ("match", "not_match")
       for what, make in (("regex", regex), ("regex_list", regex), ("like_pattern", like), ("like_pattern_list", like))},
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique,
    "expect_column_pair_values_a_to_be_greater_than_b":
        _pair(lambda first, second, arguments: f"{first} {'>=' if arguments.get('or_equal') else '>'} {second}"),
    "expect_column_pair_values_to_be_equal": _pair(lambda first, second, arguments: f"{first} = {second}"),
    "expect_column_pair_values_to_be_in_set": _pairs,
    "expect_multicolumn_sum_to_equal": _sum,
    "expect_multicolumn_values_to_be_equal": _within(lambda columns, arguments: " AND ".join(
        f"{columns[0]} IS NOT DISTINCT FROM {column}" for column in columns)),
    "expect_select_column_values_to_be_unique_within_record": _different,
    "expect_column_min_to_be_between": _figure("min({})", *FAMILIES),
    "expect_column_max_to_be_between": _figure("max({})", *FAMILIES),
    "expect_column_mean_to_be_between": _figure("avg({})", *NUMERIC, slack=1e-12),
    "expect_column_median_to_be_between": _figure("quantile_cont({}, 0.5)", *NUMERIC),
    "expect_column_stdev_to_be_between": _figure("stddev_samp({})", *NUMERIC, slack=1e-12),
    "expect_column_sum_to_be_between": _figure("sum({})", *NUMERIC, slack=1e-12),
    "expect_column_unique_value_count_to_be_between": _different_values,
    "expect_column_proportion_of_unique_values_to_be_between": _different_values,
    "expect_column_proportion_of_non_null_values_to_be_between": _figure("count({}) / count(*)", *FAMILIES, counts="count(*)"),
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_kl_divergence_to_be_less_than": _shares,
    "unexpected_rows_expectation":  # no row may be selected
        lambda check, types: RowRule("", parse_condition(query_condition(check.arguments["unexpected_rows_query"])).sql)}

"""The one form of a rule: an expectation as SQL over the data, with the sentence that says it.

A rule about rows has a predicate for the rows against it; a rule about a whole column has one figure and bounds; a rule
about the table's shape needs no SQL. What has no form here goes to Great Expectations itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.suites import Check

Family = Literal["integer", "number", "boolean", "text", "date"]
FAMILIES: Mapping[Family, frozenset[str]] = {
    "integer": frozenset("int int8 int16 int32 int64 uint8 uint16 uint32 uint64 integer bigint smallint tinyint hugeint "
                         "ubigint uinteger usmallint utinyint".split()),
    "number": frozenset("float float16 float32 float64 double real number decimal numeric".split()),
    "boolean": frozenset("bool bool_ boolean".split()),
    "text": frozenset("str string object text varchar char category categorical string_ enum".split()),
    "date": frozenset("datetime datetime64 datetime64[ns] datetime64[us] timestamp date time timestamptz".split())}


@dataclass(frozen=True)
class RowRule:
    """Rows for which `applies` is true are evaluated; those of them for which `against` is true are unexpected."""

    applies: str
    against: str


@dataclass(frozen=True)
class Figure:
    """A figure of the table with its bounds; `counts` is the number of values that it was made of."""

    sql: str
    counts: str
    low: Any = None
    high: Any = None
    strict_low: bool = False
    strict_high: bool = False


@dataclass(frozen=True)
class Grouped:
    """Rows whose values are not alone: `columns` together must be different in every row."""

    columns: tuple[str, ...]
    applies: str


@dataclass(frozen=True)
class Shape:
    """A rule about columns and types; `holds` gives None, or what was found instead."""

    holds: Callable[[Mapping[str, str]], str | None]


Rule = RowRule | Figure | Grouped | Shape | Sequence[Figure]


def rule(check: Check) -> Rule | None:
    """Return the form of a check, or None when it has none here."""
    make = _FORMS.get(check.type)
    return None if make is None else make(check)


def family(kind: str) -> Family | None:
    """Return the family of a type's name, as pandas, numpy, SQL or DuckDB write it."""
    word = kind.lower().split("(")[0].strip()
    if word.startswith("timestamp"):
        word = "timestamp"
    return next((name for name, words in FAMILIES.items() if word in words), None)


def sentence(check: Check) -> str:
    """Say a check in words."""
    words = check.type.removeprefix("expect_").replace("_", " ")
    subject = ", ".join(f"`{column}`" for column in check.columns)
    shown = {key: value for key, value in check.arguments.items() if key not in ("column", "column_A", "column_B", "column_list")}
    make = _SENTENCES.get(check.type)
    text = make(check) if make else f"{subject + ': ' if subject else ''}{words} {_shown(shown) if shown else ''}".strip()
    if check.mostly < 1:
        text += f" in at least {check.mostly:.4g} of the rows"
    return text + (f", where {check.condition.text}" if check.condition else "")


def _known(check: Check, *columns: str) -> str:
    parts = [f"{identifier(column)} IS NOT NULL" for column in columns]
    return " AND ".join([*parts, *([check.condition.sql] if check.condition else [])]) or "TRUE"


def _rows(against: Callable[[str, Mapping[str, Any]], str]) -> Callable[[Check], RowRule]:
    """Make a rule about the rows in which one column is known."""
    def make(check: Check) -> RowRule:
        column = check.columns[0]
        return RowRule(_known(check, column), against(identifier(column), check.arguments))
    return make


def _not_null(check: Check) -> RowRule:
    return RowRule(_known(check), f"{identifier(check.columns[0])} IS NULL")


def _null(check: Check) -> RowRule:
    return RowRule(_known(check), f"{identifier(check.columns[0])} IS NOT NULL")


def _outside(value: str, arguments: Mapping[str, Any]) -> str:
    parts = []
    if (low := arguments.get("min_value")) is not None:
        parts.append(f"{value} {'<=' if arguments.get('strict_min') else '<'} {literal(low)}")
    if (high := arguments.get("max_value")) is not None:
        parts.append(f"{value} {'>=' if arguments.get('strict_max') else '>'} {literal(high)}")
    return "(" + " OR ".join(parts) + ")"


def _set(value: str, arguments: Mapping[str, Any]) -> str:
    return f"{value} IN ({', '.join(literal(each) for each in arguments['value_set'])})"


def _matches(value: str, pattern: str) -> str:
    return f"regexp_matches({value}, {literal(pattern)})"


def _pair(sign: Callable[[Mapping[str, Any]], str]) -> Callable[[Check], RowRule]:
    def make(check: Check) -> RowRule:
        first, second = (identifier(column) for column in check.columns)
        return RowRule(_known(check, *check.columns), f"NOT ({first} {sign(check.arguments)} {second})")
    return make


def _figure(sql: str, *, of: str = "min_value") -> Callable[[Check], Figure]:
    """Make a rule about one figure of a column; `{}` in `sql` stands for the column."""
    def make(check: Check) -> Figure:
        where = f" FILTER (WHERE {_known(check, check.columns[0])})"
        column = identifier(check.columns[0])
        return Figure(sql.replace("{}", column).replace("{where}", where), f"count({column}){where}",
                      check.arguments.get("min_value"), check.arguments.get("max_value"),
                      bool(check.arguments.get("strict_min")), bool(check.arguments.get("strict_max")))
    return make


def _quantiles(check: Check) -> Sequence[Figure]:
    ranges = check.arguments["quantile_ranges"]
    column, where = identifier(check.columns[0]), f" FILTER (WHERE {_known(check, check.columns[0])})"
    # One aggregate for all quantiles of a column, which DuckDB evaluates once: it has to order the values only once.
    every = f"(quantile_cont({column}, {[float(quantile) for quantile in ranges['quantiles']]}){where})"
    return [Figure(f"{every}[{place}]", f"count({column}){where}", low, high)
            for place, (low, high) in enumerate(ranges["value_ranges"], start=1)]


def _row_count(check: Check) -> Figure:
    condition = f" FILTER (WHERE {check.condition.sql})" if check.condition else ""
    value = check.arguments.get("value")
    return Figure(f"count(*){condition}", f"count(*){condition}", check.arguments.get("min_value", value),
                  check.arguments.get("max_value", value))


def _exists(check: Check) -> Shape:
    name = check.columns[0]
    return Shape(lambda types: None if name in types else "no such column")


def _column_set(check: Check) -> Shape:
    wanted, exact = set(check.arguments["column_set"]), check.arguments.get("exact_match", True)

    def holds(types: Mapping[str, str]) -> str | None:
        absent, new = sorted(wanted - types.keys()), sorted(types.keys() - wanted)
        told = ([f"missing {', '.join(absent)}"] if absent else []) + ([f"new {', '.join(new)}"] if new and exact else [])
        return "; ".join(told) or None
    return Shape(holds)


def _column_list(check: Check) -> Shape:
    wanted = list(check.arguments["column_list"])
    return Shape(lambda types: None if list(types) == wanted else f"columns {', '.join(types)}")


def _column_count(check: Check) -> Shape:
    value = check.arguments.get("value")
    low, high = check.arguments.get("min_value", value), check.arguments.get("max_value", value)
    return Shape(lambda types: None if (low is None or len(types) >= low) and (high is None or len(types) <= high)
                 else f"{len(types)} columns")


def _types(check: Check) -> Shape | None:
    names = check.arguments.get("type_list") or [check.arguments["type_"]]
    families = {family(str(name)) for name in names}
    if None in families:
        return None
    column = check.columns[0]
    return Shape(lambda types: None if family(types[column]) in families else f"type {types[column].lower()}")


def _unique(check: Check) -> Grouped:
    return Grouped(check.columns, _known(check, *check.columns))


_FORMS: Mapping[str, Callable[[Check], Rule | None]] = {
    "expect_column_to_exist": _exists,
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_columns_to_match_ordered_list": _column_list,
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count,
    "expect_column_values_to_be_of_type": _types,
    "expect_column_values_to_be_in_type_list": _types,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_null": _null,
    "expect_column_values_to_be_between": _rows(_outside),
    "expect_column_values_to_be_in_set": _rows(lambda value, arguments: f"NOT ({_set(value, arguments)})"),
    "expect_column_values_to_not_be_in_set": _rows(_set),
    "expect_column_value_lengths_to_be_between": _rows(lambda value, arguments: _outside(f"length({value})", arguments)),
    "expect_column_value_lengths_to_equal": _rows(lambda value, arguments: f"length({value}) <> {literal(arguments['value'])}"),
    "expect_column_values_to_match_regex": _rows(lambda value, arguments: f"NOT {_matches(value, arguments['regex'])}"),
    "expect_column_values_to_not_match_regex": _rows(lambda value, arguments: _matches(value, arguments["regex"])),
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair(lambda arguments: ">=" if arguments.get("or_equal") else ">"),
    "expect_column_pair_values_to_be_equal": _pair(lambda arguments: "="),
    "expect_column_min_to_be_between": _figure("min({}){where}"),
    "expect_column_max_to_be_between": _figure("max({}){where}"),
    "expect_column_mean_to_be_between": _figure("avg({}){where}"),
    "expect_column_median_to_be_between": _figure("quantile_cont({}, 0.5){where}"),
    "expect_column_stdev_to_be_between": _figure("stddev_samp({}){where}"),
    "expect_column_sum_to_be_between": _figure("sum({}){where}"),
    "expect_column_unique_value_count_to_be_between": _figure("count(DISTINCT {}){where}"),
    "expect_column_quantile_values_to_be_between": _quantiles}


def _shown(arguments: Mapping[str, Any]) -> str:
    texts = []
    for key, value in arguments.items():
        text = str(value)
        texts.append(f"{key.replace('_', ' ')} {text if len(text) < 80 else text[:77] + '…'}")
    return ", ".join(texts)


def _between(arguments: Mapping[str, Any]) -> str:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is not None and high is not None:
        return f"lies between {_number(low)} and {_number(high)}"
    return f"is at least {_number(low)}" if low is not None else f"is at most {_number(high)}"


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown + (f" … ({len(values)} in all)" if len(values) > 8 else "")


def _told_quantiles(check: Check) -> str:
    ranges = check.arguments["quantile_ranges"]
    parts = [f"{quantile:.0%} {_between({'min_value': low, 'max_value': high})}"
             for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True)]
    return f"of `{check.columns[0]}`, the quantile at " + ", at ".join(parts)


_SENTENCES: Mapping[str, Callable[[Check], str]] = {
    "expect_column_to_exist": lambda check: f"there is a column `{check.columns[0]}`",
    "expect_table_columns_to_match_set": lambda check: f"there are the columns {_listed(check.arguments['column_set'])}",
    "expect_table_row_count_to_be_between": lambda check: f"the number of rows {_between(check.arguments)}",
    "expect_column_values_to_not_be_null": lambda check: f"`{check.columns[0]}` is known",
    "expect_column_values_to_be_between": lambda check: f"`{check.columns[0]}` {_between(check.arguments)}",
    "expect_column_values_to_be_in_set": lambda check: f"`{check.columns[0]}` is one of {_listed(check.arguments['value_set'])}",
    "expect_column_value_lengths_to_be_between": lambda check: f"the length of `{check.columns[0]}` {_between(check.arguments)}",
    "expect_column_values_to_match_regex": lambda check: f"`{check.columns[0]}` matches {check.arguments['regex']}",
    "expect_column_values_to_be_unique": lambda check: f"`{check.columns[0]}` is different in every row",
    "expect_compound_columns_to_be_unique": lambda check: f"{' and '.join(f'`{each}`' for each in check.columns)} together are "
                                                          "different in every row",
    "expect_column_values_to_be_of_type": lambda check: f"`{check.columns[0]}` is of type {check.arguments['type_']}",
    "expect_column_unique_value_count_to_be_between":
        lambda check: f"the number of different values of `{check.columns[0]}` {_between(check.arguments)}",
    "expect_column_mean_to_be_between": lambda check: f"the mean of `{check.columns[0]}` {_between(check.arguments)}",
    "expect_column_pair_values_a_to_be_greater_than_b":
        lambda check: f"`{check.columns[0]}` is {'at least' if check.arguments.get('or_equal') else 'above'} `{check.columns[1]}`",
    "expect_column_quantile_values_to_be_between": _told_quantiles}

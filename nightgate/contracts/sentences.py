"""A check in words: what it asks of the data, as a person would say it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nightgate.contracts.drifting import TO_BE_DECIDED, TO_BE_INSIGNIFICANT, TO_RAISE_NO_ALARM
from nightgate.contracts.suites import Check

LISTED = 8
"""Values of a set that are named."""


def sentence(check: Check) -> str:
    """Say a check in words."""
    make = _SENTENCES.get(check.type)
    text = make(check) if make else _plain(check)
    if check.mostly < 1:
        text += f" in at least {check.mostly:.4g} of the rows"
    return text + (f", where {check.condition.text}" if check.condition else "")


def number(value: Any) -> str:
    """Write a figure with six digits that count."""
    if isinstance(value, dict):
        return str(value.get("$PARAMETER", value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value)[:60] for value in values[:LISTED])
    return shown + (f" … ({len(values)} in all)" if len(values) > LISTED else "")


def between(low: Any, high: Any) -> str:
    if low is not None and high is not None:
        return f"is {number(low)}" if low == high else f"lies between {number(low)} and {number(high)}"
    return f"is at least {number(low)}" if low is not None else f"is at most {number(high)}"


def _plain(check: Check) -> str:
    words = check.type.removeprefix("expect_").replace("_", " ")
    subject = ", ".join(f"`{column}`" for column in check.columns)
    shown = ", ".join(f"{key.replace('_', ' ')} {str(value)[:80]}" for key, value in check.arguments.items()
                      if key not in ("column", "column_A", "column_B", "column_list", "mostly"))
    return f"{subject + ': ' if subject else ''}{words} {shown}".strip()


def _bounds(check: Check) -> str:
    arguments: Mapping[str, Any] = check.arguments
    text = between(arguments.get("min_value"), arguments.get("max_value"))
    return text + (", these excluded" if arguments.get("strict_min") or arguments.get("strict_max") else "")


def _of(subject: str) -> Callable[[Check], str]:
    return lambda check: f"{subject} `{check.columns[0]}` {_bounds(check)}".lstrip()


def _says(text: str, *keys: str) -> Callable[[Check], str]:
    """Fill the first column and then arguments into a text."""
    return lambda check: text.format(check.columns[0] if check.columns else "",
                                     *(listed(value) if isinstance(value := check.arguments.get(key), list) else value for key in keys))


def _together(text: str) -> Callable[[Check], str]:
    return lambda check: f"{' and '.join(f'`{column}`' for column in check.columns[:LISTED])}" \
                         f"{f' … ({len(check.columns)} columns)' if len(check.columns) > LISTED else ''} {text}"


def _quantiles(check: Check) -> str:
    ranges = check.arguments["quantile_ranges"]
    parts = [f"{quantile:.4g} {between(low, high)}"
             for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True)]
    return f"the quantile of `{check.columns[0]}` at " + ", at ".join(parts)


def _shares(check: Check) -> str:
    partition = check.arguments["partition_object"]
    parts = [f"{value} {weight:.2g}" for value, weight in zip(partition.get("values", ()), partition["weights"], strict=False)]
    return f"the values of `{check.columns[0]}` are spread as {listed(parts)}"


_SENTENCES: Mapping[str, Callable[[Check], str]] = {
    "expect_column_to_exist": _says("there is a column `{}`"),
    "expect_table_columns_to_match_set": _says("there are the columns {1}", "column_set"),
    "expect_table_row_count_to_be_between": lambda check: f"the number of rows {_bounds(check)}",
    "expect_column_values_to_not_be_null": _says("`{}` is known"),
    "expect_column_values_to_be_null": _says("`{}` is missing"),
    "expect_column_values_to_be_between": _of(""),
    "expect_column_values_to_be_in_set": _says("`{}` is one of {}", "value_set"),
    "expect_column_values_to_not_be_in_set": _says("`{}` is none of {}", "value_set"),
    TO_RAISE_NO_ALARM: _says("no column raises an alarm"), TO_BE_DECIDED: _says("each column had enough rows to tell"),
    TO_BE_INSIGNIFICANT: _says("no change is significant"),
    "expect_column_value_lengths_to_be_between": _of("the length of"),
    "expect_column_values_to_match_regex": _says("`{}` matches {}", "regex"),
    "expect_column_values_to_not_match_regex": _says("`{}` does not match {}", "regex"),
    "expect_column_values_to_be_unique": _says("`{}` is different in every row"),
    "expect_compound_columns_to_be_unique": _together("together are different in every row"),
    "expect_column_values_to_be_of_type": _says("`{}` is of type {}", "type_"),
    "expect_column_values_to_be_in_type_list": _says("`{}` is of type {}", "type_list"),
    "expect_column_unique_value_count_to_be_between": _of("the number of different values of"),
    "expect_column_min_to_be_between": _of("the smallest"), "expect_column_max_to_be_between": _of("the largest"),
    "expect_column_mean_to_be_between": _of("the mean of"), "expect_column_median_to_be_between": _of("the median of"),
    "expect_column_stdev_to_be_between": _of("the standard deviation of"), "expect_column_sum_to_be_between": _of("the sum of"),
    "expect_column_pair_values_a_to_be_greater_than_b":
        lambda check: f"`{check.columns[0]}` is {'at least' if check.arguments.get('or_equal') else 'above'} `{check.columns[1]}`",
    "expect_column_pair_values_to_be_equal": lambda check: f"`{check.columns[0]}` is equal to `{check.columns[1]}`",
    "expect_column_pair_values_to_be_in_set": lambda check: f"`{check.columns[0]}` and `{check.columns[1]}` are one of the pairs "
        f"{listed([f'{one} {other}' for one, other in check.arguments['value_pairs_set']])}",
    "unexpected_rows_expectation": lambda check: f"no row has {check.arguments['unexpected_rows_query'].partition(' WHERE ')[2]}",
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_kl_divergence_to_be_less_than": _shares}

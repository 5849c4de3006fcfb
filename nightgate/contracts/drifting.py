"""The expectations of Nightgate's own: what the drift table, a row a monitored column, is asked for.

Each is a core expectation with its arguments filled in, which is how Great Expectations has its own made.
"""

from collections.abc import Mapping
from typing import Any

TO_RAISE_NO_ALARM = "expect_drift_to_raise_no_alarm"
TO_BE_DECIDED = "expect_drift_to_be_decided"
TO_BE_INSIGNIFICANT = "expect_drift_to_be_insignificant"

FILLED: Mapping[str, Mapping[str, Any]] = {
    TO_RAISE_NO_ALARM: {"column": "verdict", "value_set": ["alarm"]},
    TO_BE_DECIDED: {"column": "verdict", "value_set": ["undecided"]},
    TO_BE_INSIGNIFICANT: {"column": "verdict", "value_set": ["watch"]}}
"""The arguments of `expect_column_values_to_not_be_in_set` that each stands for: the policy has judged, the gate reads its verdict."""


def filled(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an expectation's arguments with those that its kind stands for."""
    return {**FILLED.get(kind, {}), **arguments}

"""Nights of monitoring in their order: an alarm opens once, closes after three clean nights, and asks once in a cool-down."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from nightgate.episodes import Watched, placed, read, write
from nightgate.errors import StoreError
from nightgate.store import Store


def nights(pattern: str) -> list[Watched]:
    """Return nights of a pattern: `!` alarm, `.` clean, `?` undecided, `>` a new champion from the next night on."""
    made: list[Watched] = []
    version = 1
    for sign in pattern:
        if sign == ">":
            version += 1
            continue
        verdict = {"!": "alarm", ".": "quiet", "?": "undecided"}[sign]
        night = Watched("credit", str(date(2026, 1, 1) + timedelta(days=len(made))), version, 100, True, sign != "!", {"x": {"verdict": verdict}},
                        ["x"] if sign == "!" else [])
        made.append(placed(night, made))
    return made


@pytest.mark.parametrize(("pattern", "opened", "is_open"), [
    ("....", [], False), (".!!!", [1], True), ("!..!", [0], True), ("!...", [0], False), ("!...!", [0, 4], True), ("!..?.", [0], False),
    ("!..?", [0], True), ("!??????", [0], True)])
def test_an_alarm_opens_once_and_closes_after_three_clean_nights(pattern: str, opened: list[int], is_open: bool) -> None:
    found = nights(pattern)

    assert [day for day, night in enumerate(found) if night.opened] == opened
    assert (found[-1].open_since is not None) == is_open


@pytest.mark.parametrize(("pattern", "asks"), [
    ("!" * 24, [0, 1, 3, 7, 14, 21]),  # in vain: again after one night, two, four, and then every week
    ("!>!!!!", [0, 1, 2, 4]), ("!!!>!!!!!!!!!", [0, 1, 3, 4, 6, 10]),  # a new champion, a new series
    ("!...!!!!!", [0, 4, 5, 7]), ("!.!.!.!", [0, 2, 4]), ("!......!", [0, 7])])
def test_one_retraining_is_asked_for_in_a_cool_down(pattern: str, asks: list[int]) -> None:
    assert [day for day, night in enumerate(nights(pattern)) if night.asks] == asks


def test_a_second_look_at_a_date_takes_no_alarm_back_and_asks_no_second_time() -> None:
    first = nights("..!")[-1]
    calm = replace(nights("...")[-1], version=2)

    again = placed(calm, nights(".."), earlier=first)
    third = placed(calm, nights(".."), earlier=again)

    assert first.opened and first.asks
    for each in (again, third):
        assert each.success and each.opened and each.asks and each.open_since == first.as_of
    assert placed(nights("....")[-1], [*nights(".."), third]).open_since == first.as_of


def test_the_reason_names_columns_and_performance() -> None:
    night = nights("!")[0]

    assert night.reason == "drift of x"
    assert replace(night, causes=["(performance)", "x"]).reason == "drift of x and loss of performance"
    assert replace(night, causes=["(performance)"]).reason == "loss of performance"
    assert replace(night, causes=[]).reason == "a rule of the drift contract"


def test_nights_come_back_in_order(tmp_path: object) -> None:
    store = Store(str(tmp_path))
    for night in reversed(nights(".!.")):
        write(store, night)

    assert read(store, "credit") == nights(".!.")

    store.write_json("monitoring/credit/2026-01-09.json", {"model": "credit"})
    with pytest.raises(StoreError, match="not as this Nightgate writes it"):
        read(store, "credit")

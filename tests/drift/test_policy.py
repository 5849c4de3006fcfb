"""The policy of drift: quiet on the same world, loud on another, and never silent where it cannot tell."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nightgate.drift.policy import TableDrift, compare
from nightgate.drift.profile import of_frame, scan, total
from nightgate.drift.reference import LARGER, LARGEST, Reference, Wobble, learn
from tests.projects import people


def found_in(reference: Reference, frame: pd.DataFrame, *, windows: int = 1, time: str | None = None) -> TableDrift:
    return compare(reference, total(scan(of_frame(frame), reference.axes, time=time).values()), data="x", windows=windows)


def compared(before: pd.DataFrame, after: pd.DataFrame, **options: object) -> dict[str, str]:
    found = found_in(learn(of_frame(before), **options), after)  # type: ignore[arg-type]
    return {each.column: each.verdict for each in found.columns}


def alarms(before: pd.DataFrame, after: pd.DataFrame) -> set[str]:
    return {name for name, verdict in compared(before, after).items() if verdict == "alarm"}


@pytest.mark.parametrize("rows", [150, 1_000])
def test_clean_nights_are_quiet(rows: int) -> None:
    def night(rows: int, seed: int) -> pd.DataFrame:
        frame = people(rows, seed)
        return frame.assign(income=frame["income"].where(np.random.default_rng(seed).random(rows) > 0.1))

    reference = learn(of_frame(night(5_000, 0)))

    assert sum(found_in(reference, night(rows, seed)).alarm for seed in range(1, 101)) <= 1


def changed(name: str) -> pd.DataFrame:
    frame = people(2_000, seed=5)
    match name:
        case "shift":
            frame["income"] += 2.5
        case "scale":
            frame["income"] = 50 + (frame["income"] - 50) * 1.25
        case "category":
            frame.loc[frame.index % 5 == 0, "city"] = "Zug"
        case "more":
            frame.loc[(frame.index % 5 == 0) & (frame["city"] == "Bern"), "city"] = "Chur"
            frame.loc[frame.index % 10 == 3, "city"] = "Chur"
        case "missing":
            frame["age"] = frame["age"].where(frame.index % 33 > 0)
        case "gone":
            return frame.drop(columns="income")
        case "type":
            frame["income"] = "much"
        case "all null":
            frame["income"] = np.nan
        case "constant":
            frame["income"] = 50.0
        case "infinite":
            frame.loc[frame.index % 10 == 0, "income"] = np.inf
    return frame


@pytest.mark.parametrize(("change", "column"), [
    ("shift", "income"), ("scale", "income"), ("category", "city"), ("more", "city"), ("missing", "age"), ("gone", "income"),
    ("type", "income"), ("all null", "income"), ("constant", "income"), ("infinite", "income")])
def test_changes_are_named(change: str, column: str) -> None:
    assert alarms(people(5_000), changed(change)) == {column}


def test_a_new_column_is_watched() -> None:
    assert compared(people(5_000), people(2_000, 1).assign(more=1.0))["more"] == "watch"


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_few_rows_are_undecided_and_never_fine(rows: int) -> None:
    assert set(compared(people(5_000), people(500, 3).iloc[:rows]).values()) == {"undecided"}


def test_one_missing_value_makes_no_change_of_whole_numbers() -> None:
    before, after = pd.DataFrame({"flag": [0, 1] * 2_000}), pd.DataFrame({"flag": [0, 1] * 999 + [0, None]})

    assert compared(before, after) == compared(after, before) == {"flag": "quiet"}


def test_numbers_as_texts_are_compared_as_numbers() -> None:
    before, after = people(3_000), people(2_000, 1)

    assert compared(before, after.astype({"age": "string"}))["age"] == "quiet"
    assert compared(before.astype({"age": "string"}), after.assign(age=after["age"].astype(float)))["age"] == "quiet"


def test_keys_and_free_texts_do_not_drift() -> None:
    def table(rows: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        return pd.DataFrame({"key": [f"{number:x}" for number in random.integers(0, 2**60, rows)], "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(seed, "D")})

    assert compared(table(20_000, 1), table(5_000, 2)) == {"key": "quiet", "when": "quiet"}


def test_small_significant_changes_are_watched() -> None:
    def table(rows: int, seed: int, moved: float) -> pd.DataFrame:
        return pd.DataFrame({"x": np.random.default_rng(seed).normal(moved, 1, rows)})

    assert compared(table(200_000, 1, 0.0), table(200_000, 2, 0.05)) == {"x": "watch"}


def nights(days: int, *, wobble: float, rows: int = 400, seed: int = 0, moved: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    parts = [pd.DataFrame({"day": pd.Timestamp("2026-01-01") + pd.to_timedelta(day, "D"), "x": random.normal(moved + wobble * random.normal(), 1, rows)})
             for day in range(days)]
    return pd.concat(parts, ignore_index=True)


def test_wobble_widens_the_limit() -> None:
    steady, restless = (learn(of_frame(nights(28, wobble=wobble)), time="day") for wobble in (0.0, 0.3))
    odd = nights(1, wobble=0.0, rows=4_000, seed=9, moved=0.5)

    assert steady.calibrated and restless.calibrated
    assert found_in(steady, odd, time="day").alarm == 1
    assert found_in(restless, odd, time="day").alarm == 0


def test_seven_nights_wobble_less_than_one() -> None:
    reference = learn(of_frame(nights(56, wobble=0.3)), time="day")
    week = nights(7, wobble=0.0, rows=600, seed=9, moved=0.6)

    one, seven = (found_in(reference, week, time="day", windows=windows).columns[0] for windows in (1, 7))

    assert (one.verdict, seven.verdict) == ("quiet", "alarm")


@pytest.mark.parametrize(("moved", "scale", "word"), [(0.25, 1.0, "moved up"), (-0.25, 1.0, "moved down"), (0.0, 1.25, "spread"),
                                                      (0.0, 0.75, "drew together")])
def test_a_night_of_a_thousand_rows_tells_a_quarter_of_a_deviation(moved: float, scale: float, word: str) -> None:
    reference, found = learn(of_frame(nights(28, wobble=0.02, rows=1_000)), time="day"), []
    for seed in range(20):
        night = pd.DataFrame({"x": np.random.default_rng([9, seed]).normal(moved, scale, 1_000)})
        found.append(found_in(reference, night).columns[0])

    assert [each.verdict for each in found] == ["alarm"] * 20 and sum(word in each.why for each in found) > 10


def test_a_reference_that_knows_no_wobble_of_ranks_takes_the_larger_distances() -> None:
    reference = learn(of_frame(nights(28, wobble=0.3)), time="day")
    of_old = {name: Wobble(each.windows, *({measure: value for measure, value in known.items() if measure not in LARGER}
                                           for known in (each.single, each.week))) for name, each in reference.wobble.items()}

    odd = found_in(replace(reference, wobble=of_old), nights(1, wobble=0.0, rows=4_000, seed=9, moved=0.5))

    assert odd.alarm == 0


def test_fewer_than_eight_windows_are_uncalibrated() -> None:
    reference = learn(of_frame(nights(7, wobble=0.0)), time="day")

    assert not reference.calibrated and not found_in(reference, nights(1, wobble=0), time="day").as_json()["calibrated"]


def test_what_matters_is_judged_more_strictly() -> None:
    random = np.random.default_rng(0)
    before, after = (pd.DataFrame({name: random.normal(moved, 1, 20_000) for name in "abcdefgh"}) for moved in (0.0, 0.25))
    weights = {name: 0.5**place for place, name in enumerate("abcdefgh")}

    found = found_in(learn(of_frame(before), importances=weights), after)

    assert {each.column for each in found.columns if each.verdict == "alarm"} == set("abcde")
    assert [each.column for each in found.ranked][:5] == list("abcde")


def test_where_no_change_could_reach_the_limit_nothing_is_called_fine() -> None:
    restless = learn(of_frame(nights(28, wobble=30.0)), time="day")

    found = found_in(restless, nights(1, wobble=0.0, seed=9, moved=100.0), time="day").columns[0]

    assert found.limit >= 1 and found.verdict == "undecided"


def test_a_column_that_never_had_a_value_stays_quiet() -> None:
    assert compared(pd.DataFrame({"x": [None] * 500, "y": [1.0, 2.0] * 250}), pd.DataFrame({"x": [None] * 300, "y": [1.0, 2.0] * 150}))["x"] == "quiet"


def test_categories_by_the_million_are_compared_and_a_common_one_is_seen() -> None:
    def table(seed: int, share: float) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        keys = random.integers(0, 2**60, 1_000_000).astype(str)
        return pd.DataFrame({"key": np.where(random.random(1_000_000) < share, "none", keys)})

    reference = learn(of_frame(table(1, 0.0)))

    same, other = (found_in(reference, table(seed, share)).columns[0] for seed, share in ((2, 0.0), (3, 0.2)))
    assert len(reference.to_bytes()) < LARGEST and same.verdict == "quiet"
    assert other.verdict == "alarm" and "one of 1,024 groups of values is 20." in other.why

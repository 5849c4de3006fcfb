"""Profiles: they merge as data concatenate, whatever the order of the rows, and come back as they were written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, mannwhitneyu

from nightgate.drift import profile
from nightgate.drift.distances import gap
from nightgate.drift.policy import compare
from nightgate.drift.profile import Profile, axes_of, of_file, of_frame, of_table, scan, total
from nightgate.drift.reference import LARGEST, Reference, learn, packed
from nightgate.drift.sketches import LEAST, MOST, Axis, Categories, Numbers, count, merge
from nightgate.errors import DataUnusable

values = st.one_of(st.none(), st.floats(width=64), st.integers(-10**6, 10**6).map(float))
columns = st.lists(values, max_size=40)
names = st.lists(st.one_of(st.none(), st.sampled_from("abcdef"), st.text(max_size=3)), max_size=40)


def same(one: object, other: object) -> bool:
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return one.missing == other.missing and np.array_equal(one.bins, other.bins) and np.array_equal(one.counts, other.counts)
    assert isinstance(one, Categories) and isinstance(other, Categories)
    buckets = (one.buckets is None) == (other.buckets is None) and (one.buckets is None or np.array_equal(one.buckets, other.buckets))
    return one.missing == other.missing and one.names == other.names and buckets


@given(columns, columns, st.randoms())
def test_sketches_of_numbers_add_up_in_any_order(first: list[float | None], second: list[float | None], random: object) -> None:
    axis, whole = Axis("number", 3.0, 7.0), [*first, *second]
    random.shuffle(whole)  # type: ignore[attr-defined]

    parts = [count(pa.array(each, pa.float64()), axis) for each in (first, second, whole)]

    assert same(merge(parts[:2]), parts[2])


@given(names, names, st.randoms())
def test_sketches_of_categories_add_up_in_any_order(first: list[str | None], second: list[str | None], random: object) -> None:
    whole = [*first, *second]
    random.shuffle(whole)  # type: ignore[attr-defined]

    parts = [count(pa.array(each, pa.string()), Axis("category")) for each in (first, second, whole)]

    assert same(merge(parts[:2]), parts[2])


def test_categories_by_the_million_add_up_and_stay_small() -> None:
    first, second = ([f"{number}" for number in range(start, start + 900)] for start in (0, 500))

    parts = [count(pa.array(each), Axis("category")) for each in (first, second, first + second)]

    assert isinstance(parts[0], Categories) and parts[0].names is not None
    assert isinstance(parts[2], Categories) and parts[2].names is None and same(merge(parts[:2]), parts[2])


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50), st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=50))
def test_drift_with_itself_is_nothing(numbers: list[float], texts: list[str | None]) -> None:
    frame = pd.DataFrame({"x": pd.Series(numbers), "c": pd.Series(texts, dtype="str")})
    reference = learn(of_frame(frame))

    found = compare(reference, reference.profile, data="x")

    assert found.alarm == found.watch == 0 and all(each.distance == 0 for each in found.columns)


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_is_that_of_the_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    before, after = random.gamma(1 + seed, 10, 20_000), random.gamma(1.1 + seed, 10, 5_000)
    axis = axes_of(of_frame(pd.DataFrame({"x": before})))["x"]

    first, second = (count(pa.array(each), axis) for each in (before, after))

    assert isinstance(first, Numbers) and isinstance(second, Numbers)
    assert gap(first, second).ks == pytest.approx(ks_2samp(before, after).statistic, abs=3e-3)


small = st.lists(st.integers(-20, 20), min_size=1, max_size=60)


@given(small, small)
def test_ranks_are_mann_and_whitneys_and_within_the_larger_distances(before: list[int], after: list[int]) -> None:
    first, second = (count(pa.array(each, pa.float64()), Axis("number", 0.0, 1.0)) for each in (before, after))
    assert isinstance(first, Numbers) and isinstance(second, Numbers)

    found = gap(first, second)

    expected = mannwhitneyu(after, before, method="asymptotic").statistic / (len(before) * len(after)) - 0.5
    assert found.rank.change == pytest.approx(expected, abs=1e-9)
    assert abs(found.rank.change) <= found.ks + 1e-9 and abs(found.spread.change) <= found.kuiper + 1e-9


def test_infinite_is_not_large() -> None:
    sketch = count(pa.array([1e308, -1e308, np.inf, -np.inf, np.nan, None]), Axis("number", 0.0, 1e-9))

    assert isinstance(sketch, Numbers) and (sketch.infinite, sketch.missing, sketch.known) == (2, 2, 4)
    assert {LEAST, MOST} < set(sketch.bins.tolist())


def test_a_table_is_scanned_in_batches_and_by_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"at": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 10 * 24 * 60, 5_000), "min"), "x": random.normal(size=5_000),
                          "c": random.choice(["a", "b", None], 5_000)})
    frame.loc[3, "at"] = pd.NaT
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=1_000)
    source = of_file(tmp_path / "x.parquet")
    axes = axes_of(source)
    monkeypatch.setattr(profile, "BATCH", 700)

    days, whole = scan(source, axes, time="at"), scan(of_frame(frame), axes, leave_out=["at"])[0]

    assert len(days) == 11 and sum(each.rows for each in days.values()) == 5_000
    merged = total(days.values())
    assert merged.columns.keys() == whole.columns.keys() and all(same(merged.columns[name], whole.columns[name]) for name in whole.columns)
    assert len(scan(source, axes, time="at", every="week")) == 3 and len(scan(source, axes, time="at", every="month")) == 2


def test_a_column_that_a_part_lacks_is_missing_there() -> None:
    whole = Profile(2, {"a": count(pa.array([1.0, 2.0]), Axis("number"))}) + Profile(3, {})

    assert (whole.rows, whole.columns["a"].missing) == (5, 3)


def test_a_reference_comes_back_as_it_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({**{f"n{place}": random.normal(size=60_000) for place in range(20)}, "c": random.choice(["a", "ü"], 60_000),
                          "key": [f"{number}" for number in range(60_000)], "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(60_000) // 6_000, "D")})
    made = learn(of_frame(frame), time="day", importances={"n0": 1.0})

    content = made.to_bytes()
    read = Reference.from_bytes(content)

    assert read.to_bytes() == content and len(content) < LARGEST and read.calibrated
    assert all(same(read.profile.columns[name], made.profile.columns[name]) for name in made.profile.columns)
    assert read.profile.rows == 60_000


@pytest.mark.parametrize("content", [b"", b"torn", packed({"layout": 0}), packed({"other": 1}), packed({"layout": 1, "axes": 3})],
                         ids=["empty", "torn", "older", "other", "broken"])
def test_a_profile_of_another_time_is_told(content: bytes) -> None:
    with pytest.raises(DataUnusable, match="profile") as error:
        Reference.from_bytes(content)
    assert "Run the model again" in error.value.remedy


def test_the_numbers_of_rows_that_pandas_writes_are_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0]}, index=["a", "b"]).to_parquet(tmp_path / "a.parquet")
    source = of_file(tmp_path / "a.parquet")

    assert {*axes_of(source)} == {"x"} and {*total(scan(source, axes_of(source)).values()).columns} == {"x"}


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut")

    with pytest.raises(DataUnusable, match=r"x\.parquet"):
        of_file(tmp_path / "x.parquet")


def test_a_torn_file_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=50_000)}), tmp_path / "x.parquet")
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[1_000:90_000] = bytes(89_000)
    (tmp_path / "x.parquet").write_bytes(content)

    with pytest.raises(DataUnusable, match=r"x\.parquet"):
        learn(of_file(tmp_path / "x.parquet"))


def test_a_night_without_a_column_leaves_it_numbers() -> None:
    table = pa.table({"income": [1.0, 2.0, 3.0]})
    axes = axes_of(of_table(table))
    night = scan(of_table(table), axes)[0]

    for without in (pa.table({"age": [1]}), pa.table({"income": pa.nulls(1)})):
        found = total([night, scan(of_table(without), axes)[0]]).columns["income"]

        assert isinstance(found, Numbers) and (found.known, found.missing) == (3, 1)
    assert count(pa.nulls(2), Axis("category")) == Categories({}, None, 2)

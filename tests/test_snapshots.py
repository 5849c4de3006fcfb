"""Collecting takes exactly the rows of the window, once each, the same bytes for the same rows."""

import json
import random
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightgate.datasets import ColumnType
from nightgate.errors import DataUnusable
from nightgate.snapshots import Snapshot, collect
from nightgate.spool import Spool
from tests.making import defined, project

AS_OF = date(2026, 3, 30)


def collected(folder: Path, table: pa.Table, *, as_of: date = AS_OF, types: dict[str, ColumnType] | None = None,
              **changes: Any) -> tuple[Snapshot, pa.Table]:
    pq.write_table(table, folder / "data.parquet")
    snapshot = collect(defined("data.parquet", **changes), project(folder), as_of=as_of, types=types)
    return snapshot, pq.read_table(snapshot.dataset.uri)


def test_the_window_ends_at_midnight_of_the_models_time_zone_when_clocks_change(tmp_path: Path) -> None:
    moments = [datetime(2026, 3, 28, 22, 59), datetime(2026, 3, 28, 23, 0), datetime(2026, 3, 29, 21, 59),
               datetime(2026, 3, 29, 22, 0)]  # UTC; 29 March has 23 hours in Berlin
    table = pa.table({"at": pa.array(moments, pa.timestamp("us", "UTC")), "y": ["a", "b", "c", "d"]})

    snapshot, stored = collected(tmp_path, table, time="at", window={"days": 1}, schedule={"timezone": "Europe/Berlin"})

    assert stored["y"].to_pylist() == ["b", "c"]
    assert snapshot.dropped == {"before the window": 1, "after the window": 1}
    assert (snapshot.first, snapshot.last) == ("2026-03-29T00:00:00", "2026-03-29T23:59:00")


def test_naive_times_are_the_models_own(tmp_path: Path) -> None:
    table = pa.table({"at": [datetime(2026, 3, 29, 23, 59), datetime(2026, 3, 30)], "y": ["in", "out"]})

    _, stored = collected(tmp_path, table, time="at", schedule={"timezone": "Asia/Tokyo"})

    assert stored["y"].to_pylist() == ["in"]


def test_a_run_sees_only_what_had_arrived_and_counts_late_rows(tmp_path: Path) -> None:
    event = [datetime(2026, 3, 27), datetime(2026, 3, 27), datetime(2026, 3, 29), datetime(2026, 3, 28), None]
    arrived = [datetime(2026, 3, 27), datetime(2026, 3, 29, 5), datetime(2026, 3, 29, 1), datetime(2026, 3, 30),
               datetime(2026, 3, 27)]
    table = pa.table({"at": event, "seen": arrived, "y": ["on time", "late", "new", "not yet", "no time"]})

    snapshot, stored = collected(tmp_path, table, time="at", source={"arrived": "seen"})

    assert sorted(stored["y"].to_pylist()) == ["late", "new", "on time"]
    assert snapshot.late == 1
    assert snapshot.dropped == {"not arrived": 1, "no event time": 1}


def test_of_an_entity_at_one_time_the_newest_arrival_stays(tmp_path: Path) -> None:
    at = [datetime(2026, 3, 1)] * 4
    arrived = [datetime(2026, 3, day) for day in (2, 5, 3, 2)]
    table = pa.table({"id": [1, 1, 1, 2], "at": at, "seen": arrived, "y": ["a", "newest", "b", "other"]})

    snapshot, stored = collected(tmp_path, table, entity=["id"], time="at", source={"arrived": "seen"})

    assert sorted(stored["y"].to_pylist()) == ["newest", "other"]
    assert snapshot.duplicates == 2


def test_without_arrival_the_last_one_read_stays(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 1], "at": [datetime(2026, 3, 1)] * 3, "y": ["a", "b", "last"]})

    _, stored = collected(tmp_path, table, entity="id", time="at")

    assert sorted(stored["y"].to_pylist()) == ["b", "last"]


def test_without_event_time_only_identical_rows_are_duplicates(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 1, 1, None, None], "x": [0.0, -0.0, 2.0, None, None], "y": ["a"] * 5})

    snapshot, stored = collected(tmp_path, table, entity="id")

    assert snapshot.duplicates == 2
    assert stored.num_rows == 3


def test_types_are_decided_from_all_rows_and_then_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("code,n,m,y\n007,1,1,a\n123,2,,b\n")
    first = collect(defined("a.csv"), project(tmp_path), as_of=AS_OF)
    pinned = first.dataset.types
    assert pinned == {"code": "text", "n": "integer", "m": "integer", "y": "text"}

    (tmp_path / "a.csv").write_text("code,n,m,y\n5,1.0,,1\n")
    second = collect(defined("a.csv"), project(tmp_path), as_of=AS_OF, types=pinned)

    assert second.dataset.columns == first.dataset.columns
    assert pq.read_table(second.dataset.uri).to_pylist() == [{"code": "5", "n": 1, "m": None, "y": "1"}]


def test_values_outside_the_window_decide_no_type(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,n,y\n2026-03-01,1,a\n2027-01-01,unknown,b\n")

    snapshot = collect(defined("a.csv", time="at"), project(tmp_path), as_of=AS_OF)

    assert snapshot.dataset.types["n"] == "integer"


def test_values_that_do_not_fit_are_all_told_at_once_and_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,n,y\n2026-03-01,1,a\n2026-03-01,many,b\nyesterday,more,c\n2026-03-02,3,d\n")

    with pytest.raises(DataUnusable) as caught:
        collect(defined("a.csv", time="at"), project(tmp_path), as_of=AS_OF, types={"n": "integer"})

    assert "`at`: 1 of 4 values are no date, such as 'yesterday'" in str(caught.value)
    assert "`n`: 1 of 4 values are no integer, such as 'many'" in str(caught.value)
    assert not list((tmp_path / "store").rglob("*.*"))


def test_an_empty_window_says_what_was_there_instead(tmp_path: Path) -> None:
    table = pa.table({"at": [datetime(2020, 1, 1)] * 2, "y": ["a", "b"]})

    with pytest.raises(DataUnusable, match=r"2 read, 2 before the window"):
        collected(tmp_path, table, time="at", window={"days": 7})


@pytest.mark.parametrize("changes", [{"time": "At"}, {"entity": "ID"}, {"target": "Y"}, {"source": {"arrived": "on"}}])
def test_a_column_that_the_definition_needs_is_missed_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataUnusable, match="has no column"):
        collected(tmp_path, pa.table({"at": [datetime(2026, 1, 1)], "id": [1], "y": ["a"]}), **changes)


def test_the_sidecar_is_the_snapshots_own_record(tmp_path: Path) -> None:
    snapshot, _ = collected(tmp_path, pa.table({"a": [1, None], "b": [5, 5], "y": ["a", "b"]}))

    written = json.loads((tmp_path / "store" / "snapshots" / f"{snapshot.dataset.sha256}.json").read_text())

    assert written == json.loads(json.dumps(asdict(snapshot)))
    assert (snapshot.missing, snapshot.constant) == ({"a": 1}, ("a", "b"))
    assert not list((tmp_path / "store" / "work").iterdir())


def _rows(seed: int, count: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [{"id": draw.randrange(count), "at": datetime(2026, 3, 1) + timedelta(hours=draw.randrange(900)),
             "x": draw.choice([None, 0.5, float("inf"), draw.random()]), "s": draw.choice(["a", "b", None]),
             "y": draw.choice("yn")} for _ in range(count)]


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), timed=st.booleans())
def test_order_never_matters_and_every_row_is_accounted_for(tmp_path: Path, seed: int, timed: bool) -> None:
    rows = _rows(seed, 60)
    if timed:  # one row for each key, else which one stays depends on the order
        rows = list({(row["id"], row["at"]): row for row in rows}.values())
    changes: dict[str, Any] = {"entity": "id", "time": "at", "window": {"days": 20}} if timed else {}
    schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us")), ("x", pa.float64()), ("s", pa.string()),
                        ("y", pa.string())])

    first, stored = collected(tmp_path, pa.Table.from_pylist(rows, schema), **changes)
    again, _ = collected(tmp_path, pa.Table.from_pylist(random.Random(seed).sample(rows, len(rows)), schema), **changes)

    assert first == again
    assert first.read == stored.num_rows + first.duplicates + sum(first.dropped.values())


def test_what_does_not_fit_into_memory_gives_the_same_bytes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    table = pa.table({"x": draw.normal(size=300_000), "k": draw.integers(0, 9, 300_000), "y": ["a", "b"] * 150_000})
    usual, stored = collected(tmp_path, table)

    spilled = collect(defined("data.parquet"), project(tmp_path), as_of=AS_OF, memory=0)

    assert spilled == usual
    assert pq.ParquetFile(spilled.dataset.uri).num_row_groups == 3
    assert stored["x"].to_numpy().sum() == pytest.approx(table["x"].to_numpy().sum())


def test_a_spool_gives_back_what_was_put_in_from_memory_and_disk(tmp_path: Path) -> None:
    tables = [pa.table({"n": [number], "s": pa.array(["x"]).dictionary_encode()}) for number in range(4)]
    spool = Spool(tmp_path, memory=tables[0].nbytes * 2)

    for table in tables:
        spool.append(table)
    spool.replace(0, tables[3])
    spool.replace(3, tables[0])

    assert [table["n"][0].as_py() for table in spool] == [3, 1, 2, 0]
    assert len(list(tmp_path.iterdir())) == 2


def test_many_rows_without_an_event_time_are_not_left_out_silently(tmp_path: Path) -> None:
    event = [None if number % 10 == 0 else datetime(2026, 3, 1) for number in range(100)]
    with pytest.raises(DataUnusable, match=r"10 of 100 rows of .* have no event time `at`"):
        collected(tmp_path, pa.table({"at": pa.array(event, pa.timestamp("us")), "y": [*range(100)]}), time="at")

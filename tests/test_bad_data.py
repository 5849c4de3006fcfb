"""Bad input: an error that says what, where, how many and what to do, and nothing half written."""

import contextlib
import gzip
import os
import resource
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightgate.errors import DataUnusable, DefinitionError, FileMissing, NightgateError, StoreError
from nightgate.features import engineer
from nightgate.snapshots import Snapshot, collect
from tests.making import defined, project

AS_OF = date(2026, 1, 1)


def collected(folder: Path, data: str = "data.csv", **changes: Any) -> Snapshot:
    return collect(defined(data, **changes), project(folder), as_of=AS_OF)


def refused(folder: Path, kind: type[NightgateError], told: str, data: str = "data.csv", **changes: Any) -> None:
    with pytest.raises(kind, match=told) as caught:
        collected(folder, data, **changes)

    assert caught.value.remedy
    assert len(str(caught.value)) < 5_100
    left = [path for path in (folder / "store").rglob("*") if path.is_file()] if (folder / "store").exists() else []
    assert not left


CSV: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", r"data\.csv is empty"),
    "blank lines only": (b"\n\n \n", r"data\.csv is empty"),
    "a header only": (b"x,y\n", r"data\.csv holds no row"),
    "no target": (b"x,Y1\n1,a\n", r"no column `y`, the target"),
    "duplicate names": (b"x,y,x\n1,a,2\n", r"cannot be told apart: `x` and `x`"),
    "names that differ by case only": (b"Age,y,AGE\n1,a,2\n", r"cannot be told apart: `Age` and `AGE`"),
    "names of our own": (b"nightgate_row,y\n1,a\n", r"begin with `nightgate_`: nightgate_row"),
    "cut in the middle of a row": (b"x,z,y\n1,2,a\n3,4,b\n5,6", r"1 row with another number of values than 3"),
    "rows of other lengths": (b"x,z,y\n1,2,a\n3,b\n1,2,3,4\n1,2,c\n", r"2 rows .* line 3 has 2, line 4 has 4"),
    "cut inside quotes": (b'x,y\n1,"a"\n3,"some wo', r"data\.csv ends inside a quoted value"),
    "a quote never closed at the end of a line": (b'x,y\n1,"a\n2,b\n3,c\n', r"data\.csv ends inside a quoted value"),
    "Western Windows text": ("x,y\ncafé,a\n".encode("cp1252"), r"data\.csv is not utf-8"),
    "UTF-16": ("x,y\n1,a\n".encode("utf-16"), r"data\.csv is not UTF-8: it begins like UTF-16"),
    "gzip cut off": (gzip.compress(b"x,y\n" + b"1,a\n" * 9_999)[:60], r"data\.csv ends in the middle or is damaged"),
}


@pytest.mark.parametrize("case", CSV)
def test_a_csv_file_that_is_not_one_is_told(tmp_path: Path, case: str) -> None:
    content, told = CSV[case]
    (tmp_path / "data.csv").write_bytes(content)

    refused(tmp_path, DataUnusable, told)


def test_the_remedy_for_other_encodings_works(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("x,y\ncafé,a\n".encode("cp1252"))

    assert collected(tmp_path, source={"encoding": "cp1252"}).dataset.rows == 1
    refused(tmp_path / "no", DefinitionError, "no encoding", str(tmp_path / "data.csv"), source={"encoding": "klingon"})


def test_bytes_that_are_no_text_far_into_a_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"x,y\n" + b"abc,a\n" * 200_000 + b"caf\xe9,b\n")

    refused(tmp_path, DataUnusable, "is not utf-8")


def test_a_missing_file_or_folder_is_missing(tmp_path: Path) -> None:
    for data in ("nothing.csv", "nothing/*.parquet"):
        refused(tmp_path, FileMissing, "There is no data at nothing", data)


def test_a_compressed_bomb_is_stopped_in_time(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "data.csv", "wb", compresslevel=6) as file:
        file.write(b"x,y\n")
        for _ in range(20):
            file.write(b"0,0\n" * 1_000_000)

    refused(tmp_path, DataUnusable, "over 200 times its size")


def test_a_quote_that_is_never_closed_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b'x,y\n"1,a\n' + b"22222222,a\n" * 2_000_000)

    refused(tmp_path, DataUnusable, "line 2 has 1")


def test_too_many_columns_are_refused_and_thousands_work(tmp_path: Path) -> None:
    for columns in (20_000, 2_000):
        names = ",".join(f"c{number}" for number in range(columns - 1))
        (tmp_path / "data.csv").write_text(f"{names},y\n" + 3 * f"{'1,' * (columns - 1)}a\n")
        if columns > 10_000:
            refused(tmp_path, DataUnusable, "20,000 columns; at most 10,000")
        else:
            assert len(collected(tmp_path).dataset.columns) == columns


def test_parquet_cut_off_in_the_middle_is_damaged(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.arange(100_000), "y": ["a"] * 100_000}), tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for name, damaged in (("cut", content[:len(content) // 2]),
                          ("page", content[:1_000] + bytes(len(content) // 2) + content[1_000 + len(content) // 2:])):
        (tmp_path / name).write_bytes(damaged)
        refused(tmp_path, DataUnusable, f"{name} ends in the middle or is damaged", name)


def test_one_row_and_columns_of_one_value_are_told_by_the_snapshot(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,gone,same,y\n1,,7,a\n2,,7,b\n")
    snapshot = collected(tmp_path)
    assert (snapshot.missing, snapshot.constant) == ({"gone": 2}, ("gone", "same"))

    (tmp_path / "data.csv").write_text("x,y\n1,a\n")
    assert collected(tmp_path).dataset.rows == 1


def test_mixed_types_stay_text_and_are_refused_where_numbers_were_agreed(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,y\n1,a\nn/a,b\n3,c\n")

    refused(tmp_path, DataUnusable, "`x`: 1 of 3 values are no number, such as 'n/a'", columns={"numeric": ["x"]})
    assert collected(tmp_path).dataset.types["x"] == "text"
    assert collected(tmp_path, source={"missing": ["n/a"]}).missing == {"x": 1}


def test_infinity_stays_for_a_gate_and_nan_is_missing(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x,y\n1,a\ninf,b\nNaN,c\n")

    snapshot = collected(tmp_path)

    assert snapshot.missing == {"x": 1}
    assert float("inf") in pq.read_table(snapshot.dataset.uri)["x"].to_pylist()


@pytest.mark.parametrize("huge", ["9223372036854775808", "-123456789012345678901234567890"])
def test_a_huge_integer_is_never_rounded(tmp_path: Path, huge: str) -> None:
    (tmp_path / "data.csv").write_text(f"x,y\n{huge},a\n1.5,b\n")

    stored = pq.read_table(collected(tmp_path).dataset.uri)["x"].to_pylist()

    assert sorted(stored) == sorted([huge, "1.5"])
    with pytest.raises(DataUnusable, match="are no number"):
        collect(defined("data.csv"), project(tmp_path), as_of=AS_OF, types={"x": "number"})


def test_unsigned_integers_beyond_64_bits_stay_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1, 2**64 - 1], pa.uint64()), "y": ["a", "b"]}), tmp_path / "data.parquet")

    assert collected(tmp_path, "data.parquet").dataset.types["x"] == "text"


@pytest.mark.parametrize("wrong", ["2025-02-30", "20251301", "2025-13-01", "32.12.2025", "12/31/2025"])
def test_dates_that_are_none_are_told_where_dates_were_agreed(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "data.csv").write_text(f"at,y\n2025-06-01,a\n{wrong},b\n")

    refused(tmp_path, DataUnusable, f"`at`: 1 of 2 values are no date, such as '{wrong}'", time="at")


def test_dates_out_of_range_are_told_and_far_ones_work(tmp_path: Path) -> None:
    far = pa.table({"born": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), "y": ["a"]})
    pq.write_table(far, tmp_path / "data.parquet")
    refused(tmp_path, DataUnusable, "`born` holds a point in time beyond", "data.parquet")
    (tmp_path / "data.csv").write_text("born,y\n0001-01-01,a\n9999-12-31,b\n")

    snapshot = collected(tmp_path)

    assert snapshot.dataset.types["born"] == "date"
    assert engineer(defined("data.csv"), project(tmp_path), snapshot.dataset).rows == 2


def test_names_of_any_kind_work_to_the_end(tmp_path: Path) -> None:
    names = ["a b", "c.d", 'say "x"', "it's", "🙂", "ünï", "select", "x;y", "a\tb", "[0]"]
    table = pa.table({name: [1.0, 2.0, float(at)] for at, name in enumerate(names)} | {"y 🎯": ["a", "b", "a"]})
    pq.write_table(table, tmp_path / "data.parquet")
    definition = defined("data.parquet", target="y 🎯")

    snapshot = collect(definition, project(tmp_path), as_of=AS_OF)
    features = engineer(definition, project(tmp_path), snapshot.dataset)

    assert [*pq.read_table(features.uri).column_names[:-2]] == [*names, "y 🎯"]


def test_a_query_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (x integer, y text)")
        database.executemany("insert into t values (?, 'a')", [(number,) for number in range(300_000)])

    refused(tmp_path, NightgateError, "overflow", "sqlite:///a.db",
            source={"query": "select abs(case when x = 290000 then -9223372036854775808 else x end) as x, y from t"})


# --- the store


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make every file end at `size` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def as_ordinary_user(folder: Path) -> Iterator[None]:
    """Be somebody to whom rights apply: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def numbers(folder: Path) -> None:
    draw = np.random.default_rng(0)
    pq.write_table(pa.table({"x": draw.random(50_000), "y": ["a", "b"] * 25_000}), folder / "data.parquet")


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path, memory: int) -> None:
    numbers(tmp_path)

    with file_size_limit(100_000), pytest.raises(StoreError, match=r"cannot be written|cannot reach") as caught:
        collect(defined("data.parquet"), project(tmp_path), as_of=AS_OF, memory=memory)

    assert caught.value.exit_code == 1
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert collected(tmp_path, "data.parquet").dataset.rows == 50_000


def test_a_full_disk_at_the_features_keeps_the_snapshot(tmp_path: Path) -> None:
    numbers(tmp_path)
    snapshot = collected(tmp_path, "data.parquet").dataset

    with file_size_limit(100_000), pytest.raises(StoreError):
        engineer(defined("data.parquet"), project(tmp_path), snapshot)

    assert engineer(defined("data.parquet"), project(tmp_path), snapshot).rows == snapshot.rows


def test_a_store_that_is_read_only_is_said(tmp_path: Path) -> None:
    numbers(tmp_path)
    (tmp_path / "data.parquet").chmod(0o644)
    store = tmp_path / "store"
    store.mkdir(mode=0o555)

    with as_ordinary_user(tmp_path), pytest.raises(StoreError, match="NIGHTGATE_STORE"):
        collected(tmp_path, "data.parquet")

    assert not [*store.iterdir()]


def test_a_key_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    numbers(tmp_path)
    (tmp_path / "keys.json.lock").mkdir()

    refused(tmp_path, StoreError, "key file", "data.parquet", privacy={"mask": ["x"]})

"""Sources give the same rows whatever they are written in."""

import bz2
import gzip
import lzma
import sqlite3
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.datasets import ColumnType
from nightgate.definition.model import Source
from nightgate.errors import DataUnusable, DefinitionError, FileMissing, NightgateError, SourceUnavailable
from nightgate.sources import read_chunks, shown
from nightgate.sources.types import Guess, Reading, fitted, learn, tidy

TEXT = "name,amount\nÅsa,1.5\nBo,2\n"
ROWS = [{"name": "Åsa", "amount": "1.5"}, {"name": "Bo", "amount": "2"}]
PLAIN = Reading(".", (), UTC)


def rows(data: str | Path, root: Path, **source: object) -> list[dict[str, object]]:
    chunks = list(read_chunks(Source.model_validate({"data": str(data), **source}), root))
    return list(pa.concat_tables(chunks, promote_options="permissive").to_pylist())


def type_of(values: list[str | None], reading: Reading = PLAIN) -> ColumnType:
    guess = Guess()
    array = tidy(pa.table({"x": pa.array(values, pa.string())}), reading)["x"].combine_chunks()
    guess.learn(array, True, reading)
    return guess.family()


def read_as(values: list[object], family: ColumnType, reading: Reading = PLAIN) -> list[object]:
    array = tidy(pa.table({"x": pa.array(values)}), reading)["x"].combine_chunks()
    return list(fitted(array, family, reading).to_pylist())


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_guessed(tmp_path: Path, separator: str) -> None:
    (tmp_path / "a.csv").write_text(TEXT.replace(",", separator))

    assert rows("a.csv", tmp_path) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT.encode(encoding))

    assert rows("a.csv", tmp_path, encoding="utf-8" if encoding == "utf-8-sig" else encoding) == ROWS


@pytest.mark.parametrize("packing", ["gzip", "bz2", "xz", "zstd", "zip"])
def test_compressed_files_are_known_by_their_content(tmp_path: Path, packing: str) -> None:
    path, content = tmp_path / "a.dat", TEXT.encode()
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.csv", content)
    elif packing == "zstd":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(content)
    else:
        packers: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
        path.write_bytes(packers[packing](content))

    assert rows(path, tmp_path) == ROWS


def test_a_file_without_header_gets_numbered_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("A11,6,1.5\nA12,48,2\n")

    assert rows("a.csv", tmp_path)[0] == {"column_1": "A11", "column_2": "6", "column_3": "1.5"}


def test_quoted_values_may_hold_separators_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('name,note\n"Smith, J","two\nlines"\n')

    assert rows("a.csv", tmp_path) == [{"name": "Smith, J", "note": "two\nlines"}]


def test_names_with_spaces_dots_quotes_and_emoji_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(' a b ,c.d,"say ""x""",🙂,\n1,2,3,4,5\n', encoding="utf-8")

    assert list(rows("a.csv", tmp_path)[0]) == ["a b", "c.d", 'say "x"', "🙂", "column_5"]


def test_the_numbers_of_rows_that_pandas_writes_are_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"n": [1, 2, 3]}).iloc[1:].rename(index=str).to_parquet(tmp_path / "a.parquet")
    assert pq.read_schema(tmp_path / "a.parquet").names == ["n", "__index_level_0__"]

    assert rows("a.parquet", tmp_path) == [{"n": 2}, {"n": 3}]


def test_parquet_with_a_column_twice_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"]), tmp_path / "a.parquet")

    with pytest.raises(DataUnusable, match="cannot be told apart: `n` and `n`"):
        rows("a.parquet", tmp_path)


@pytest.mark.parametrize("data", ["parts", "parts/*.parquet", "parts/1.parquet"])
def test_parquet_is_read_from_file_folder_and_glob(tmp_path: Path, data: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "_SUCCESS").touch()
    for number in (1, 2):
        pq.write_table(pa.table({"n": [number], "s": ["x"]}), tmp_path / "parts" / f"{number}.parquet")

    assert [row["n"] for row in rows(data, tmp_path)] == ([1] if data.endswith("1.parquet") else [1, 2])


def test_files_of_a_folder_may_order_columns_otherwise_but_not_have_others(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n4,3\n")
    assert rows("*.csv", tmp_path) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]

    (tmp_path / "3.csv").write_text("a,c\n5,6\n")
    with pytest.raises(DataUnusable, match=r"3\.csv has other columns .* lacks \['b'\].*besides \['c'\]"):
        rows("*.csv", tmp_path)


def test_any_fsspec_url_serves(tmp_path: Path) -> None:
    with fsspec.open("memory://test-sources/a.csv", "w", encoding="utf-8") as file:
        file.write(TEXT)

    assert rows("memory://test-sources/a.csv", tmp_path) == ROWS
    with pytest.raises(FileMissing):
        rows("memory://test-sources/b.csv", tmp_path)


class Answers(BaseHTTPRequestHandler):
    """Answers in pieces of unknown length, breaks off, or says that something is wrong, as the path asks."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing: the test's output is its own."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        self.send_response(status)
        self.send_header(*(("Content-Length", "0") if status > 200 else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        if status > 200 or self.command == "HEAD":
            return
        for line in TEXT.encode().splitlines(keepends=True):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if "cut" in self.path:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_behind_http_are_read(web: str, tmp_path: Path) -> None:
    assert rows(f"{web}/a.csv", tmp_path) == ROWS


@pytest.mark.parametrize(("page", "error"), [("cut.csv", SourceUnavailable), ("500.csv?token=hidden", SourceUnavailable),
                                             ("404.csv", FileMissing)])
def test_what_http_refuses_is_told_without_secrets(web: str, tmp_path: Path, page: str, error: type[NightgateError]) -> None:
    with pytest.raises(error) as caught:
        rows(f"{web}/{page}", tmp_path)

    assert "hidden" not in str(caught.value)


def test_names_of_folders_become_columns(tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        (tmp_path / "in" / f"day={day}").mkdir(parents=True)
        pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "in" / f"day={day}" / "part-0.parquet")

    assert [row["day"] for row in rows("in", tmp_path)] == ["2026-01-01"] * 2 + ["2026-01-02"] * 2


def test_shipped_data_have_class_names_as_target(tmp_path: Path) -> None:
    assert {row["target"] for row in rows("sklearn:wine", tmp_path)} == {"class_0", "class_1", "class_2"}
    assert isinstance(rows("sklearn:diabetes", tmp_path)[0]["target"], float)
    with pytest.raises(DefinitionError, match="no `wien`"):
        rows("sklearn:wien", tmp_path)


def test_chunks_are_bounded_and_small_ones_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for number in range(20):
        pq.write_table(pa.table({"n": list(range(10_000))}), tmp_path / "parts" / f"{number}.parquet")

    sizes = [chunk.num_rows for chunk in read_chunks(Source(data="parts"), tmp_path)]

    assert sizes == [130_000, 70_000]


# --- databases


@pytest.fixture
def loans(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "loans.db") as database:
        database.execute("create table loans (id integer, at text, amount real, code text)")
        database.executemany("insert into loans values (?, ?, ?, ?)",
                             [(day, f"2026-01-{day:02d} 12:00:00", day / 2, "007") for day in range(1, 11)])
    return "sqlite:///loans.db"


def test_a_query_is_bound_to_the_window(tmp_path: Path, loans: str) -> None:
    source = Source(data=loans, query="select * from loans where at >= :start and at < :end order by id")

    chunks = read_chunks(source, tmp_path, start=datetime(2026, 1, 3, tzinfo=UTC), end=datetime(2026, 1, 5, tzinfo=UTC))

    assert [row["id"] for chunk in chunks for row in chunk.to_pylist()] == [3, 4]
    assert len(rows(loans, tmp_path, query=source.query)) == 10


@pytest.mark.parametrize(("query", "kind"), [
    (None, DefinitionError), ("select nothing from loans", DefinitionError), ("selec", DefinitionError),
    ("select * from loans where id = :id", DefinitionError), ("select * from loans where id > 99", DataUnusable)])
def test_a_query_that_cannot_serve_is_told(tmp_path: Path, loans: str, query: str | None,
                                           kind: type[NightgateError]) -> None:
    with pytest.raises(kind):
        rows(loans, tmp_path, query=query)


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        rows("sqlite:///none.db", tmp_path, query="select 1")

    assert not (tmp_path / "none.db").exists()


def test_mixed_values_of_a_query_stay_text(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").close()

    found = rows("sqlite:///x.db", tmp_path, query="select 1 as v union all select 'a' union all select 2.5")

    assert {row["v"] for row in found} == {"1", "a", "2.5"}


def test_postgresql_reads_typed_columns_in_the_models_time_zone(postgresql: str, tmp_path: Path) -> None:
    query = """select id, id::numeric / 4 as share, '007' as code, at, at at time zone 'UTC' as naive
               from (select id, timestamptz '2026-03-28 22:30Z' + id * interval '1 hour' as at
                     from generate_series(1, 300000) id) rows where at >= :start and at < :end"""
    zone = ZoneInfo("Europe/Berlin")  # this night its clocks go from 2:00 to 3:00

    chunks = list(read_chunks(Source(data=postgresql, query=query), tmp_path,
                              start=datetime(2026, 3, 29, tzinfo=zone), end=datetime(2026, 3, 30, tzinfo=zone)))

    table = pa.concat_tables(chunks)
    assert table.num_rows == 23
    assert table["code"].to_pylist()[0] == "007"
    assert table["at"][0].as_py() == datetime(2026, 3, 28, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(("query", "kind"), [
    ("select 1 / (id - 200000) as x from generate_series(1, 300000) id", DataUnusable),  # fails half way
    ("select * from nowhere", DefinitionError),
    ("select pg_terminate_backend(pg_backend_pid())", SourceUnavailable)])
def test_postgresql_says_whose_fault_it_is(postgresql: str, tmp_path: Path, query: str,
                                           kind: type[NightgateError]) -> None:
    with pytest.raises(kind) as caught:
        list(read_chunks(Source(data=postgresql, query=query), tmp_path))

    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_and_a_closed_port_are_told_without_the_password(postgresql: str, tmp_path: Path) -> None:
    for url in (postgresql.replace("s3cret", "wr0ng"), "postgresql://reader:wr0ng%2Fpass@127.0.0.1:1/postgres"):
        with pytest.raises(SourceUnavailable) as caught:
            rows(url, tmp_path, query="select 1")

        assert "wr0ng" not in str(caught.value)


def test_secrets_are_never_shown() -> None:
    assert shown("postgresql://u:p%40ss@h/db?sslmode=require") == "postgresql://u:***@h/db?sslmode=require"
    assert shown("https://h/a.csv?token=abc&page=1&sig=x") == "https://h/a.csv?token=***&page=1&sig=***"
    assert shown("https://ghp_abc@h/a.csv?X-Amz-Signature=1&access_token=2&api_key=3&day=4") == (
        "https://***@h/a.csv?X-Amz-Signature=***&access_token=***&api_key=***&day=4")


def test_environment_variables_stand_in_for_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    monkeypatch.setenv("NIGHTGATE_TEST_NAME", "a")

    assert rows("${NIGHTGATE_TEST_NAME}.csv", tmp_path) == ROWS
    with pytest.raises(DefinitionError, match="NOT_SET_ANYWHERE"):
        rows("${NOT_SET_ANYWHERE}.csv", tmp_path)


# --- types


@pytest.mark.parametrize(("values", "expected"), [
    (["1", "-20", None], "integer"), (["1", "2.5", "1e3", ".5"], "number"), (["1", "nan"], "integer"),
    (["1.5", "inf"], "number"), (["007", "123"], "text"), (["1", "x"], "text"), (["true", "False"], "boolean"),
    (["2026-01-01", "2026-01-01 10:00"], "date"), (["2026-01-01T10:00:00.123456789Z"], "date"),
    (["31.12.2025"], "date"),
    (["2026-02-30"], "text"), ([None, ""], "text"), (["9223372036854775807"], "integer"),
    (["9223372036854775808"], "text"), (["1.5", "12345678901234567890"], "text"), (["1_000"], "text"),
])
def test_the_narrowest_family_that_all_values_fit(values: list[str | None], expected: ColumnType) -> None:
    assert type_of(values) == expected


def test_decimal_commas_are_numbers_only_when_declared() -> None:
    assert type_of(["1,5", "2"]) == "text"
    assert type_of(["1,5", "2"], Reading(",", (), UTC)) == "number"
    assert read_as(["1,5", "1.5"], "number", Reading(",", (), UTC)) == [1.5, None]


def test_spellings_of_missing_and_blanks_are_missing() -> None:
    assert type_of(["1", " ?", "  "], Reading(".", ("?",), UTC)) == "integer"
    assert read_as(["a ", "NA", ""], "text", Reading(".", ("NA",), UTC)) == ["a", None, None]


def test_zoned_times_are_converted_and_naive_ones_taken_as_they_are() -> None:
    reading = Reading(".", (), ZoneInfo("Europe/Berlin"))

    found = read_as(["2026-07-01T00:30:00Z", "2026-07-01 00:30"], "date", reading)

    assert found == [datetime(2026, 7, 1, 2, 30), datetime(2026, 7, 1, 0, 30)]
    assert read_as([datetime(2026, 1, 1, tzinfo=UTC)], "date", reading) == [datetime(2026, 1, 1, 1)]


def test_an_integer_column_stays_one_when_a_tool_writes_floats() -> None:
    assert read_as(["3.0", "4", "4.5"], "integer") == [3, 4, None]
    assert read_as([3.0, None, 4.5], "integer") == [3, None, None]


@given(st.lists(st.one_of(st.integers(-2**63, 2**63 - 1), st.none()), min_size=1, max_size=20))
def test_integers_survive_as_text(values: list[int | None]) -> None:
    texts: list[object] = [None if value is None else str(value) for value in values]

    assert read_as([*texts, "0"], "integer")[:-1] == values


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20))
def test_whatever_family_is_decided_no_value_is_lost(values: list[str]) -> None:
    kept = [value for value in tidy(pa.table({"x": values}), PLAIN)["x"].to_pylist() if value is not None]

    read = read_as([*values], type_of([*values]))

    assert sum(value is not None for value in read) >= sum(value.lower() != "nan" for value in kept)


def test_lists_and_bytes_are_refused_by_name() -> None:
    for values in ([[1]], [b"x"]):
        with pytest.raises(DataUnusable, match="`x` holds values of type"):
            tidy(pa.table({"x": values}), PLAIN)


def test_a_header_of_numbers_can_be_stated(tmp_path: Path) -> None:
    (tmp_path / "years.csv").write_text("2019,2020\n1,2\n")

    assert rows("years.csv", tmp_path)[0] == {"column_1": "2019", "column_2": "2020"}
    assert rows("years.csv", tmp_path, header=True) == [{"2019": "1", "2020": "2"}]


def test_every_type_of_parquet_finds_its_family(tmp_path: Path) -> None:
    table = pa.table({"flag": pa.array([True, None]), "small": pa.array([1, 2], pa.int8()), "half": pa.array([0.5, None], pa.float32()),
                      "money": pa.array([Decimal("1.50"), Decimal("2.25")]), "whole": pa.array([Decimal("1"), Decimal("2")]),
                      "day": pa.array([date(2026, 1, 1), None]), "at": pa.array([time(1, 2), None]),
                      "level": pa.array([1, 2]).dictionary_encode(), "word": pa.array(["a", "b"]).dictionary_encode(),
                      "zoned": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None])})
    pq.write_table(table, tmp_path / "a.parquet")
    guesses: dict[str, Guess] = {}
    for chunk in read_chunks(Source(data="a.parquet"), tmp_path):
        learn(guesses, tidy(chunk, Reading(".", (), ZoneInfo("Europe/Zurich"))), frozenset(), PLAIN)

    assert {name: guess.family() for name, guess in guesses.items()} == {
        "flag": "boolean", "small": "integer", "half": "number", "money": "number", "whole": "integer", "day": "date", "at": "text",
        "level": "integer", "word": "text", "zoned": "date"}


@pytest.mark.parametrize(("given", "family", "expected"), [
    ([1, 2], "text", ["1", "2"]), ([1, 2**60], "number", [1.0, None]), ([1.0, 1.5], "integer", [1, None]),
    ([0, 2], "boolean", [False, None]), ([True, False], "integer", [1, 0]), ([True], "date", [None]), ([None], "number", [None]),
    (["2026-01-01T10:00Z", "2026-01-01 10:00"], "date", [datetime(2026, 1, 1, 10)] * 2), (["1", "x"], "number", [1.0, None])])
def test_a_type_that_is_kept_loses_nothing_in_silence(given: list[object], family: ColumnType, expected: list[object]) -> None:
    assert read_as(given, family) == expected

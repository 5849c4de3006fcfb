"""CSV files as pandas reads them, since suites are written for what it gives: names, missing values and types are its own.

Numbers and truths have types of their own, everything else stays text: dates, times, `t` and `f`. Unlike pandas, a row of
another length than the first line is an error, and not filled up.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightgate.contracts.conditions import identifier, literal
from nightgate.definition.model import Source
from nightgate.errors import DataUnusable
from nightgate.sources.delimited import read_delimited

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.zst")
MISSING = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
           "None", "n/a", "nan", "null")
"""Spellings of a missing value, as pandas has them (`pandas._libs.parsers.STR_NA_VALUES`)."""

SPELT = {"BIGINT": r"[ \t]*[+-]?[0-9]+[ \t]*", "UBIGINT": r"[ \t]*\+?[0-9]+[ \t]*",
         "DOUBLE": r"[ \t]*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))[ \t]*",
         "BOOLEAN": "True|TRUE|true|False|FALSE|false"}
"""How the values of a type are written, the narrowest type first."""

ALONE = "Write it in UTF-8, with quotes around values that hold the separator; or as Parquet."

EXACT = 2**53
"""Whole numbers up to it are floats without a loss."""


def read_table(path: Path) -> pa.Table:
    """Return a CSV file as a table. Raises DataUnusable."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="nightgate-") as scratch, duckdb.connect() as connection:
        return pq.read_table(as_parquet(connection, path, Path(scratch)), memory_map=False)


def as_parquet(connection: "DuckDBPyConnection", path: Path, scratch: Path) -> Path:
    """Write a CSV file as Parquet into a folder. Raises DataUnusable."""
    texts, made = scratch / "texts.parquet", scratch / "data.parquet"
    as_texts(path, texts)
    typed(connection, texts, made)
    texts.unlink()
    return made


def as_texts(path: Path, made: Path) -> None:
    """Write a CSV file's rows as texts, missing ones as null, into a Parquet file. Raises DataUnusable."""
    missing = pa.array(MISSING, pa.string())
    with path.open("rb") as stream:
        writer = None
        try:
            for table in read_delimited(stream, path.name, Source(data=str(path))):
                names = named(table.column_names)
                columns = [pc.if_else(pc.is_in(column, missing), None, column) for column in table.columns]
                table = pa.table(columns, names=names)
                writer = writer or pq.ParquetWriter(str(made), table.schema, compression="lz4")
                writer.write_table(table)
        except DataUnusable as error:  # a definition may say how its file is written; of a file alone nothing is said
            raise DataUnusable(error.message, remedy=ALONE if "[source]" in error.remedy else error.remedy) from None
        finally:
            if writer is not None:
                writer.close()
    if writer is None:
        raise DataUnusable(f"{path.name} has no row.", remedy="Write the file again.")


def typed(connection: "DuckDBPyConnection", texts: Path, made: Path) -> None:
    """Write a file of texts with a type for each column: one that all its values have."""
    source = f"read_parquet({literal(str(texts))})"
    names = [str(name) for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    columns = ", ".join(f"{_cast(identifier(name), kind)} AS {identifier(name)}"
                        for name, kind in zip(names, _types(connection, source, names), strict=True))
    connection.execute(f"COPY (SELECT {columns} FROM {source}) TO {literal(str(made))} (FORMAT parquet)")


def named(found: Sequence[str]) -> list[str]:
    """Name columns as pandas does: an empty name by its place, a repeated one by its number."""
    names: list[str] = []
    for place, name in enumerate(found):
        plain = name or f"Unnamed: {place}"
        names.append(next(each for number in range(len(found) + 1) if (each := f"{plain}.{number}" if number else plain) not in names))
    return names


def _types(connection: "DuckDBPyConnection", source: str, names: Sequence[str]) -> Iterator[str]:
    """Yield each column's type; the first rows leave few that the others must be asked about."""
    asked = [(name, kind, f"bool_and({_is(identifier(name), kind)})") for name in names for kind in SPELT]
    first = _answers(connection, asked, f"(SELECT * FROM {source} LIMIT 1000)")
    left = [each for each in asked if first[each[:2]] is not False]
    whole = _answers(connection, left, source)
    holes = _answers(connection, [(name, "", _has_holes(identifier(name))) for name in names if whole.get((name, "BIGINT"))], source)
    for name in names:
        kind = next((kind for kind in SPELT if whole.get((name, kind)) is True), None)
        if kind is None:  # a column without a value is one of floats
            yield "DOUBLE" if (name, "DOUBLE") in whole and whole[name, "DOUBLE"] is None else "VARCHAR"
        else:
            yield "DOUBLE" if kind == "BIGINT" and holes[name, ""] else kind


def _answers(connection: "DuckDBPyConnection", asked: Sequence[tuple[str, str, str]], source: str) -> dict[tuple[str, str], bool | None]:
    if not asked:
        return {}
    row = connection.execute(f"SELECT {', '.join(part for *_, part in asked)} FROM {source}").fetchall()[0]
    return dict(zip([(name, kind) for name, kind, _ in asked], row, strict=True))


def _is(column: str, kind: str) -> str:
    fits = f" AND TRY_CAST({column} AS {kind}) IS NOT NULL" if kind.endswith("INT") else ""
    return f"CASE WHEN {column} IS NOT NULL THEN regexp_full_match({column}, {literal(SPELT[kind])}){fits} END"


def _has_holes(column: str) -> str:
    """Return that whole numbers are missing somewhere, and floats hold the others: pandas makes them floats then."""
    return f"bool_or({column} IS NULL) AND coalesce(max(abs(TRY_CAST({column} AS HUGEINT))) <= {EXACT}, TRUE)"


def _cast(column: str, kind: str) -> str:
    return column if kind == "VARCHAR" else f"CAST({column} AS {kind})"

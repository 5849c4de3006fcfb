"""Opening a file for a gate: the view `data` over Parquet or CSV, in a database that leaves nothing behind, and asking it of many
things at once, in as few scans as possible."""

import contextlib
import glob
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.families import Types
from nightgate.contracts.forms import RowRule, Rule, Shape
from nightgate.contracts.textfiles import ENDINGS, as_parquet, as_texts
from nightgate.errors import DataUnusable, FileMissing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "1GB"
"""What DuckDB may use before it spills to disk."""

FEW = 1
"""Bytes a value in a Parquet file, before compression, below which a column is a dictionary of a few hundred values."""


@dataclass(frozen=True)
class Opened:
    """A connection that has the view `data`, with the columns' types in the order of the file.

    `released` rows of the file are not in `data`: they are in the view `released`, which is there only with them.
    """

    connection: "DuckDBPyConnection"
    types: Types
    rows: int
    source: str
    scratch: Path
    released: int = 0
    tried: dict[object, Any] = field(default_factory=dict)
    """What was asked of single columns, by what was asked."""

    def table_of(self, path: Path) -> str:
        """Return another file as a table in SQL; the values of a CSV file are texts."""
        if not path.name.casefold().endswith(ENDINGS):
            return parquet(path)
        made = self.scratch / f"other-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.parquet"
        if not made.exists():
            as_texts(path, made)
        return parquet(made)

    def asked(self, question: str) -> Any:
        """Return the one answer to a query, asked once."""
        if question not in self.tried:
            self.tried[question] = self.connection.execute(question).fetchall()[0][0]
        return self.tried[question]

    @cached_property
    def few(self) -> frozenset[str]:
        """Columns, in SQL, that hold few different values: their bytes in the file are too few for many."""
        found = self.connection.execute(
            f"SELECT path_in_schema FROM parquet_metadata({self.source}) GROUP BY path_in_schema "
            f"HAVING sum(total_uncompressed_size) < {FEW} * sum(num_values)").fetchall()
        return frozenset(identifier(name) for name, in found)


@contextlib.contextmanager
def opened(path: Path, *, released: Path | None = None) -> Iterator[Opened]:
    """Open a Parquet or CSV file. NaN is missing, as in pandas. Rows that `released`, a Parquet file, holds too are not checked.

    Raises FileMissing; DataUnusable when it cannot be read, or when it changed meanwhile.
    """
    import duckdb

    if not path.is_file():
        raise FileMissing(f"There is no data at {path}.", remedy="Name a Parquet or CSV file.")
    before = path.stat()
    with tempfile.TemporaryDirectory(prefix="nightgate-") as scratch, \
            duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": scratch}) as connection:
        try:
            source = as_parquet(connection, path, Path(scratch)) if path.name.casefold().endswith(ENDINGS) else path
            types = _view(connection, source)
            spared = _divided(connection, released, types)
            yield Opened(connection, types, _count(connection, "data"), literal(glob.escape(str(source))), Path(scratch), spared)
        except duckdb.Error as error:
            raise _unreadable(path, error) from None
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise DataUnusable(f"{path.name} changed while it was checked.", remedy="Check it again when nothing writes to it any more.")


def _divided(connection: "DuckDBPyConnection", released: Path | None, types: Types) -> int:
    """Make the view `data` of the rows that are not in a file of released ones, `released` of the others; return their number."""
    if released is None:
        connection.execute("CREATE VIEW data AS SELECT * FROM everything")
        return 0
    found = parquet(released)
    held = {str(name) for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {found}").fetchall()}
    if not held >= types.keys():  # the table has other columns now: these rows are not its own
        return _divided(connection, None, types)
    same = " AND ".join(f"old.{identifier(name)} IS NOT DISTINCT FROM new.{identifier(name)}" for name in types)
    for view, word in (("released", ""), ("data", "NOT ")):
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM everything AS new "
                           f"WHERE {word}EXISTS (SELECT 1 FROM {found} AS old WHERE {same})")
    return _count(connection, "released")


def _count(connection: "DuckDBPyConnection", view: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0])


def parquet(path: Path) -> str:
    """Return a Parquet file as a table in SQL; DuckDB would take `p[1].parquet` for a pattern."""
    return f"read_parquet({literal(glob.escape(str(path)))})"


def _view(connection: "DuckDBPyConnection", path: Path) -> Types:
    source = parquet(path)
    types = {str(name): str(kind) for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    # every column by its name: `* REPLACE (…)` looks for each of 5,000 columns among all the others
    columns = ", ".join(f"{_plain(identifier(name), kind)} AS {identifier(name)}" for name, kind in types.items())
    connection.execute(f"CREATE VIEW everything AS SELECT {columns} FROM {source}")
    return {name: "TIMESTAMP" if kind == "TIMESTAMP WITH TIME ZONE" else kind for name, kind in types.items()}


def _plain(name: str, kind: str) -> str:
    """Return a column without NaN, and in UTC, where its type has such things."""
    if kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END"
    return f"make_timestamp(epoch_us({name}))" if kind == "TIMESTAMP WITH TIME ZONE" else name


def _unreadable(path: Path, error: Exception) -> DataUnusable:
    return DataUnusable(f"{path.name} cannot be read: {str(error).splitlines()[0][:300]}",
                        remedy="Look at the file: it may be cut off, or be of another kind than its name says.")


STATEMENT = 100
"""Aggregates of one statement: more make its compilation slower than a second scan, which costs more the more columns there are."""


FEW_ROWS = 100_000
"""Rows up to which counting them at once costs less than a second statement for what is in doubt."""


def answered(data: Opened, parts: Sequence[str]) -> dict[str, Any]:
    """Answer aggregates and subqueries; one that cannot run has its error for an answer and spoils no other."""
    unique = list(dict.fromkeys(parts))
    # A subquery has scans of its own; beside `FROM data` it would be answered again for each row.
    apart, together = [each for each in unique if each.startswith("(SELECT")], [each for each in unique if not each.startswith("(SELECT")]
    answers: dict[str, Any] = {}
    size = max(STATEMENT, len(data.types) // 4)
    for group, source in ((together, " FROM data"), (apart, "")):
        for start in range(0, len(group), size):
            answers |= _at_once(data, group[start:start + size], source)
    return answers


def answers_to(data: Opened, forms: Iterable[Rule]) -> dict[str, Any]:
    """Answer all that rules ask; where a doubt is not settled by the first answers, the rows are counted in its place."""
    asking = [form for form in forms if not isinstance(form, Shape)]
    if data.rows <= FEW_ROWS:
        plain = [replace(form, doubt="") if isinstance(form, RowRule) else form for form in asking]
        answers = answered(data, [part for form in plain for part in form.asks])
        return answers | {form.doubt: answers[form.counted] for form in asking if isinstance(form, RowRule) and form.doubt}
    answers = answered(data, [part for form in asking for part in form.asks])
    doubts = {form.doubt: form.counted for form in asking if isinstance(form, RowRule) and answers.get(form.doubt) is True}
    counts = answered(data, [*doubts.values()])
    return answers | {doubt: counts[counted] for doubt, counted in doubts.items()}


def _at_once(data: Opened, parts: Sequence[str], source: str) -> dict[str, Any]:
    import duckdb

    try:
        return dict(zip(parts, data.connection.execute(f"SELECT {', '.join(parts)}{source}").fetchall()[0], strict=True))
    except duckdb.Error as error:
        if len(parts) == 1:
            return {parts[0]: error}
        return {part: answer for each in parts for part, answer in _at_once(data, [each], source).items()}

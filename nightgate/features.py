"""Features: typed columns made of a row by the row alone, the same in training, scoring and serving.

| from | becomes |
| --- | --- |
| number, integer, boolean, text | itself |
| event time `t` | `t_hour`, `t_weekday` (Monday 0), `t_month`: never the moment itself, which only grows |
| other date `d` | `d_year`, `d_month`, `d_weekday`, `d_hour`, and `d_days`: days from `d` to the event time |
| text `c` declared under `[columns] text` | `c_length`, `c_words`, `c_digits` (share of its characters) |

The user's own function gets a frame of these without the target: integers and numbers as float64 with NaN, booleans as
pandas' `boolean`, text as `str`, the entity and the event time beside them; what it returns are the features.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nightgate.datasets import GROUP, ROW, Column, ColumnType, Dataset
from nightgate.definition.model import Definition
from nightgate.errors import DefinitionError
from nightgate.hashing import Hashes, row_hashes
from nightgate.importing import imported, users_line
from nightgate.settings import Settings
from nightgate.snapshots import reading_of
from nightgate.sources.types import Guess, fitted, learn, settle, tidy
from nightgate.spool import Spool, working_folder
from nightgate.tablefiles import ROW_GROUP, TableFile

FOLDER = "features"
PROBE_ROWS = 200
"""Rows on which an own function is asked twice, to see whether it looks at other rows."""

OwnFunction = Callable[[pd.DataFrame], pd.DataFrame]


def engineer(definition: Definition, settings: Settings, snapshot: Dataset) -> Dataset:
    """Make a snapshot's feature table and store it under its content hash.

    Beside the features it holds the target, the entity, the event time and the slice columns as they are, and
    `nightgate_row` and `nightgate_group`. Raises DefinitionError for an own function that fails or looks at other rows.
    """
    reading = reading_of(definition)
    with working_folder(settings.store) as folder:
        spool, guesses = Spool(folder), dict[str, Guess]()
        for table in _tables(settings, snapshot):
            made = tidy(_engineered(definition, table, snapshot), reading)
            learn(guesses, made, frozenset(), reading)
            spool.append(_completed(definition, made, table))
        columns = _columns(definition, snapshot, settle(guesses, {}, ()), spool[0].column_names)
        with TableFile(folder / "features.parquet", columns) as file:
            for table in spool:
                arrays = [table[each.name] if each.name in (ROW, GROUP)
                          else fitted(table[each.name].combine_chunks(), each.type, reading) for each in columns]
                file.write(pa.table(arrays, names=[each.name for each in columns]))
        uri, sha256 = settings.store.put_file(file.path, folder=FOLDER, suffix=".parquet")
    return Dataset(uri, sha256, snapshot.rows, columns)


def engineer_frame(definition: Definition, frame: pd.DataFrame, types: Mapping[str, ColumnType]) -> pd.DataFrame:
    """Return the features of rows given as a frame of snapshot columns, with the snapshot's column types.

    The target and excluded columns may be absent. Row by row gives the same as all at once. Raises DefinitionError for
    an own function that fails.
    """
    plain = _plain(frame, types)
    passed = [name for name in plain.columns if _passes(definition, name, types)]
    features = pd.concat([plain[passed], _derived(definition, plain)], axis=1)
    own = definition.features.own
    if own is None:
        return features
    beside = [name for name in _keys(definition) if name in plain.columns]
    result = _called(own, imported(own, "features.own"), pd.concat([features, plain[beside]], axis=1))
    return result.drop(columns=[name for name in (*_keys(definition), definition.target) if name in result.columns])


def snapshot_rows(definition: Definition, settings: Settings, snapshot: Dataset, wanted: Hashes) -> pa.Table:
    """Return the rows of a snapshot that have these identities, in their order."""
    kept, known = [], []
    for table in _tables(settings, snapshot):
        rows = identities(definition, table)[ROW]
        inside = np.isin(rows, wanted)
        kept.append(table.filter(pa.array(inside)))
        known.append(rows[inside])
    rows = np.concatenate(known)
    order = np.argsort(rows, kind="stable")
    return pa.concat_tables(kept).combine_chunks().unify_dictionaries().take(order[np.searchsorted(rows[order], wanted)])


def _tables(settings: Settings, snapshot: Dataset) -> Iterator[pa.Table]:
    texts = [column.name for column in snapshot.columns if column.type == "text"]
    with settings.store.local_copy(snapshot.uri) as path, \
            pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as file:
        for batch in file.iter_batches(ROW_GROUP):
            yield pa.Table.from_batches([batch])


def _engineered(definition: Definition, table: pa.Table, snapshot: Dataset) -> pa.Table:
    """Return the features of one batch; what passes unchanged becomes a frame only when an own function wants it."""
    types = snapshot.types
    if definition.features.own is not None:
        frame = table.to_pandas()
        _probe(definition, frame.head(PROBE_ROWS), types)
        return _as_table(engineer_frame(definition, frame, types))
    passed = [name for name in table.column_names if _passes(definition, name, types)]
    made = _as_table(_derived(definition, _plain(table.drop_columns(passed).to_pandas(), types)))
    clash = [name for name in made.column_names if name in table.column_names]
    if clash:
        raise _taken(clash[0])
    result = table.select(passed)
    for name in made.column_names:
        result = result.append_column(name, made[name])
    return result


def _completed(definition: Definition, made: pa.Table, table: pa.Table) -> pa.Table:
    """Put beside the features what later stages need of a row."""
    for name in (definition.target, *_keys(definition), *definition.evaluation.slices):
        if name in table.column_names and name not in made.column_names:
            made = made.append_column(name, table[name])
    for name, hashes in identities(definition, table).items():
        made = made.append_column(name, pa.array(hashes))
    return made


def _columns(definition: Definition, snapshot: Dataset, found: Mapping[str, ColumnType],
             names: list[str]) -> tuple[Column, ...]:
    own = definition.features.own is not None
    known: dict[str, ColumnType] = {**snapshot.types, ROW: "integer", GROUP: "integer"}
    return tuple(Column(name, found[name] if name in found and (own or name not in known) else known[name])
                 for name in names)


def _as_table(frame: pd.DataFrame) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DefinitionError(f"features.own returned a column of mixed values: {str(error).splitlines()[0][:200]}.",
                              remedy="Return numbers, texts, booleans or dates, one kind a column.") from None


def _keys(definition: Definition) -> tuple[str, ...]:
    return (*definition.entity, *(() if definition.time is None else (definition.time,)))


def _passes(definition: Definition, name: str, types: Mapping[str, ColumnType]) -> bool:
    return name not in definition.not_features and name not in definition.columns.text and types[name] != "date"


def identities(definition: Definition, table: pa.Table) -> dict[str, Hashes]:
    """Return each row's identity and group: the entity (and event time), else the row without target and arrival."""
    apart = {definition.target, definition.source.arrived}
    keyed = definition.entity and definition.time is not None
    names = _keys(definition) if keyed else [name for name in table.column_names if name not in apart]
    rows = row_hashes(table.select(list(names)))
    return {ROW: rows, GROUP: row_hashes(table.select(list(definition.entity))) if definition.entity else rows}


DTYPES: dict[ColumnType, Any] = {"integer": "float64", "number": "float64", "boolean": "boolean", "text": "str",
                                 "date": "datetime64[us]"}
"""What a column is in a frame, whatever values happen to be in it."""


def _plain(frame: pd.DataFrame, types: Mapping[str, ColumnType]) -> pd.DataFrame:
    return pd.DataFrame({name: frame[name].astype(DTYPES[types[name]]) for name in frame.columns if name in types},
                        index=frame.index)


def _derived(definition: Definition, frame: pd.DataFrame) -> pd.DataFrame:
    made: dict[str, pd.Series[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        if name == definition.time:
            made |= _of_date(name, column, ("hour", "day_of_week", "month"))
        elif name in definition.not_features:
            continue
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            made |= _of_date(name, column, ("year", "month", "day_of_week", "hour"))
            if definition.time is not None:
                made[f"{name}_days"] = (frame[definition.time] - column).dt.total_seconds() / 86_400
        elif name in definition.columns.text:
            made |= _of_text(name, column)
    for name in made:
        if name in frame.columns:
            raise _taken(name)
    return pd.DataFrame(made, index=frame.index)


def _taken(name: str) -> DefinitionError:
    return DefinitionError(f"The data have a column `{name}`, which is the name of a derived feature.",
                           remedy="Rename it in the source, or drop one of the two under [privacy] drop.")


def _of_date(name: str, column: "pd.Series[Any]", parts: tuple[str, ...]) -> "dict[str, pd.Series[Any]]":
    named = {"day_of_week": "weekday"}
    return {f"{name}_{named.get(part, part)}": getattr(column.dt, part).astype("float64") for part in parts}


def _of_text(name: str, column: "pd.Series[Any]") -> "dict[str, pd.Series[Any]]":
    length = column.str.len().astype("float64")
    return {f"{name}_length": length, f"{name}_words": column.str.count(r"\S+").astype("float64"),
            f"{name}_digits": column.str.count("[0-9]").astype("float64") / length}


def _called(address: str, function: OwnFunction, frame: pd.DataFrame) -> pd.DataFrame:
    given = frame.index
    try:
        result = function(frame.copy())
    except Exception as error:  # the user's code may raise anything
        raise DefinitionError(f"features.own: `{address}` failed: {users_line(error)}",
                              remedy="Mend the function.") from None
    if not isinstance(result, pd.DataFrame):
        raise DefinitionError(f"features.own: `{address}` returned {type(result).__name__}.",
                              remedy="Return a DataFrame.")
    if len(result) != len(given) or not result.index.equals(given):
        raise DefinitionError(f"features.own: `{address}` made {len(result):,} rows of {len(given):,}, or "
                              "changed their order.",
                              remedy="Return one row for each, in the same order and with the same index.")
    doubled = result.columns[result.columns.duplicated()]
    if len(doubled):
        raise DefinitionError(f"features.own: `{address}` returned `{doubled[0]}` twice.",
                              remedy="Give columns names of their own.")
    result.columns = result.columns.map(str)
    return result


def _probe(definition: Definition, frame: pd.DataFrame, types: Mapping[str, ColumnType]) -> None:
    """Raise DefinitionError when the own function gives a row another result beside other rows."""
    together = engineer_frame(definition, frame, types)
    alone = engineer_frame(definition, frame.iloc[::-3], types)
    different = [name for name in together.columns
                 if name not in alone.columns or not _alike(together[name].iloc[::-3], alone[name])]
    if different or len(alone.columns) != len(together.columns):
        names = ", ".join(f"`{name}`" for name in different[:5]) or "which columns there are"
        raise DefinitionError(f"features.own: `{definition.features.own}` looks at other rows: {names} changes when "
                              "fewer rows are given.",
                              remedy="Use the row's own values; what is fitted belongs in a candidate's `preprocess`.")


def _alike(one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    if pd.api.types.is_float_dtype(one.dtype) and pd.api.types.is_float_dtype(other.dtype):
        # vector and scalar code may round differently in the last place
        return bool(np.allclose(one.to_numpy(float), other.to_numpy(float), rtol=1e-9, atol=0, equal_nan=True))
    same = (one.astype(object) == other.astype(object)) | (one.isna() & other.isna())
    return bool(same.all())

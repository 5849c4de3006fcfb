"""Scoring raw rows with a release: typed, masked and engineered as in training, whether a request or a table asks."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import binom

from nightgate.contracts.forms import RowRule, Shape
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.rules import rule
from nightgate.contracts.suites import Suite, read_suite
from nightgate.contracts.telling import explain
from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition, Privacy
from nightgate.errors import ContractBroken, DataUnusable, FileMissing
from nightgate.features import engineer_frame
from nightgate.prediction import predict
from nightgate.privacy import masking_key, shielded
from nightgate.releases import Release, champion_of, read_release
from nightgate.settings import Settings
from nightgate.snapshots import reading_of
from nightgate.sources import read_chunks
from nightgate.sources.types import fitted, tidy

BLOCK = 50_000
"""Rows scored at once: what is in memory does not grow with the table."""

ENOUGH = 500
"""Rows from which a contract's rules on shares and figures speak of a table: as many as it was made to bear."""

Shown = Callable[[GateResult], object]


@dataclass(frozen=True)
class Scored:
    """What a scoring run left: the file, its rows, the version that scored them."""

    output: str
    rows: int
    version: int


@dataclass(frozen=True)
class Scorer:
    """A release, with what makes its inputs of raw rows."""

    release: Release
    definition: Definition
    key: bytes

    def typed(self, rows: pa.Table, keys: Mapping[str, ColumnType]) -> tuple[pa.Table, dict[str, list[int]]]:
        """Return the release's columns (and `keys`) as training would have them, and the rows whose values do not fit.

        Masked columns hold tokens. Raises DataUnusable for missing columns.
        """
        wanted: dict[str, ColumnType] = {**keys, **self.release.manifest.raw}
        if missing := [name for name in wanted if name not in rows.column_names]:
            raise DataUnusable(f"The table to score lacks {len(missing)} columns, such as `{missing[0]}`.",
                               remedy=f"{self.definition.name} needs {', '.join(wanted)}.")
        reading = reading_of(self.definition)
        masked = tuple(name for name in self.definition.privacy.mask if name in wanted)
        tidied = shielded(tidy(rows.select(list(wanted)), reading), Privacy(mask=masked), self.key)
        columns, misfits = {}, {}
        for name, kind in wanted.items():
            array = tidied[name].combine_chunks()
            made = fitted(array, kind, reading)
            if made.null_count > array.null_count:
                misfits[name] = pc.indices_nonzero(pc.and_(made.is_null(), array.is_valid())).to_pylist()
            columns[name] = made.dictionary_decode() if pa.types.is_dictionary(made.type) else made
        return pa.table(columns), misfits

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Return the predictions for typed rows."""
        manifest = self.release.manifest
        made = engineer_frame(self.definition, rows[list(manifest.raw)], manifest.raw)
        features = pd.DataFrame({name: _feature(made[name], categorical=kind == "category")
                                 for name, kind in manifest.inputs.items()})
        return predict(self.release.pipeline, features, manifest.task)

    def answers(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return prediction and probability (one column a class where there are several) of typed rows."""
        manifest, predictions = self.release.manifest, self.predict(rows)
        if manifest.task == "regression":
            return pd.DataFrame({"prediction": predictions})
        classes = np.array(manifest.classes, dtype=object)
        if manifest.task == "binary":
            chosen = classes[(predictions >= (manifest.threshold or 0.5)).astype(int)]
            return pd.DataFrame({"prediction": chosen, "probability": predictions})
        columns = {f"probability_{label}": predictions[:, place] for place, label in enumerate(manifest.classes)}
        return pd.DataFrame({"prediction": classes[predictions.argmax(axis=1)], **columns})


def _feature(column: "pd.Series[Any]", *, categorical: bool) -> Any:
    """Return a feature as `tables.read_table` gives it to the pipeline: a category of texts, or numbers."""
    if categorical:
        return pd.Categorical(pc.cast(pa.Array.from_pandas(column), pa.string()).to_pylist())
    values = column.astype("float64").to_numpy()
    return np.where(np.isinf(values), np.nan, values)


def load_scorer(settings: Settings, model: str, version: int) -> Scorer:
    """Load a release after checking its hashes. Raises FileMissing, NotVerified, and StoreError for a lost masking key."""
    release = read_release(settings.store, model, version)
    definition = Definition.model_validate_json(release.manifest.definition)
    return Scorer(release, definition, masking_key(settings, model) if definition.privacy.mask else b"")


def score(settings: Settings, model: str, *, source: str, output: Path, show: Shown = lambda _: None) -> Scored:
    """Score a table with the champion and write Parquet: entity, event time, prediction, probability, version.

    What the raw contract says of the columns that the model needs is checked first, the predictions contract last; `show`
    is given both results, whether they pass or not. The output appears whole or not at all. Raises FileMissing,
    DataUnusable and ContractBroken.
    """
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to score with.", remedy=f"`nightgate run {model}` makes one.")
    scorer = load_scorer(settings, model, version)
    raw, made = (read_suite(settings.contracts_of(model) / f"{boundary}.json") for boundary in ("raw", "predictions"))
    sensitive = frozenset(scorer.definition.privacy.mask)
    output.parent.mkdir(parents=True, exist_ok=True)
    given, scored = (output.with_name(f".{output.name}.{uuid.uuid4().hex}.parquet") for _ in range(2))
    try:
        rows = _write_typed(scorer, _keys(scorer.definition, raw), settings.root, source, given)
        _pass(check(for_table(raw, frozenset(pq.read_schema(given).names), rows), given, boundary="raw", sensitive=sensitive),
              model, show)
        _write_scored(scorer, given, scored)
        _pass(check(for_table(made, frozenset(pq.read_schema(scored).names), rows), scored, boundary="predictions"), model, show)
        scored.replace(output)
    finally:
        given.unlink(missing_ok=True)
        scored.unlink(missing_ok=True)
    return Scored(str(output), rows, version)


def for_table(suite: Suite, columns: frozenset[str], rows: int) -> Suite:
    """Return what a contract asks of a table to be scored: nothing of other columns (it has no target), not a night's rows.

    A small table need not show the figures of a night, and a share it must keep is widened to what chance allows: more rows
    against it would come once in 100,000 tables.
    """
    kept = []
    for each in suite.checks:
        if "column_set" in each.arguments:
            names = [name for name in each.arguments["column_set"] if name in columns]
            each = replace(each, arguments={**each.arguments, "column_set": names})
        of_rows = isinstance(rule(each), RowRule | Shape)
        if each.type.startswith("expect_table_row_count") or not columns.issuperset(each.columns) or (rows < ENOUGH and not of_rows):
            continue
        if rows < ENOUGH and each.mostly < 1:
            each = replace(each, mostly=1 - min(rows, float(binom.isf(1e-5, rows, 1 - each.mostly))) / rows)
        kept.append(each)
    return replace(suite, checks=tuple(kept))


def _keys(definition: Definition, raw: Suite) -> dict[str, ColumnType]:
    """Return entity and event time with their types: what says which row an answer belongs to."""
    types: Mapping[str, ColumnType] = raw.meta.get("nightgate", {}).get("columns", {})
    moment: dict[str, ColumnType] = {} if definition.time is None else {definition.time: "date"}
    return {**{name: types.get(name, "text") for name in definition.entity}, **moment}


def _write_typed(scorer: Scorer, keys: Mapping[str, ColumnType], root: Path, source: str, path: Path) -> int:
    """Write the rows to be scored, typed, into a Parquet file; return their number."""
    read = scorer.definition.source.model_copy(update={"data": source, "query": None})
    return _written((_typed(scorer, chunk, keys) for chunk in read_chunks(read, root)), path)


def _typed(scorer: Scorer, chunk: pa.Table, keys: Mapping[str, ColumnType]) -> pa.Table:
    table, misfits = scorer.typed(chunk, keys)
    if misfits:
        told = "; ".join(f"`{name}`: {len(rows):,} values are no {table.schema.field(name).type}" for name, rows in misfits.items())
        raise DataUnusable(f"Values that do not fit their column's type: {told[:500]}.", remedy="Mend the table to score.")
    return table


def _write_scored(scorer: Scorer, given: Path, path: Path) -> None:
    keys = [*scorer.definition.entity, *([scorer.definition.time] if scorer.definition.time else [])]

    def blocks() -> Iterator[pa.Table]:
        with pq.ParquetFile(given, pre_buffer=False) as file:
            for batch in file.iter_batches(BLOCK):
                rows = batch.to_pandas()
                made = pd.concat([rows[keys], scorer.answers(rows)], axis=1)
                yield pa.Table.from_pandas(made.assign(model_version=scorer.release.manifest.version), preserve_index=False)

    _written(blocks(), path)


def _written(tables: Iterator[pa.Table], path: Path) -> int:
    """Write tables of one schema into a Parquet file; return their rows."""
    writer, rows = None, 0
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows


def _pass(result: GateResult, model: str, show: Shown) -> None:
    show(result)
    if not result.success:
        message, remedy = explain(result, model=model)
        raise ContractBroken(message, remedy=remedy, details={"boundary": result.boundary})

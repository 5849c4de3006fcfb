"""Scoring raw rows with a release: the same features, the same pipeline, whether a request or a table asks."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.suites import Suite, read_suite
from nightgate.contracts.telling import explain
from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.errors import ContractBroken, DataUnusable, FileMissing
from nightgate.features import engineer_frame
from nightgate.prediction import predict
from nightgate.releases import Release, champion_of, read_release
from nightgate.settings import Settings

if TYPE_CHECKING:
    from nightgate.sources.types import Reading

BLOCK = 50_000
"""Rows scored at once: what is in memory does not grow with the table."""


@dataclass(frozen=True)
class Scored:
    """What a scoring run left: the file, its rows, the version that scored them."""

    output: str
    rows: int
    version: int


def predict_rows(release: Release, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return the predictions for raw rows; columns that the release needs are there, with their types."""
    manifest = release.manifest
    definition = Definition.model_validate_json(manifest.definition)
    made = engineer_frame(definition, rows[list(manifest.raw)], manifest.raw)
    features = pd.DataFrame({name: pd.Categorical(made[name].astype(object).where(made[name].notna(), None))
                             if kind == "category" else made[name].astype("float64").replace([np.inf, -np.inf], np.nan)
                             for name, kind in manifest.inputs.items()}, index=made.index)
    return predict(release.pipeline, features, manifest.task)


def answers(release: Release, predictions: NDArray[np.float64]) -> pd.DataFrame:
    """Return prediction and probability (one column a class where there are several) of each row."""
    manifest = release.manifest
    if manifest.task == "regression":
        return pd.DataFrame({"prediction": predictions})
    classes = np.array(manifest.classes, dtype=object)
    if manifest.task == "binary":
        chosen = classes[(predictions >= (manifest.threshold or 0.5)).astype(int)]
        return pd.DataFrame({"prediction": chosen, "probability": predictions})
    columns = {f"probability_{label}": predictions[:, place] for place, label in enumerate(manifest.classes)}
    return pd.DataFrame({"prediction": classes[predictions.argmax(axis=1)], **columns})


def score(settings: Settings, model: str, *, source: str, output: Path) -> Scored:
    """Score a table with the champion and write Parquet: entity, event time, prediction, probability, version.

    The raw contract is checked first (but for what it says of the target), the predictions contract last; the output appears
    whole or not at all. Raises FileMissing, DataUnusable and ContractBroken.
    """
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to score with.", remedy=f"`nightgate run {model}` makes one.")
    release = read_release(settings.store, model, version)
    definition = Definition.model_validate_json(release.manifest.definition)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        given, scored = Path(folder) / "input.parquet", Path(folder) / "scored.parquet"
        rows = _typed(settings, definition, release, source, given)
        contract = without(read_suite(settings.contracts_of(model) / "raw.json"), definition.target)
        _pass(check(contract, given, boundary="raw", sensitive=frozenset(definition.privacy.mask)), model)
        _write(release, definition, given, scored)
        _pass(check(read_suite(settings.contracts_of(model) / "predictions.json"), scored, boundary="predictions"), model)
        scored.replace(output)
    return Scored(str(output), rows, version)


def without(suite: Suite, target: str) -> Suite:
    """Return a contract that asks nothing of the target: rows to be scored have none."""
    kept = []
    for each in suite.checks:
        if "column_set" in each.arguments:
            names = [name for name in each.arguments["column_set"] if name != target]
            each = replace(each, arguments={**each.arguments, "column_set": names})
        if target not in each.columns:
            kept.append(each)
    return replace(suite, checks=tuple(kept))


def _typed(settings: Settings, definition: Definition, release: Release, source: str, path: Path) -> int:
    """Write the rows with the release's column types into a Parquet file; return their number."""
    from nightgate.snapshots import reading_of
    from nightgate.sources import read_chunks

    reading, writer, count = reading_of(definition), None, 0
    wanted: dict[str, ColumnType] = {**dict.fromkeys(definition.entity, "text"), **release.manifest.raw}
    try:
        for chunk in read_chunks(definition.source.model_copy(update={"data": source, "query": None}), settings.root):
            table = _fit(chunk, wanted, definition, reading)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def _fit(chunk: pa.Table, wanted: dict[str, ColumnType], definition: Definition, reading: "Reading") -> pa.Table:
    from nightgate.sources.types import fitted, tidy

    missing = [name for name in wanted if name not in chunk.column_names]
    if missing:
        raise DataUnusable(f"The table to score lacks {len(missing)} columns, such as `{missing[0]}`.",
                           remedy=f"{definition.name} needs {', '.join(wanted)}.")
    table = tidy(chunk.select(list(wanted)), reading)
    arrays, lost = [], []
    for name, kind in wanted.items():
        array = table[name].combine_chunks()
        made = fitted(array, kind, reading)
        lost += [f"`{name}`: {made.null_count - array.null_count:,} values are no {kind}"] if made.null_count > array.null_count else []
        arrays.append(made.dictionary_decode() if pa.types.is_dictionary(made.type) else made)
    if lost:
        raise DataUnusable(f"Values that do not fit their column's type: {'; '.join(lost[:10])}.", remedy="Mend the table to score.")
    return pa.table(arrays, names=list(wanted))


def _write(release: Release, definition: Definition, source: Path, output: Path) -> None:
    keys = [*definition.entity, *([definition.time] if definition.time else [])]
    writer = None
    try:
        for rows in _blocks(source):
            made = answers(release, predict_rows(release, rows))
            made = pd.concat([rows[[name for name in keys if name in rows]].reset_index(drop=True), made], axis=1)
            table = pa.Table.from_pandas(made.assign(model_version=release.manifest.version), preserve_index=False)
            writer = writer or pq.ParquetWriter(output, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _blocks(path: Path) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(BLOCK):
            yield batch.to_pandas()


def _pass(result: GateResult, model: str) -> None:
    if not result.success:
        message, remedy = explain(result, model=model)
        raise ContractBroken(message, remedy=remedy, details={"boundary": result.boundary})


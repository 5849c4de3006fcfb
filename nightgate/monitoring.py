"""Monitoring of a model: what it sees now against what its champion was trained on, night by night."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import dataset

from nightgate import snapshots
from nightgate.contracts.suites import read_suite
from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.drift.comparing import Compared
from nightgate.drift.policy import PREDICTION, compare, worse_of
from nightgate.drift.profile import NO_TIME, Profile, Source, of_file, of_table, scan, total
from nightgate.drift.reference import WEEK, Reference, learn
from nightgate.errors import FileMissing
from nightgate.records import run_key
from nightgate.releases import champion_of, read_manifest
from nightgate.scoring import BLOCK, load_scorer
from nightgate.settings import Settings

PROFILE = "profile.json.gz"


@dataclass(frozen=True)
class Observed:
    """What a model saw: its rows with the predictions, where they come from, and the column that tells their time."""

    source: Source
    time: str | None
    told: str


def compare_model(settings: Settings, model: str, *, as_of: date | None = None) -> tuple[Reference, Compared]:
    """Compare what a model saw in the last week, and in its last night, with its champion's reference; return both.

    Raises FileMissing, and DataUnusable for a profile that cannot be read.
    """
    definition = load_definition(definition_path(settings.models, model))
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to compare with.", remedy=f"`nightgate run {model}` makes one.")
    reference = reference_of(settings, model, version)
    seen = observed(settings, definition, version, as_of or _today(definition))
    nights = scan(seen.source, reference.axes, time=seen.time, leave_out=hidden(definition))
    return reference, compare_nights(reference, nights, data=model)


def compare_nights(reference: Reference, nights: dict[int, Profile], *, data: str) -> Compared:
    """Compare the last seven nights together, and the last one; of each column the worse verdict counts."""
    known = {number: each for number, each in nights.items() if number != NO_TIME} or nights
    last = max(known)
    week = total(each for number, each in known.items() if number > last - WEEK)
    found = compare(reference, week, data=data, windows=min(WEEK, len(known)))
    if len(known) > 1:
        found = worse_of(found, compare(reference, known[last], data=data))
    return Compared(found, week)


def reference_of(settings: Settings, model: str, version: int) -> Reference:
    """Return a release's reference, as its training wrote it, or made now of the snapshot of one that had none."""
    key = f"{run_key(model, version)}/{PROFILE}"
    if settings.store.exists(key):
        return Reference.from_bytes(settings.store.read(key))
    manifest = read_manifest(settings.store, model, version)
    with settings.store.local_copy(settings.store.address(f"snapshots/{manifest.dataset}.parquet")) as path:
        definition = Definition.model_validate_json(manifest.definition)
        return learn_snapshot(definition, path, manifest.raw.keys())


def learn_snapshot(definition: Definition, path: Path, raw: Iterable[str], importances: Mapping[str, float] | None = None) -> Reference:
    """Return the reference of a snapshot's columns that a prediction needs, its wobble by days where rows have a time."""
    kept = frozenset(raw) - hidden(definition)
    return learn(of_file(path), time=definition.time, importances=importances,
                 leave_out=frozenset(pq.read_schema(path).names) - kept - {definition.time or ""})


def hidden(definition: Definition) -> frozenset[str]:
    """Return the columns of rows that are never compared: keys and times grow, and the target is judged by performance."""
    return definition.not_features


def with_predictions(reference: Reference, predictions: NDArray[np.float64], classes: Sequence[str],
                     times: NDArray[np.datetime64] | None) -> Reference:
    """Add the predictions for held-out rows as one more column."""
    table = pa.table({PREDICTION: said(predictions, classes), **({} if times is None else {"time": pa.array(times)})})
    made = learn(of_table(table), time=None if times is None else "time")
    columns = {**reference.profile.columns, **made.profile.columns}
    return Reference({**reference.axes, **made.axes}, Profile(reference.profile.rows, columns), {**reference.wobble, **made.wobble},
                     reference.importances)


def said(predictions: NDArray[np.float64], classes: Sequence[str]) -> pa.Array:
    """Return predictions as they are monitored: a number a row, or the likeliest of several classes."""
    return pa.array(predictions) if predictions.ndim == 1 else pa.array(np.array(classes, dtype=object)[predictions.argmax(axis=1)])


def observed(settings: Settings, definition: Definition, version: int, as_of: date) -> Observed:
    """Return what a model would have seen of its source: the rows of the last week that it knows of, with the predictions."""
    raw = read_suite(settings.contracts_of(definition.name) / "raw.json")
    taken = snapshots.collect(definition, settings, as_of=as_of, types=raw.columns).dataset
    scorer = load_scorer(settings, definition.name, version)
    wanted = scorer.release.manifest

    def batches() -> Iterator[pa.RecordBatch]:
        with settings.store.local_copy(taken.uri) as path:
            rows = dataset.dataset(path, format="parquet")
            start = None if definition.time is None else _week_before(path, definition.time)
            newest = None if start is None else dataset.field(definition.time) >= start
            for batch in rows.to_batches(filter=newest, batch_size=BLOCK):
                if set(wanted.raw) <= {*batch.schema.names} and batch.num_rows:
                    made = said(scorer.predict(batch.to_pandas()), wanted.classes)
                    batch = pa.RecordBatch.from_arrays([*batch.columns, made], [*batch.schema.names, PREDICTION])
                yield batch

    return Observed(Source(batches, lambda: pa.Table.from_batches(batches())), definition.time, "the source")


def _week_before(path: Path, time: str) -> pa.Scalar:
    """Return the first moment of the week that ends with the day of the newest row."""
    newest = pc.max(pq.read_table(path, columns=[time])[time]).as_py()
    return pa.scalar(datetime.combine(newest.date(), datetime.min.time()) - timedelta(days=WEEK - 1), pa.timestamp("us"))


def _today(definition: Definition) -> date:
    return datetime.now(ZoneInfo(definition.schedule.timezone)).date()

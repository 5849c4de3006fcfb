"""Monitoring of a model: what it sees now against what its champion was trained on, night by night."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
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
from nightgate.drift.performance import Performance, Promise, perform
from nightgate.drift.policy import PREDICTION, ColumnDrift, compare, worse_of
from nightgate.drift.profile import NO_TIME, Profile, Source, of_file, of_table, scan, total
from nightgate.drift.reference import WEEK, Reference, learn
from nightgate.drift.sketches import name_of
from nightgate.errors import FileMissing
from nightgate.evaluation.metrics import Scored
from nightgate.records import Interval, run_key
from nightgate.releases import Manifest, champion_of, read_manifest
from nightgate.scoring.scorer import load_scorer
from nightgate.settings import Settings
from nightgate.tablefiles import ROW_GROUP
from nightgate.wording import figure

PROFILE, PROMISE = "profile.json.gz", "promise.json"
"""What a run writes for monitoring, beside its record."""

PERFORMANCE = "(performance)"


@dataclass(frozen=True)
class Observed:
    """What a model saw: blocks of rows with the predictions (None where none could be made), and the column that tells their time."""

    blocks: Callable[[], Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]]
    time: str | None
    told: str


@dataclass(frozen=True)
class Monitored:
    """What was compared, with which version's reference, and how well it did."""

    version: int
    reference: Reference
    compared: Compared
    performance: Performance | None
    told: str


def monitor(settings: Settings, model: str, *, as_of: date | None = None, seen: Observed | None = None) -> Monitored:
    """Compare what a model saw in the last week, and in its last night, with its champion's reference, and its performance with what
    training promised; without `seen`, what its source gives. Raises FileMissing, and DataUnusable for a profile that cannot be read.
    """
    definition = load_definition(definition_path(settings.models, model))
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to compare with.", remedy=f"`nightgate run {model}` makes one.")
    reference, manifest = reference_of(settings, model, version), read_manifest(settings.store, model, version)
    seen = seen or observed(settings, definition, version, as_of or today(definition))
    nights = scan(with_their_predictions(seen, manifest.classes), reference.axes, time=seen.time, leave_out=hidden(definition))
    compared = compare_nights(reference, nights, data=model)
    done = performance_of(settings, definition, manifest, seen)
    return Monitored(version, reference, compared if done is None else beside(compared, done), done, seen.told)


def beside(compared: Compared, done: Performance) -> Compared:
    """Put the performance beside the columns: a gate that looks at them looks at it, too. What is only estimated is never an alarm."""
    promised = f"promised {done.metric} {told(done.promised)}"
    if done.realised is None:
        guessed = "" if done.estimated is None else f"; estimated {figure(done.estimated)}"
        row = ColumnDrift(PERFORMANCE, "undecided", 0.0, 0.0, f"{done.labelled:,} new rows with labels{guessed}; {promised}")
    else:
        away, bound = abs(done.realised.value - done.promised.value), done.promised.high - done.promised.low
        row = ColumnDrift(PERFORMANCE, "alarm" if done.lost else "quiet", away, bound,
                          f"{done.metric} {told(done.realised)} on {done.labelled:,} rows, {promised}", 1.0)
    return replace(compared, found=replace(compared.found, columns=[*compared.found.columns, row]))


def told(interval: Interval) -> str:
    return f"{figure(interval.value)} ({figure(interval.low)} to {figure(interval.high)})"


def performance_of(settings: Settings, definition: Definition, manifest: Manifest, seen: Observed) -> Performance | None:
    """Return a release's performance on what it saw; realised on rows with labels that came after those it was trained on."""
    key = f"{run_key(manifest.model, manifest.version)}/{PROMISE}"
    if not settings.store.exists(key):
        return None
    made, every, scored = Promise.from_json(settings.store.read_json(key)), [], []
    for batch, predictions in seen.blocks():
        if predictions is None:
            continue
        every.append(predictions)
        if definition.target in batch.schema.names and definition.time is not None and manifest.trained_until is not None:
            rows = batch.select([definition.target, definition.time]).to_pandas()
            new = (rows[definition.time] > pd.Timestamp(manifest.trained_until)).to_numpy()
            target, known = target_of(rows[definition.target], manifest)
            scored.append((target[new & known], predictions[new & known]))
    if not every:
        return None
    truth = np.concatenate([target for target, _ in scored]) if scored else np.array([])
    labelled = None if not len(truth) else Scored(manifest.task, truth, np.concatenate([said for _, said in scored]), np.arange(len(truth)),
                                                  made.threshold)
    return perform(made, np.concatenate(every), labelled)


def target_of(values: "pd.Series", manifest: Manifest) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return targets as they were learnt, and which are known: a class never learnt is not."""
    if manifest.task == "regression":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
        return numbers, np.isfinite(numbers)
    places = {label: number for number, label in enumerate(manifest.classes)}
    texts = [None if pd.isna(value) else name_of(value) for value in values]
    found = np.array([places.get(text, -1) if text is not None else -1 for text in texts], dtype=np.int64)
    return found, found >= 0


def with_their_predictions(seen: Observed, classes: Sequence[str]) -> Source:
    """Return what was seen as a table whose last column are the predictions."""
    def batches() -> Iterator[pa.RecordBatch]:
        for batch, predictions in seen.blocks():
            if predictions is None:
                yield batch
            else:
                yield pa.RecordBatch.from_arrays([*batch.columns, said(predictions, classes)], [*batch.schema.names, PREDICTION])

    return Source(batches, lambda: pa.Table.from_batches(batches()))


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

    def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        with settings.store.local_copy(taken.uri) as path:
            start = None if definition.time is None else _week_before(path, definition.time)
            newest = None if start is None else dataset.field(definition.time) >= start
            for batch in dataset.dataset(path, format="parquet").to_batches(filter=newest, batch_size=ROW_GROUP):
                complete = set(scorer.release.manifest.raw) <= {*batch.schema.names} and batch.num_rows
                yield batch, scorer.predict(batch.to_pandas()) if complete else None

    return Observed(blocks, definition.time, "the source")


def _week_before(path: Path, time: str) -> pa.Scalar:
    """Return the first moment of the week that ends with the day of the newest row."""
    newest = pc.max(pq.read_table(path, columns=[time])[time]).as_py()
    return pa.scalar(datetime.combine(newest.date(), datetime.min.time()) - timedelta(days=WEEK - 1), pa.timestamp("us"))


def today(definition: Definition) -> date:
    return datetime.now(ZoneInfo(definition.schedule.timezone)).date()

"""Monitoring of a model: what it sees now against what its champion was trained on, night by night."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.drift.comparing import Compared
from nightgate.drift.performance import FEWEST, Performance, Promise, perform
from nightgate.drift.policy import PERFORMANCE, PREDICTION, ColumnDrift, compare, worse_of
from nightgate.drift.profile import NO_TIME, Profile, of_file, of_table, scan, total
from nightgate.drift.reference import WEEK, Reference, learn
from nightgate.drift.sketches import merge, name_of
from nightgate.errors import DataUnusable, FileMissing, SourceUnavailable
from nightgate.evaluation.metrics import Scored
from nightgate.observing import AT, Kept, Observed, as_column, from_source, observed, with_predictions_of
from nightgate.records import run_key
from nightgate.releases import Manifest, champion_of, read_manifest
from nightgate.schedules import today
from nightgate.settings import Settings
from nightgate.wording import counted, figure, interval

PROFILE, PROMISE = "profile.json.gz", "promise.json"
"""What a run writes for monitoring, beside its record."""

ASKED = {"asked for more than once": "for an entity that was asked for again", "not there yet": "whose label is not there yet"}
"""What is odd about requests, where the rest is about labels."""


@dataclass(frozen=True)
class Monitored:
    """What was compared, with which version's reference, and how well it did."""

    version: int
    reference: Reference
    compared: Compared
    performance: Performance | None
    told: str
    odd: Sequence[str] = ()
    requests: Mapping[str, int] = field(default_factory=dict)


def monitor(settings: Settings, model: str, *, as_of: date | None = None, seen: Observed | None = None) -> Monitored:
    """Compare what a model saw in the last week, and in its last night, with its champion's reference, and its performance with what
    training promised; without `seen`, what the prediction log or the source tells.

    A profile that cannot be read, as one of another version, is made anew and told. Raises FileMissing and DataUnusable.
    """
    definition = load_definition(definition_path(settings.models, model))
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to compare with.", remedy=f"`nightgate run {model}` makes one.")
    manifest, unread = read_manifest(settings.store, model, version), []
    try:
        reference = reference_of(settings, model, version)
    except DataUnusable as error:
        reference = learnt_again(settings, manifest)
        unread = [f"{error.message} Columns are compared with one made anew of the rows it was trained on, predictions with none."]
    seen, kept = seen or observed(settings, definition, version, as_of), Kept(definition)
    table = with_predictions_of(seen, manifest.classes, kept)
    compared = compare_nights(reference, scan(table, reference.axes, time=seen.time, leave_out={*definition.not_features, AT}), data=model)
    labelled, odd = _with_labels(settings, definition, version, as_of or today(definition), seen, kept)
    done = performance_of(settings, manifest, kept.predictions, labelled)
    return Monitored(version, reference, compared if done is None else beside(compared, done), done, seen.told, [*unread, *seen.odd, *odd],
                     seen.requests)


def beside(compared: Compared, done: Performance) -> Compared:
    """Put the performance beside the columns: a gate that looks at them looks at it, too. What is only estimated is never an alarm."""
    promised = f"promised {done.metric} {interval(done.promised)}"
    if done.realised is None:
        guessed = "" if done.estimated is None else f"; estimated {figure(done.estimated)}"
        row = ColumnDrift(PERFORMANCE, "undecided", 0.0, 0.0, f"{counted(done.labelled, 'new row')} with labels{guessed}; {promised}")
    else:
        row = ColumnDrift(PERFORMANCE, "alarm" if done.lost else "quiet", max(0.0, done.worse), done.limit,
                          f"{done.metric} {interval(done.realised)} on {done.labelled:,} rows, {promised}", 1.0)
    return replace(compared, found=replace(compared.found, columns=[*compared.found.columns, row]))


@dataclass(frozen=True)
class Labelled:
    """Rows that have a prediction, with target and time as far as they are known, and the predictions."""

    targets: "pd.Series"
    times: "pd.Series"
    predictions: NDArray[np.float64]


def _with_labels(settings: Settings, definition: Definition, version: int, as_of: date, seen: Observed, kept: Kept
                 ) -> tuple[Labelled | None, Sequence[str]]:
    """Return the rows whose labels are known: those that were asked, or, where too few of these have one yet, the source's newest."""
    rows, odd = kept.rows(), []
    if seen.label is not None and set(definition.entity) <= {*rows.columns}:
        try:
            rows, found = seen.label(rows)
            odd = [f"{counted(count, 'request')} {ASKED[what]}" if what in ASKED else f"{counted(count, 'row')} of labels {what}"
                   for what, count in found.items()]
        except (DataUnusable, FileMissing, SourceUnavailable) as error:  # what was asked is compared all the same
            odd = [f"no label could be read: {error.message}"]
    asked = _judged(rows, kept, definition.target, seen.time)
    if seen.time != AT or (definition.target in rows and rows[definition.target].notna().sum() >= FEWEST):
        return asked, odd
    try:
        source, newest = from_source(settings, definition, version, as_of), Kept(definition)
        for batch, predictions in source.blocks():
            newest.add(batch, predictions)
    except (DataUnusable, FileMissing, SourceUnavailable):
        return asked, odd  # what was asked can be judged without it
    return _judged(newest.rows(), newest, definition.target, source.time), odd


def _judged(rows: pd.DataFrame, kept: Kept, target: str, time: str | None) -> Labelled | None:
    if not kept.predictions or time is None or target not in rows:
        return None
    made = rows[np.concatenate(kept.made)]
    return Labelled(made[target], made[time], np.concatenate(kept.predictions))


def performance_of(settings: Settings, manifest: Manifest, predictions: Sequence[NDArray[np.float64]], labelled: Labelled | None
                   ) -> Performance | None:
    """Return a release's performance: estimated on what it saw, realised on rows with labels newer than those it was trained on."""
    key = f"{run_key(manifest.model, manifest.version)}/{PROMISE}"
    if not predictions or not settings.store.exists(key):
        return None
    made, scored = Promise.from_json(settings.store.read_json(key)), None
    if labelled is not None:
        truth, known = target_of(labelled.targets, manifest)
        if manifest.trained_until is not None:
            known &= (labelled.times > pd.Timestamp(manifest.trained_until)).to_numpy()
        if known.any():
            scored = Scored(manifest.task, truth[known], labelled.predictions[known], np.arange(known.sum()), made.threshold)
    return perform(made, np.concatenate(predictions), scored)


def target_of(values: "pd.Series", manifest: Manifest) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return targets as they were learnt, and which are known: a class never learnt is not."""
    if manifest.task == "regression":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
        return numbers, np.isfinite(numbers)
    places = {label: number for number, label in enumerate(manifest.classes)}
    texts = [None if pd.isna(value) else name_of(value) for value in values]
    found = np.array([places.get(text, -1) if text is not None else -1 for text in texts], dtype=np.int64)
    return found, found >= 0


def compare_nights(reference: Reference, nights: dict[int, Profile], *, data: str) -> Compared:
    """Compare the last seven nights together, and the last one; of each column the worse verdict counts."""
    known = {number: each for number, each in nights.items() if number != NO_TIME} or nights
    last = max(known)
    week = _together([each for number, each in known.items() if number > last - WEEK])
    found = compare(reference, week, data=data, windows=min(WEEK, len(known)))
    if len(known) > 1:
        found = worse_of(found, compare(reference, known[last], data=data))
    return Compared(found, week)


def _together(nights: Sequence[Profile]) -> Profile:
    """Return nights as one; predictions count where there are some: rows that another version answered have none."""
    whole = total(nights)
    made = [each.columns[PREDICTION] for each in nights if PREDICTION in each.columns]
    return replace(whole, columns={**whole.columns, PREDICTION: merge(made)}) if made else whole


def reference_of(settings: Settings, model: str, version: int) -> Reference:
    """Return a release's reference, as its training wrote it, or made now of the snapshot of one that had none. Raises DataUnusable."""
    key = f"{run_key(model, version)}/{PROFILE}"
    if settings.store.exists(key):
        return Reference.from_bytes(settings.store.read(key))
    return learnt_again(settings, read_manifest(settings.store, model, version))


def learnt_again(settings: Settings, manifest: Manifest) -> Reference:
    """Return the reference of a release's snapshot."""
    with settings.store.local_copy(settings.store.address(f"snapshots/{manifest.dataset}.parquet")) as path:
        return learn_snapshot(Definition.model_validate_json(manifest.definition), path, manifest.raw.keys())


def learn_snapshot(definition: Definition, path: Path, raw: Iterable[str], importances: Mapping[str, float] | None = None) -> Reference:
    """Return the reference of a snapshot's columns that a prediction needs, its wobble by days where rows have a time."""
    kept = frozenset(raw) - definition.not_features
    return learn(of_file(path), time=definition.time, importances=importances,
                 leave_out=frozenset(pq.read_schema(path).names) - kept - {definition.time or ""})


def with_predictions(reference: Reference, predictions: NDArray[np.float64], classes: Sequence[str],
                     times: NDArray[np.datetime64] | None) -> Reference:
    """Add the predictions for held-out rows as one more column."""
    table = pa.table({PREDICTION: as_column(predictions, classes), **({} if times is None else {"time": pa.array(times)})})
    made = learn(of_table(table), time=None if times is None else "time")
    columns = {**reference.profile.columns, **made.profile.columns}
    return Reference({**reference.axes, **made.axes}, Profile(reference.profile.rows, columns), {**reference.wobble, **made.wobble},
                     reference.importances)

"""What a model saw: rows with the predictions made for them, from the prediction log or from the source."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate import predictionlog, snapshots
from nightgate.contracts.suites import read_suite
from nightgate.datasets import ROW, Dataset
from nightgate.definition.model import Definition
from nightgate.drift.performance import join_labels
from nightgate.drift.policy import PREDICTION
from nightgate.drift.profile import Source
from nightgate.drift.reference import WEEK
from nightgate.features import identities
from nightgate.releases import ROWS, Manifest, read_manifest, read_release
from nightgate.schedules import today
from nightgate.scoring.scorer import load_scorer
from nightgate.settings import Settings
from nightgate.tablefiles import ROW_GROUP
from nightgate.wording import counted

if TYPE_CHECKING:
    import pandas as pd

AT = "nightgate_at"
"""Column of the prediction log: when the request came, in UTC."""

LOGGED = "nightgate_"
AHEAD = timedelta(days=36_500)
"""How far into what has not come yet is looked for rows whose clock is wrong."""


@dataclass(frozen=True)
class Observed:
    """Blocks of rows with the predictions (None where none could be made), the column that tells their time, where they are from,
    what was odd about them, and the requests of the last night: `answered`, and those refused by their status."""

    blocks: Callable[[], Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]]
    time: str | None
    told: str
    odd: Sequence[str] = ()
    requests: Mapping[str, int] = field(default_factory=dict)


def taken_of(settings: Settings, definition: Definition, as_of: date) -> Dataset:
    """Take the snapshot of a model's source as of a date, its types as the contract has pinned them."""
    raw = read_suite(settings.contracts_of(definition.name) / "raw.json")
    return snapshots.collect(definition, settings, as_of=as_of, types=raw.columns).dataset


def from_source(settings: Settings, definition: Definition, version: int, as_of: date) -> Observed:
    """Return what a model would have seen of its source: the rows of the last week that it knows of, with the predictions.

    Rows that it was trained on have none: of these it is surer than of others.
    """
    taken, scorer = taken_of(settings, definition, as_of), load_scorer(settings, definition.name, version)
    trained = read_release(settings, definition.name, version, only=(ROWS,)).training_rows

    def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        from pyarrow import dataset

        with settings.store.local_copy(taken.uri) as path:
            start = None if definition.time is None else _week_before(path, definition.time)
            newest = None if start is None else dataset.field(definition.time) >= start
            for batch in dataset.dataset(path, format="parquet").to_batches(filter=newest, batch_size=ROW_GROUP):
                complete = set(scorer.release.manifest.raw) <= {*batch.schema.names}
                fresh = ~np.isin(identities(definition, pa.Table.from_batches([batch]))[ROW], trained)
                if complete and fresh.any():
                    new = batch.filter(pa.array(fresh))
                    yield new, scorer.predict(new.to_pandas())
                if not (complete and fresh.all()):
                    yield batch.filter(pa.array(~fresh)) if complete else batch, None

    return Observed(blocks, definition.time, "the source")


def observed(settings: Settings, definition: Definition, version: int, as_of: date | None) -> Observed:
    """Return what a model answered in the week before a date, or before this moment; what its source gives where nobody has asked it."""
    end = datetime.now(UTC) if as_of is None else datetime.combine(as_of, time(), ZoneInfo(definition.schedule.timezone))
    until = end + AHEAD if as_of is None else end
    log = predictionlog.read(settings, definition.name, start=end - timedelta(days=WEEK), end=until)
    naive = end.astimezone(UTC).replace(tzinfo=None)
    if log.answers.num_rows:
        labels = _labels(settings, definition, version, as_of) if set(definition.entity) & {*log.answers.column_names} else None
        seen = from_log(log.answers, definition, read_manifest(settings.store, definition.name, version), end=naive, labels=labels)
    else:
        seen = from_source(settings, definition, version, as_of or today(definition))
    return replace(seen, odd=[*seen.odd, *_of_requests(log)], requests=_requests(log, naive - timedelta(days=1)))


def _of_requests(log: predictionlog.Logged) -> Iterator[str]:
    """Yield what was odd about the requests of a week."""
    for code, count in log.count("refused").items():
        yield f"{counted(count, 'request')} refused with {code}"
    for count in log.count("torn").values():
        yield f"{counted(count, 'line')} of the prediction log torn: a service was killed, or its disk was full"


def _requests(log: predictionlog.Logged, since: datetime) -> dict[str, int]:
    """Return how many requests were answered and refused since a moment; empty where there was none in the whole week."""
    if not log.answers.num_rows + log.others.num_rows:
        return {}
    answered = 0
    if log.answers.num_rows:
        inside = pc.and_(pc.greater_equal(log.answers[AT], since), pc.not_equal(log.answers["nightgate_role"], "shadow"))
        answered = pc.count_distinct(log.answers.filter(inside)["nightgate_request"]).as_py()
    return {"answered": answered, **{str(code): count for code, count in log.count("refused", since).items()}}


def _labels(settings: Settings, definition: Definition, version: int, as_of: date | None) -> "pd.DataFrame":
    """Return what a label is joined by, the label, and its arrival, of the rows that a version was not trained on."""
    arrived = [definition.source.arrived] if definition.source.arrived else []
    with settings.store.local_copy(taken_of(settings, definition, as_of or today(definition)).uri) as path:
        table = pq.read_table(path)
    trained = read_release(settings, definition.name, version, only=(ROWS,)).training_rows
    known = table.filter(pa.array(~np.isin(identities(definition, table)[ROW], trained)))
    frame: pd.DataFrame = known.select([*_keys(definition), definition.target, *arrived]).to_pandas()
    return frame


def _keys(definition: Definition) -> list[str]:
    return [*definition.entity, *([definition.time] if definition.time else [])]


def from_log(log: pa.Table, definition: Definition, manifest: Manifest, *, end: datetime, labels: "pd.DataFrame | None" = None) -> Observed:
    """Return what the champion answered in the week before a moment (UTC), by the table that the prediction log gives.

    Rows from after it come from a clock that is wrong, and of a request that was logged twice the last line counts; both are told.
    With `labels` (entity, event time, target, arrival) those that had arrived are joined where the requests name the entity. Nights end
    at that moment's time of day.
    """
    odd: dict[str, int] = {"of a time that has not come: a clock is wrong": pc.sum(pc.greater_equal(log[AT], end)).as_py() or 0}
    inside = pc.and_(pc.less(log[AT], end), pc.greater_equal(log[AT], end - timedelta(days=WEEK)))
    rows = log.filter(inside).to_pandas()
    rows[AT] -= end - datetime.combine(end.date(), time())
    if "nightgate_role" in rows:
        rows = rows[rows["nightgate_role"] == "champion"]
    keys = [name for name in ("nightgate_request", "nightgate_row") if name in rows]
    single = rows.drop_duplicates(keys, keep="last") if keys else rows
    odd["logged twice"] = len(rows) - len(single)
    if labels is not None and definition.entity and set(definition.entity) <= {*single.columns}:
        single, found = _labelled(single, labels, definition, end)
        odd |= {f"of labels {what}": count for what, count in found.items()}
    return _of_answers(single, manifest, [f"{counted(count, 'row')} {what}" for what, count in odd.items() if count])


def _labelled(rows: "pd.DataFrame", labels: "pd.DataFrame", definition: Definition, end: datetime
              ) -> "tuple[pd.DataFrame, Mapping[str, int]]":
    """Join labels to requests by entity and event time; where no request tells the time of any label, by entity alone.

    Return the requests and what was odd about the labels. Labels of events from before the requests are of none of them.
    """
    import pandas as pd

    keys, moment, arrived = list(definition.entity), definition.time, definition.source.arrived
    until = None if arrived is None else end
    if moment is not None and moment in labels and moment in rows:
        rows = rows.assign(**{moment: pd.to_datetime(rows[moment], errors="coerce", format="ISO8601").astype(labels[moment].dtype)})
        labels = labels[labels[moment] >= rows[moment].min()] if rows[moment].notna().any() else labels
        timed = join_labels(rows, labels, keys=[*keys, moment], target=definition.target, arrived=arrived, until=until)
        if len(timed.rows):
            return rows.merge(timed.rows[[*keys, moment, definition.target]], on=[*keys, moment], how="left"), timed.odd
    joined = join_labels(rows, labels, keys=keys, target=definition.target, arrived=arrived, until=until)
    return rows.merge(joined.rows[[*keys, definition.target]], on=keys, how="left"), joined.odd


def _of_answers(rows: "pd.DataFrame", manifest: Manifest, odd: Sequence[str]) -> Observed:
    """Return logged rows as they were sent, with what this version answered; rows that another one answered have no prediction here."""
    names = [f"probability_{label}" for label in manifest.classes] if manifest.task == "multiclass" else \
        ["probability" if manifest.task == "binary" else "prediction"]
    answered = {"prediction", "probability", *names}
    sent = [name for name in rows.columns if name not in answered and (not name.startswith(LOGGED) or name == AT)]

    def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        if rows.empty:
            return
        for version, part in rows.groupby("nightgate_version"):
            made = part[names].to_numpy(dtype=np.float64) if version == manifest.version else None
            yield batch_of(part[sent]), made[:, 0] if made is not None and len(names) == 1 else made

    return Observed(blocks, AT, "the prediction log", tuple(odd))


def batch_of(frame: "pd.DataFrame") -> pa.RecordBatch:
    """Return a frame with rows as one batch: pandas may hold texts in several pieces, of which Arrow makes no batch."""
    return pa.Table.from_pandas(frame, preserve_index=False).combine_chunks().to_batches()[0]


def with_predictions_of(seen: Observed, classes: Sequence[str]) -> Source:
    """Return what was seen as a table whose last column are the predictions."""
    def batches() -> Iterator[pa.RecordBatch]:
        for batch, predictions in seen.blocks():
            if predictions is None:
                yield batch
            else:
                yield pa.RecordBatch.from_arrays([*batch.columns, as_column(predictions, classes)], [*batch.schema.names, PREDICTION])

    return Source(batches, lambda: pa.Table.from_batches(batches()))


def as_column(predictions: NDArray[np.float64], classes: Sequence[str]) -> pa.Array:
    """Return predictions as they are monitored: a number a row, or the likeliest of several classes."""
    return pa.array(predictions) if predictions.ndim == 1 else pa.array(np.array(classes, dtype=object)[predictions.argmax(axis=1)])


def _week_before(path: Path, column: str) -> pa.Scalar:
    """Return the first moment of the week that ends with the day of the newest row."""
    newest = pc.max(pq.read_table(path, columns=[column])[column]).as_py()
    return pa.scalar(datetime.combine(newest.date(), time()) - timedelta(days=WEEK - 1), pa.timestamp("us"))

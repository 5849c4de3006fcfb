"""What a model saw: rows with the predictions made for them, from the prediction log or from the source."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
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
from nightgate.predictionlog import Logged
from nightgate.records import run_key
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
    """Blocks of rows with the predictions (None where none could be made), the column that tells their time, where they are from, and,
    once the blocks were read, what was odd about them, and the requests of the last night: `answered`, and those refused by their status.
    `label` joins labels to rows that have none yet, and says what was odd about these."""

    blocks: Callable[[], Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]]
    time: str | None
    told: str
    odd: Sequence[str] = ()
    requests: Mapping[str, int] = field(default_factory=dict)
    label: "Callable[[pd.DataFrame], tuple[pd.DataFrame, Mapping[str, int]]] | None" = None


def taken_of(settings: Settings, definition: Definition, as_of: date) -> Dataset:
    """Take the snapshot of a model's source as of a date, its types as the contract has pinned them."""
    return _snapshot(settings, definition, as_of).dataset


def _snapshot(settings: Settings, definition: Definition, as_of: date) -> snapshots.Snapshot:
    raw = read_suite(settings.contracts_of(definition.name) / "raw.json")
    return snapshots.collect(definition, settings, as_of=as_of, types=raw.columns)


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
    parts = partial(predictionlog.scan, settings, definition.name, start=end - timedelta(days=WEEK), end=until)
    naive, nobody, early = end.astimezone(UTC).replace(tzinfo=None), [], _early(settings, definition.name)
    for part in parts():
        if part.answers.num_rows:
            seen = from_log(parts, definition, read_manifest(settings.store, definition.name, version), end=naive, odd=early)
            label = partial(_label, settings=settings, definition=definition, version=version, as_of=as_of, end=naive)
            return replace(seen, label=label) if definition.entity else seen
        nobody.append(part.others)
    log = Logged(predictionlog.together([]), predictionlog.together(nobody))
    return replace(from_source(settings, definition, version, as_of or today(definition)), odd=[*early, *_of_requests(log)],
                   requests=_requests(log, 0, naive) if nobody else {})


def _early(settings: Settings, model: str) -> list[str]:
    """Return what is odd about days of the prediction log from before there was anything to ask."""
    first = f"{run_key(model, 1)}/record.json"
    if not settings.store.exists(first):
        return []
    began = date.fromisoformat(settings.store.read_json(first)["as_of"]) - timedelta(days=1)
    early = sorted(str(day) for day in predictionlog.days(settings, model) if day < began)
    return [f"the prediction log has {counted(len(early), 'day')} from before the first run, as {early[0]}: a clock was wrong"] \
        if early else []


def _of_requests(log: Logged) -> Iterator[str]:
    """Yield what was odd about the requests of a week."""
    for code, count in log.count("refused").items():
        yield f"{counted(count, 'request')} refused with {code}"
    for count in log.count("torn").values():
        yield f"{counted(count, 'line')} of the prediction log torn: a service was killed, or its disk was full"
    for count in log.count("unreadable").values():
        yield f"{counted(count, 'file')} of the prediction log cannot be read: the rows in it are not counted"


def _requests(log: Logged, answered: int, end: datetime) -> dict[str, int]:
    """Return how many requests were answered and refused in the night before a moment."""
    return {"answered": answered, **{str(code): count for code, count in log.count("refused", end - timedelta(days=1)).items()}}


def _label(rows: "pd.DataFrame", *, settings: Settings, definition: Definition, version: int, as_of: date | None, end: datetime
           ) -> "tuple[pd.DataFrame, Mapping[str, int]]":
    """Join the labels that the source has now. Of several for one event its snapshot has kept one: that is told, too."""
    taken = _snapshot(settings, definition, as_of or today(definition))
    rows, odd = _labelled(rows, _labels(settings, definition, version, taken.dataset), definition, end)
    again = {"repeated in the source, of which the newest or the last one counts": taken.duplicates} if taken.duplicates else {}
    return rows, {**odd, **again}


def _labels(settings: Settings, definition: Definition, version: int, taken: Dataset) -> "pd.DataFrame":
    """Return what a label is joined by, the label, and its arrival, of the rows that a version was not trained on."""
    arrived = [definition.source.arrived] if definition.source.arrived else []
    names = [*_keys(definition), definition.target, *arrived]
    trained = read_release(settings, definition.name, version, only=(ROWS,)).training_rows
    with settings.store.local_copy(taken.uri) as path, pq.ParquetFile(path) as file:
        tables = [file.schema_arrow.empty_table().select(names)]
        for batch in file.iter_batches(ROW_GROUP):
            rows = pa.Table.from_batches([batch])
            tables.append(rows.filter(pa.array(~np.isin(identities(definition, rows)[ROW], trained))).select(names))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def _keys(definition: Definition) -> list[str]:
    return [*definition.entity, *([definition.time] if definition.time else [])]


def from_log(parts: Callable[[], Iterable[Logged]], definition: Definition, manifest: Manifest, *, end: datetime,
             labels: "pd.DataFrame | None" = None, odd: Sequence[str] = ()) -> Observed:
    """Return what the champion answered in the week before a moment (UTC), by what the prediction log gives part by part.

    Rows from after it come from a clock that is wrong, and a request that was logged twice counts once; both are told. With `labels`
    (entity, event time, target, arrival) those that had arrived are joined where the requests name the entity. Nights end at that
    moment's time of day. `odd` is told, too.
    """
    week = _Week(parts, manifest, end, odd)
    label = None if labels is None else partial(_labelled, labels=labels, definition=definition, end=end)
    return Observed(week.blocks, AT, "the prediction log", week.odd, week.requests, label)


class _Week:
    """A week of the prediction log, read a part at a time; what was odd, and the requests of its last night, are known afterwards."""

    def __init__(self, parts: Callable[[], Iterable[Logged]], manifest: Manifest, end: datetime, early: Sequence[str]) -> None:
        self.parts, self.manifest, self.end, self.early = parts, manifest, end, early
        self.missing = pa.array(["", *json.loads(manifest.definition)["source"]["missing"]], pa.string())
        self.texts = {name for name, kind in {**manifest.raw, **manifest.keys}.items() if kind in ("text", "date")}
        self.odd: list[str] = []
        self.requests: dict[str, int] = {}

    def blocks(self) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        ahead = twice = answered = 0
        others, known, night = [], np.array([], dtype=np.uint64), self.end - timedelta(days=1)
        for part in self.parts():
            others.append(part.others)
            if part.answers.num_rows:
                ahead += _true(pc.greater_equal(part.answers[AT], self.end))
                rows = self._inside(part.answers)
                keys = _hashes(rows)
                new = _first(keys, known)
                known = np.sort(np.concatenate([known, keys[new]]), kind="stable")  # of two sorted runs: a merge
                twice += len(new) - int(new.sum())
                rows = rows.filter(pa.array(new))
                answered += _true(pc.and_(pc.greater_equal(rows[AT], night), pc.equal(rows["nightgate_row"], 0)))
                yield from self._answers(rows.filter(pc.equal(rows["nightgate_role"], "champion")))
        log = Logged(predictionlog.together([]), predictionlog.together(others))
        told = {"of a time that has not come: a clock is wrong": ahead, "logged twice": twice}
        self.odd[:] = [*self.early, *(f"{counted(count, 'row')} {what}" for what, count in told.items() if count), *_of_requests(log)]
        self.requests.update(_requests(log, answered, self.end))

    def _inside(self, rows: pa.Table) -> pa.Table:
        at = rows[AT]
        inside = pc.and_(pc.less(at, self.end), pc.greater_equal(at, self.end - timedelta(days=WEEK)))
        return rows.filter(pc.and_(inside, pc.not_equal(rows["nightgate_role"], "shadow")))

    def _answers(self, rows: pa.Table) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        """Yield rows as they were sent, with what this version answered; rows that another one answered have no prediction here."""
        manifest = self.manifest
        names = [f"probability_{label}" for label in manifest.classes] if manifest.task == "multiclass" else \
            ["probability" if manifest.task == "binary" else "prediction"]
        sent = [name for name in rows.column_names if name not in {"prediction", "probability", *names} and not name.startswith(LOGGED)]
        moments = pc.subtract(rows[AT], pa.scalar(self.end - datetime.combine(self.end.date(), time()), pa.duration("us")))
        rows = rows.set_column(rows.column_names.index(AT), AT, moments)
        for version in pc.unique(rows["nightgate_version"]).to_pylist():
            part = rows.filter(pc.equal(rows["nightgate_version"], version))
            batch = self._as_read(part.select([*sent, AT]).combine_chunks().to_batches()[0])
            for name in manifest.raw.keys() - {*sent}:  # of which no row of this part has a value
                batch = batch.append_column(name, pa.nulls(len(batch)))
            made = None
            if version == manifest.version and all(name in part.column_names and _is_number(part[name]) for name in names):
                made = np.column_stack([part[name].to_numpy() for name in names]).astype(np.float64)
            yield batch, made[:, 0] if made is not None and len(names) == 1 else made

    def _as_read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows with their texts as the door reads them: without blanks around them, none where one stands for a missing value."""
        for place, (name, column) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
            if name in self.texts and pa.types.is_string(column.type):
                text = pc.utf8_trim_whitespace(column)
                batch = batch.set_column(place, name, pc.if_else(pc.is_in(text, self.missing), pa.scalar(None, pa.string()), text))
        return batch


def _is_number(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(column.type) or pa.types.is_integer(column.type))


def _true(condition: pa.ChunkedArray) -> int:
    return int(pc.sum(condition).as_py() or 0)


def _hashes(rows: pa.Table) -> NDArray[np.uint64]:
    """Return of each row a hash of its request and of its place in it."""
    from pandas.util import hash_pandas_object

    return np.asarray(hash_pandas_object(rows.select(["nightgate_request", "nightgate_row"]).to_pandas(), index=False), dtype=np.uint64)


def _first(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which keys come for the first time; `known` ascends."""
    new = np.zeros(len(keys), dtype=bool)
    new[np.unique(keys, return_index=True)[1]] = True
    if len(known):
        new &= known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] != keys
    return new


def _labelled(rows: "pd.DataFrame", labels: "pd.DataFrame", definition: Definition, end: datetime
              ) -> "tuple[pd.DataFrame, Mapping[str, int]]":
    """Join labels to requests by entity and event time; where no request tells the time of any label, by entity alone.

    Return the requests and what was odd about the labels. Labels of events from before the requests are of none of them.
    """
    keys, moment, arrived = list(definition.entity), definition.time, definition.source.arrived
    until = None if arrived is None else end
    rows = rows.drop(columns=definition.target, errors="ignore")
    rows = rows.assign(**{key: _as_key(rows[key], labels[key]) for key in keys})
    if moment is not None and moment in labels and moment in rows:
        rows = rows.assign(**{moment: _moments(rows[moment], definition.schedule.timezone).astype(labels[moment].dtype)})
        labels = labels[labels[moment] >= rows[moment].min()] if rows[moment].notna().any() else labels
        timed = join_labels(rows.dropna(subset=[*keys, moment]), labels, keys=[*keys, moment], target=definition.target, arrived=arrived,
                            until=until)
        if len(timed.rows):
            return rows.merge(timed.rows[[*keys, moment, definition.target]], on=[*keys, moment], how="left"), timed.odd
    joined = join_labels(rows.dropna(subset=keys), labels, keys=keys, target=definition.target, arrived=arrived, until=until)
    return rows.merge(joined.rows[[*keys, definition.target]], on=keys, how="left"), joined.odd


def _as_key(values: "pd.Series", known: "pd.Series") -> "pd.Series":
    """Return the entity of requests as labels have it; whole numbers stay whole where some are missing."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(known):
        return pd.to_numeric(values, errors="coerce", dtype_backend="numpy_nullable")
    return values.where(values.isna(), values.astype("string")).astype(known.dtype)


def _moments(values: "pd.Series", zone: str) -> "pd.Series":
    """Return the moments that texts tell as training would have them: where the model lives, without a zone."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    zoned = values.astype("string").str.fullmatch(r".*[T ].*(Z|[+-]\d\d(:?\d\d)?)", na=False)
    aware = pd.to_datetime(values.where(zoned), errors="coerce", format="ISO8601", utc=True).dt.tz_convert(zone).dt.tz_localize(None)
    return pd.to_datetime(values.mask(zoned), errors="coerce", format="ISO8601").fillna(aware)


def batch_of(frame: "pd.DataFrame") -> pa.RecordBatch:
    """Return a frame with rows as one batch: pandas may hold texts in several pieces, of which Arrow makes no batch."""
    return pa.Table.from_pandas(frame, preserve_index=False).combine_chunks().to_batches()[0]


class Kept:
    """What is kept of rows beside their profile: the columns that a label is found by, itself, and the predictions."""

    def __init__(self, definition: Definition) -> None:
        self.names = frozenset({*_keys(definition), AT, definition.target})
        self.columns: list[pa.Table] = []
        self.made: list[NDArray[np.bool_]] = []
        self.predictions: list[NDArray[np.float64]] = []

    def add(self, batch: pa.RecordBatch, predictions: NDArray[np.float64] | None) -> None:
        self.columns.append(pa.Table.from_batches([batch.select([name for name in batch.schema.names if name in self.names])]))
        self.made.append(np.full(len(batch), predictions is not None))
        if predictions is not None:
            self.predictions.append(predictions)

    def rows(self) -> "pd.DataFrame":
        frame: pd.DataFrame = predictionlog.together(self.columns).to_pandas(integer_object_nulls=True)
        return frame


def with_predictions_of(seen: Observed, classes: Sequence[str], kept: Kept) -> Source:
    """Return what was seen as a table whose last column are the predictions; what labels need is kept as it is read."""
    def batches() -> Iterator[pa.RecordBatch]:
        for batch, predictions in seen.blocks():
            kept.add(batch, predictions)
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

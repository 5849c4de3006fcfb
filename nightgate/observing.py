"""What a model saw: rows with the predictions made for them, from the prediction log or from the source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate import snapshots
from nightgate.contracts.suites import read_suite
from nightgate.definition.model import Definition
from nightgate.drift.performance import join_labels
from nightgate.drift.policy import PREDICTION
from nightgate.drift.profile import Source
from nightgate.drift.reference import WEEK
from nightgate.releases import Manifest
from nightgate.scoring import BLOCK, load_scorer
from nightgate.settings import Settings
from nightgate.wording import counted

if TYPE_CHECKING:
    import pandas as pd

AT = "nightgate_at"
"""Column of the prediction log: when the request came, in UTC."""

LOGGED = "nightgate_"


@dataclass(frozen=True)
class Observed:
    """Blocks of rows with the predictions (None where none could be made), the column that tells their time, where they are from, and
    what was odd about them."""

    blocks: Callable[[], Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]]
    time: str | None
    told: str
    odd: Sequence[str] = field(default=())


def from_source(settings: Settings, definition: Definition, version: int, as_of: date) -> Observed:
    """Return what a model would have seen of its source: the rows of the last week that it knows of, with the predictions."""
    raw = read_suite(settings.contracts_of(definition.name) / "raw.json")
    taken = snapshots.collect(definition, settings, as_of=as_of, types=raw.columns).dataset
    scorer = load_scorer(settings, definition.name, version)

    def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        from pyarrow import dataset

        with settings.store.local_copy(taken.uri) as path:
            start = None if definition.time is None else _week_before(path, definition.time)
            newest = None if start is None else dataset.field(definition.time) >= start
            for batch in dataset.dataset(path, format="parquet").to_batches(filter=newest, batch_size=BLOCK):
                complete = set(scorer.release.manifest.raw) <= {*batch.schema.names} and batch.num_rows
                yield batch, scorer.predict(batch.to_pandas()) if complete else None

    return Observed(blocks, definition.time, "the source")


def from_log(log: pa.Table, definition: Definition, manifest: Manifest, *, as_of: date, labels: "pd.DataFrame | None" = None) -> Observed:
    """Return what the champion answered in the week before a date, by the table that the prediction log gives.

    Rows from after the date come from a clock that is wrong, and of a request that was logged twice the last line counts; both are
    told. With `labels` (entity, target, arrival) those that had arrived are joined where the requests name the entity.
    """
    odd: dict[str, int] = {}
    end = datetime.combine(as_of, datetime.min.time())
    later = pc.sum(pc.greater_equal(log[AT], end)).as_py() or 0
    odd["of a time that has not come: a clock is wrong"] = later
    inside = pc.and_(pc.less(log[AT], end), pc.greater_equal(log[AT], end - timedelta(days=WEEK)))
    rows = log.filter(inside).to_pandas()
    if "nightgate_role" in rows:
        rows = rows[rows["nightgate_role"] == "champion"]
    keys = [name for name in ("nightgate_request", "nightgate_row") if name in rows]
    single = rows.drop_duplicates(keys, keep="last") if keys else rows
    odd["logged twice"] = len(rows) - len(single)
    if labels is not None and definition.entity and set(definition.entity) <= {*single.columns}:
        joined = join_labels(single, labels, keys=list(definition.entity), target=definition.target, arrived=definition.source.arrived,
                             until=None if definition.source.arrived is None else end)
        single = single.merge(joined.rows[[*definition.entity, definition.target]], on=list(definition.entity), how="left")
        odd |= {f"labels {what}": count for what, count in joined.odd.items()}
    return _of_answers(single, manifest, [f"{counted(count, 'row')} {what}" for what, count in odd.items() if count])


def _of_answers(rows: "pd.DataFrame", manifest: Manifest, odd: Sequence[str]) -> Observed:
    """Return logged rows as they were sent, with what was answered."""
    names = [f"probability_{label}" for label in manifest.classes] if manifest.task == "multiclass" else \
        ["probability" if manifest.task == "binary" else "prediction"]
    answered = {"prediction", "probability", *names}
    sent = [name for name in rows.columns if name not in answered and (not name.startswith(LOGGED) or name == AT)]

    def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
        if len(rows):
            made = rows[names].to_numpy(dtype=np.float64)
            yield pa.RecordBatch.from_pandas(rows[sent], preserve_index=False), made if len(names) > 1 else made[:, 0]

    return Observed(blocks, AT, "the prediction log", tuple(odd))


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


def _week_before(path: Path, time: str) -> pa.Scalar:
    """Return the first moment of the week that ends with the day of the newest row."""
    newest = pc.max(pq.read_table(path, columns=[time])[time]).as_py()
    return pa.scalar(datetime.combine(newest.date(), datetime.min.time()) - timedelta(days=WEEK - 1), pa.timestamp("us"))

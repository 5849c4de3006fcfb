"""The evaluation: the challenger on rows that nothing has touched, beside the champion and the trivial baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate import features
from nightgate.datasets import ROW, Dataset
from nightgate.decisions import BASELINE_LEVEL, Comparison, compare
from nightgate.definition.model import Definition, Metric
from nightgate.evaluation.metrics import Floats, Scored, blocks_of, measure, score
from nightgate.evaluation.parts import Importance, Slice, calibration_error, curves, importances, slices
from nightgate.prediction import CHANGE, predict
from nightgate.records import Interval
from nightgate.releases import PIPELINE, ROWS, champion_of, read_release
from nightgate.settings import Settings
from nightgate.splits import Split
from nightgate.tables import Table, read_table

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

FEWEST_ROWS = 30
"""Rows on which champion and challenger are compared at least; fewer decide nothing."""

FEWEST_OF_A_CLASS = 5


@dataclass(frozen=True)
class Rival:
    """The champion as it is evaluated: its pipeline, its input for every row of the table, what it was fitted on."""

    version: int
    pipeline: "Pipeline"
    frame: "pd.DataFrame"
    threshold: float
    training_rows: NDArray[np.uint64]


def rival_of(settings: Settings, definition: Definition, snapshot: Dataset, table: Table, every: Dataset) -> tuple[Rival | None, str]:
    """Return the champion with its own features of the table's rows, or why there is none. `every`: the feature table before its gate."""
    champion = champion_of(settings, definition.name)
    if champion is None:
        return None, ""
    served = read_release(settings, definition.name, champion, only=(PIPELINE, ROWS))
    theirs = Definition.model_validate_json(served.manifest.definition)
    if (theirs.task, theirs.target) != (definition.task, definition.target):
        return None, f"It predicts {theirs.target} as {theirs.task}, the definition now says otherwise."
    missing = sorted({*served.manifest.raw} - {*snapshot.names})
    if missing:
        return None, f"It needs {', '.join(missing[:5])}, which today's data no longer have."
    frame = read_table(features.engineer(theirs, settings, snapshot), theirs).frame
    missing = sorted({*served.manifest.inputs} - {*map(str, frame.columns)})
    if missing:
        return None, f"Its feature {', '.join(missing[:5])} is made no more."
    rows = _places(settings, table, every)
    return Rival(champion, served.pipeline, frame if rows is None else frame.iloc[rows], served.manifest.decides_at,
                 served.training_rows), ""


def _places(settings: Settings, table: Table, every: Dataset) -> NDArray[np.int64] | None:
    """Return where the table's rows stand in the snapshot; None where the features' gate has set none aside."""
    if every.rows == len(table.rows):
        return None
    with settings.store.local_copy(every.uri) as path:
        rows = pq.read_table(path, columns=[ROW])[ROW].to_numpy()
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows[order], table.rows)])


@dataclass(frozen=True)
class Evaluation:
    """Results on the hold-out. `metrics` maps challenger, champion and baseline to figures; `predictions` is (n,) or (n, k).

    `promised` is what a shuffled split would have shown for the metric, where rows have a time. `mean` is the mean prediction, of
    each class where there are several.
    """

    rows: int
    metrics: Mapping[str, Mapping[str, Interval] | None]
    against_baseline: Comparison
    against_champion: Comparison | None
    unscored: str
    threshold: float | None
    calibration_error: float | None
    curves: Mapping[str, Any]
    slices: Sequence[Slice]
    importances: Sequence[Importance]
    promised: float | None
    mean: Sequence[float]
    predictions: Floats

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("predictions", "metrics")}


def evaluate(definition: Definition, table: Table, split: Split, *, challenger: "Pipeline", baseline: "Pipeline",
             threshold: float, rival: Rival | None, unscored: str = "") -> Evaluation:
    """Evaluate a fitted challenger on the hold-out rows of the table.

    `unscored` says why there is a champion but no rival. Rows that the rival was fitted on are left out of its part.
    """
    seed, metric = definition.training.seed, definition.metric
    frame = table.frame.iloc[split.holdout]
    scored = Scored(definition.task, table.target[split.holdout], predict(challenger, frame, definition.task),
                    blocks_of(table.groups[split.holdout], seed), threshold)
    trivial = replace(scored, prediction=predict(baseline, frame, definition.task))
    champion, comparison = None, None
    if rival is not None:
        theirs = replace(scored, prediction=predict(rival.pipeline, rival.frame.iloc[split.holdout], definition.task),
                         threshold=rival.threshold)
        fresh = ~np.isin(table.rows[split.holdout], rival.training_rows)
        champion, comparison, unscored = _against(definition, scored.only(fresh), theirs.only(fresh))
    return Evaluation(
        rows=len(frame),
        metrics={"challenger": measure(scored, seed), "champion": champion, "baseline": measure(trivial, seed)},
        against_baseline=compare(metric, scored, trivial, level=BASELINE_LEVEL, seed=seed),
        against_champion=comparison, unscored=unscored,
        threshold=threshold if definition.task == "binary" else None,
        calibration_error=calibration_error(scored), curves=curves(scored),
        slices=slices(scored, table.slices.iloc[split.holdout], metric, seed),
        importances=importances(challenger, frame, scored.target, definition.task, metric, seed),
        promised=None if table.time is None else _promised(definition, table, split, challenger),
        mean=np.atleast_1d(scored.prediction.mean(axis=0)).tolist(), predictions=scored.prediction)


def _against(definition: Definition, mine: Scored, theirs: Scored) -> tuple[dict[str, Interval] | None, Comparison | None, str]:
    """Return the champion's figures and the comparison on rows it has not seen, or why there is none."""
    rows, counts = len(mine.target), np.unique(mine.target, return_counts=True)[1]
    if rows < FEWEST_ROWS or (definition.task != "regression" and (len(counts) < 2 or min(counts) < FEWEST_OF_A_CLASS)):
        return None, None, (f"Only {rows} held-out rows of {len(counts)} classes were not used to train it; "
                            f"at least {FEWEST_ROWS}, and {FEWEST_OF_A_CLASS} of each class, are needed.")
    comparison = compare(definition.metric, mine, theirs, level=definition.promotion.nightly_level, seed=definition.training.seed)
    return measure(theirs, definition.training.seed), comparison, ""


def _promised(definition: Definition, table: Table, split: Split, challenger: "Pipeline") -> float:
    """Return the metric that a shuffled split of the same size would have shown."""
    from sklearn.base import clone

    order = np.random.default_rng(definition.training.seed).permutation(len(table.target))
    cut = len(split.train)
    pipeline = clone(challenger).fit(table.frame.iloc[order[:cut]], table.target[order[:cut]])
    prediction = predict(pipeline, table.frame.iloc[order[cut:]], definition.task)
    return score(definition.metric, table.target[order[cut:]], prediction)


def predictions_table(table: Table, split: Split, result: Evaluation, before: Sequence[float]) -> "pd.DataFrame":
    """Return the table of the predictions boundary: a row's identity, its probabilities or value, and by how much each is more
    than `before`, the champion's mean prediction when it was evaluated; without one, more than what came true."""
    import pandas as pd

    predictions = result.predictions.reshape(len(split.holdout), -1)
    true = table.target[split.holdout]
    expected = before if len(before) == predictions.shape[1] else \
        np.eye(len(table.classes))[true.astype(np.int64)] if len(table.classes) == predictions.shape[1] else true.reshape(-1, 1)
    names = [f"probability_{label}" for label in table.classes] if result.predictions.ndim == 2 else \
        ["probability" if table.classes else "prediction"]
    whole = np.hstack([predictions, predictions - np.asarray(expected, dtype=np.float64)])
    return pd.DataFrame(whole, columns=[*names, *(CHANGE + name for name in names)]).assign(row=table.rows[split.holdout].astype(str))


def predictions_of(table: "pd.DataFrame") -> Floats:
    """Return the predictions that such a table holds, (n,) or (n, classes)."""
    found = table[[name for name in table.columns if name != "row" and not name.startswith(CHANGE)]].to_numpy(dtype=np.float64)
    return found[:, 0] if found.shape[1] == 1 else found


def metrics_row(result: Evaluation, metric: Metric) -> dict[str, float]:
    """Return the one row of the metrics boundary: figures by their names."""
    challenger = result.metrics["challenger"] or {}
    found = {name: figure.value for name, figure in challenger.items()}
    found |= {f"{metric}_low": challenger[metric].low, f"{metric}_high": challenger[metric].high}
    figures = [each.figure.value for each in result.slices if each.figure is not None]
    found["rows"] = result.rows
    found["gain_over_baseline"] = result.against_baseline.gain.value
    found["slice_gap"] = max(figures) - min(figures) if figures else 0.0
    if result.calibration_error is not None:
        found["calibration_error"] = result.calibration_error
    return found

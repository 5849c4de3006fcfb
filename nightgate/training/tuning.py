"""Tuning: every setting of a candidate on the same folds, hopeless ones stopped early by their scores.

From `RACING_ROWS` training rows on, each fold halves the settings that go on to the next one: with so many rows a fold
tells settings apart, and what is behind after it stays behind. Below, every setting sees every fold. No clock decides.
"""

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from nightgate.definition.model import Candidate, Definition, Metric, Scalar
from nightgate.errors import DefinitionError
from nightgate.importing import users_line
from nightgate.prediction import said
from nightgate.splits import Fold, Split
from nightgate.tables import Table
from nightgate.training.candidates import pipeline
from nightgate.training.identity import model_sha256
from nightgate.training.scores import score, signed

RACING_ROWS = 20_000
FINAL_THREADS = 2
"""Threads of the last fit, on every machine: the sums of histogram boosting depend on their number in the last bits."""


@dataclass(frozen=True)
class Setting:
    """Parameters that were tried, with a score for each fold they were tried on."""

    parameters: Mapping[str, Scalar]
    scores: Sequence[float]


@dataclass(frozen=True)
class Trained:
    """A tuned candidate, fitted on all training rows.

    `out_of_fold`: predictions of the best setting for rows `validated` (row numbers), made by fits that had not seen them.
    """

    name: str
    pipeline: Pipeline
    best: Mapping[str, Scalar]
    settings: Sequence[Setting]
    score: float
    deviation: float
    validated: NDArray[np.int64]
    out_of_fold: NDArray[np.float64]
    seconds: float
    model_sha256: str


def train_candidate(name: str, candidate: Candidate, table: Table, split: Split, folds: Sequence[Fold],
                    definition: Definition, *, threads: int) -> Trained:
    """Tune a candidate on the folds and fit its best setting on all training rows.

    Raises DefinitionError when the estimator refuses its parameters or fails.
    """
    begin = time.perf_counter()
    tried = [dict(zip(candidate.search, values, strict=True)) for values in itertools.product(*candidate.search.values())]
    try:
        scores, predictions = _race(name, candidate, tried, table, folds, definition, threads)
        whole = [number for number, each in enumerate(scores) if len(each) == len(folds)]
        best = max(whole, key=lambda number: (_worth(definition.metric, scores[number]), -number))
        final = _final(name, candidate, tried[best], table, split, definition)
    except DefinitionError:
        raise
    except Exception as error:  # an estimator may raise anything
        raise DefinitionError(f"candidates.{name} failed: {users_line(error)}",
                              remedy="Mend its parameters or its code, or leave it out.") from error
    return Trained(name, final, tried[best], [Setting(parameters, each) for parameters, each in zip(tried, scores, strict=True)],
                   float(np.mean(scores[best])), float(np.std(scores[best], ddof=1)),
                   np.concatenate([fold.validate for fold in folds]), np.concatenate(predictions[best]),
                   time.perf_counter() - begin, model_sha256(final))


def choose(trained: Sequence[Trained], definition: Definition) -> Trained:
    """Return the candidate with the best score over the folds; of equals the first."""
    return max(trained, key=lambda each: _worth(definition.metric, [each.score]))


def choose_threshold(trained: Trained, table: Table, definition: Definition) -> float:
    """Return the threshold of a binary model from out-of-fold predictions alone.

    The least cost where costs are given (Elkan, IJCAI 2001, on the observed curve), else the best F1; the stated one if any.
    """
    if definition.task != "binary":
        return 0.5
    if definition.threshold.value is not None:
        return definition.threshold.value
    order = np.argsort(-trained.out_of_fold, kind="stable")
    prediction, positive = trained.out_of_fold[order], table.target[trained.validated][order] == 1
    last = np.append(np.diff(prediction) != 0, True)
    hits, alarms = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    if (costs := definition.threshold.costs) is not None:
        worth = -(alarms * costs.false_positive + (positive.sum() - hits) * costs.false_negative)
    else:
        worth = 2 * hits / (hits + alarms + positive.sum())
    place = int(np.argmax(worth))
    steps = prediction[last]
    below = steps[place + 1] if place + 1 < len(steps) else 0.0
    return float(np.clip((steps[place] + below) / 2, 1e-6, 1 - 1e-6))


def _race(name: str, candidate: Candidate, tried: Sequence[Mapping[str, Scalar]], table: Table, folds: Sequence[Fold],
          definition: Definition, threads: int) -> tuple[list[list[float]], list[list[NDArray[np.float64]]]]:
    """Return scores and predictions of every setting for the folds that it reached."""
    scores: list[list[float]] = [[] for _ in tried]
    predictions: list[list[NDArray[np.float64]]] = [[] for _ in tried]
    going = list(range(len(tried)))
    for fold in folds:
        for number, prediction in zip(going, _fold(name, candidate, [tried[each] for each in going], table, fold, definition,
                                                    threads), strict=True):
            scores[number].append(score(definition.metric, table.target[fold.validate], prediction))
            predictions[number].append(prediction)
        if len(fold.train) >= RACING_ROWS:
            going.sort(key=lambda number: -_worth(definition.metric, scores[number]))
            going = going[: (len(going) + 1) // 2]
    return scores, predictions


def _fold(name: str, candidate: Candidate, tried: Sequence[Mapping[str, Scalar]], table: Table, fold: Fold,
          definition: Definition, threads: int) -> list[NDArray[np.float64]]:
    """Fit and score settings on one fold; what prepares the columns is fitted once for all of them."""
    at_once = min(threads, len(tried))
    train, validate = table.frame.iloc[fold.train], table.frame.iloc[fold.validate]
    made = [pipeline(name, candidate, definition.task, settings, train, seed=definition.training.seed,
                     threads=max(threads // at_once, 1)) for settings in tried]
    prepare, target = made[0].steps[0][1], table.target[fold.train]
    if prepare != "passthrough":
        train = prepare.fit_transform(train, target)
        validate = prepare.transform(validate)
    work = (delayed(_fitted)(each.steps[1][1], train, target, validate, definition, max(threads // at_once, 1)) for each in made)
    return list(Parallel(n_jobs=at_once, prefer="threads")(work))


def _fitted(estimator: Any, train: Any, target: NDArray[Any], validate: Any, definition: Definition, threads: int
            ) -> NDArray[np.float64]:
    with threadpool_limits(threads):
        prediction = said(estimator.fit(train, target), validate, definition.task)
    if strange := int((~np.isfinite(prediction)).sum()):
        raise ValueError(f"{strange:,} of {prediction.size:,} predictions are no numbers")
    return prediction


def _worth(metric: Metric, scores: Sequence[float]) -> float:
    """Return the mean of which more is better; what the order of a sum changes, behind nine digits, makes no difference."""
    return float(f"{signed(metric, float(np.mean(scores))):.9g}")


def _final(name: str, candidate: Candidate, settings: Mapping[str, Scalar], table: Table, split: Split,
           definition: Definition) -> Pipeline:
    rows = table.frame.iloc[split.train]
    final = pipeline(name, candidate, definition.task, settings, rows, seed=definition.training.seed, threads=FINAL_THREADS)
    with _openmp(FINAL_THREADS), threadpool_limits(FINAL_THREADS):
        final.fit(rows, table.target[split.train])
    return final


@contextmanager
def _openmp(threads: int) -> Iterator[None]:
    """Make scikit-learn use as many threads where there are fewer cores: it does so only when this variable is set."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


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
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from nightgate.definition.model import Candidate, Definition, Metric, Scalar
from nightgate.errors import DefinitionError, NightgateError
from nightgate.evaluation.metrics import gain, score
from nightgate.importing import users_line
from nightgate.prediction import said
from nightgate.splits import Fold, Split, folds, holdout_split
from nightgate.tables import Table
from nightgate.training.candidates import candidates_of, pipeline
from nightgate.training.identity import model_sha256

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


Asked = tuple[int, Mapping[str, Scalar]]
"""The number of a fold, and a setting to fit on it."""


class Place(Protocol):
    """Where a candidate's settings are fitted: this process, or a cluster."""

    def on_folds(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
        """Fit each setting on its fold; return the predictions for the fold's other rows, in the order asked."""

    def on_all(self, setting: Mapping[str, Scalar]) -> Pipeline:
        """Fit a setting on all training rows."""


def train_candidate(work: "Work", place: Place | None = None) -> Trained:
    """Tune a candidate on the folds and fit its best setting on all training rows, in this process unless a place is named.

    Raises DefinitionError when the estimator refuses its parameters or fails.
    """
    begin = time.perf_counter()
    name, candidate, folds, metric, place = work.name, work.candidate, work.folds, work.definition.metric, place or work
    tried = [dict(zip(candidate.search, values, strict=True)) for values in itertools.product(*candidate.search.values())]
    try:
        scores, predictions = _race(place, tried, work.table, folds, metric)
        whole = [number for number, each in enumerate(scores) if len(each) == len(folds)]
        best = max(whole, key=lambda number: (_worth(metric, scores[number]), -number))
        final = place.on_all(tried[best])
    except NightgateError:
        raise
    except Exception as error:  # an estimator may raise anything
        raise DefinitionError(f"candidates.{name} failed: {users_line(error)}",
                              remedy="Mend its parameters or its code, or leave it out.") from error
    return Trained(name, final, tried[best], [Setting(parameters, each) for parameters, each in zip(tried, scores, strict=True)],
                   float(np.mean(scores[best])), float(np.std(scores[best], ddof=1)),
                   np.concatenate([fold.validate for fold in folds]), np.concatenate(predictions[best]),
                   time.perf_counter() - begin, model_sha256(final))


@dataclass(frozen=True)
class Work:
    """What a candidate is fitted on; as a place, it fits in this process, with so many threads."""

    name: str
    candidate: Candidate
    table: Table
    split: Split
    folds: Sequence[Fold]
    definition: Definition
    threads: int

    @classmethod
    def of(cls, name: str, table: Table, definition: Definition, *, threads: int) -> "Work":
        """Return the work on a candidate. Raises DataUnusable when a part of a split is too small or lacks a class."""
        split = holdout_split(table, definition)
        return cls(name, candidates_of(definition)[name], table, split, folds(table, split, definition), definition, threads)

    def on_folds(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
        return [prediction for number, group in itertools.groupby(asked, key=itemgetter(0))
                for prediction in self._on_fold(self.folds[number], [setting for _, setting in group])]

    def _on_fold(self, fold: Fold, tried: Sequence[Mapping[str, Scalar]]) -> list[NDArray[np.float64]]:
        """Fit settings on one fold; what prepares the columns is fitted once for all of them."""
        at_once = min(self.threads, len(tried))
        threads = max(self.threads // at_once, 1)
        train, validate = self.table.frame.iloc[fold.train], self.table.frame.iloc[fold.validate]
        made = [self._pipeline(setting, train, threads) for setting in tried]
        prepare, target = made[0].steps[0][1], self.table.target[fold.train]
        if prepare != "passthrough":
            train = prepare.fit_transform(train, target)
            validate = prepare.transform(validate)
        work = (delayed(_fitted)(each.steps[1][1], train, target, validate, self.definition, threads) for each in made)
        return list(Parallel(n_jobs=at_once, prefer="threads")(work))

    def on_all(self, setting: Mapping[str, Scalar]) -> Pipeline:
        rows = self.table.frame.iloc[self.split.train]
        final = self._pipeline(setting, rows, FINAL_THREADS)
        with _openmp(FINAL_THREADS), threadpool_limits(FINAL_THREADS):
            final.fit(rows, self.table.target[self.split.train])
        _in_order(final.steps[-1][1])
        return final

    def _pipeline(self, setting: Mapping[str, Scalar], rows: pd.DataFrame, threads: int) -> Pipeline:
        return pipeline(self.name, self.candidate, self.definition.task, setting, rows, seed=self.definition.training.seed, threads=threads)


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


def _race(place: Place, tried: Sequence[Mapping[str, Scalar]], table: Table, folds: Sequence[Fold], metric: Metric
          ) -> tuple[list[list[float]], list[list[NDArray[np.float64]]]]:
    """Return scores and predictions of every setting for the folds that it reached."""
    scores: list[list[float]] = [[] for _ in tried]
    predictions: list[list[NDArray[np.float64]]] = [[] for _ in tried]
    going, begun = list(range(len(tried))), 0
    for last, fold in enumerate(folds):
        if len(fold.train) < RACING_ROWS and fold is not folds[-1]:
            continue  # nobody falls behind here: it goes with the next one
        asked = list(itertools.product(range(begun, last + 1), going))
        for (each, number), prediction in zip(asked, place.on_folds([(each, tried[number]) for each, number in asked]), strict=True):
            scores[number].append(score(metric, table.target[folds[each].validate], prediction))
            predictions[number].append(prediction)
        going.sort(key=lambda number: -_worth(metric, scores[number]))
        going, begun = going[: (len(going) + 1) // 2], last + 1
    return scores, predictions


def _fitted(estimator: Any, train: Any, target: NDArray[Any], validate: Any, definition: Definition, threads: int
            ) -> NDArray[np.float64]:
    with threadpool_limits(threads):
        estimator.fit(train, target)
        _in_order(estimator)
        prediction = said(estimator, validate, definition.task)
    if strange := int((~np.isfinite(prediction)).sum()):
        raise ValueError(f"{strange:,} of {prediction.size:,} predictions are no numbers")
    return prediction


def _in_order(fitted: Any) -> None:
    """Have a forest add up its trees in their order: threads add as they finish, and the last digit is chance."""
    if fitted.get_params().get("n_jobs") is not None:
        fitted.set_params(n_jobs=1)


def _worth(metric: Metric, scores: Sequence[float]) -> float:
    """Return the mean of which more is better; what the order of a sum changes, behind nine digits, makes no difference."""
    return float(f"{gain(metric, float(np.mean(scores)), 0.0):.9g}")


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

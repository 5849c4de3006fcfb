"""Fits on a cluster: a worker is told the feature table's address, reads it, and returns predictions or a fitted pipeline."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from nightgate.cluster import Cluster
from nightgate.datasets import Dataset
from nightgate.definition.model import Scalar
from nightgate.tables import read_once
from nightgate.training.tuning import Asked, Work

_ALONE = threading.Lock()
"""A worker fits one thing at a time, with all its threads: their number and the BLAS library's are settings of the whole process."""


@dataclass(frozen=True)
class OnCluster:
    """Fits a candidate on a cluster, each setting on each fold a piece of work of its own. `definition` is in JSON."""

    cluster: Cluster
    dataset: Dataset
    definition: str
    name: str

    def on_folds(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
        return self.cluster.map(partial(_on_fold, self.dataset, self.definition, self.name), asked)

    def on_all(self, setting: Mapping[str, Scalar]) -> Pipeline:
        (fitted,) = self.cluster.map(partial(_on_all, self.dataset, self.definition, self.name), [(setting,)])
        return fitted


def _on_fold(dataset: Dataset, definition: str, name: str, fold: int, setting: Mapping[str, Scalar]) -> NDArray[np.float64]:
    with _ALONE:
        (prediction,) = _work(dataset, definition, name).on_folds([(fold, setting)])
        return prediction


def _on_all(dataset: Dataset, definition: str, name: str, setting: Mapping[str, Scalar]) -> Pipeline:
    with _ALONE:
        return _work(dataset, definition, name).on_all(setting)


def _work(dataset: Dataset, definition: str, name: str) -> Work:
    from distributed import get_worker

    worker: Any = get_worker()
    table, defined = read_once(dataset, definition)
    return Work.of(name, table, defined, threads=worker.state.nthreads)

"""Trees of scikit-learn's three kinds, read into one kind of arrays.

Trees of forests compare numbers of 32 bits with thresholds of 64. Here numbers stay as they are: a threshold becomes the
largest number of 64 bits that is rounded to one of 32 bits at or below it, so that the same numbers go left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.scoring.transforming import NotCompiled

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Grown:
    """Nodes of all trees behind each other, children by their places; what the leaves reached say is added to `base`.

    `arrays`: `starts` (trees), `output` (trees; -1: leaves hold all outputs), `feature` (-1 in a leaf), `threshold`, `left`,
    `right`, `missing_left`, `category` (place in `sets`, else -1), `value` (nodes, or nodes × outputs).
    `sets`: the categories that go left, and those that go right.
    """

    arrays: Arrays
    base: list[float]
    divide: int
    sets: list[list[list[float]]]


def widened(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each threshold the largest float64 that, rounded to float32, is at most the threshold."""
    with np.errstate(over="ignore"):
        below = thresholds.astype(np.float32)
        below = np.where(below.astype(np.float64) > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
    middle = (below.astype(np.float64) + above.astype(np.float64)) / 2
    even = (below.view(np.uint32) & 1) == 0  # halves are rounded to the even one
    return np.where(even, middle, np.nextafter(middle, -np.inf))


def forest(estimator: Any) -> Grown:
    """Read a tree, or trees whose mean is the answer; of two classes the second one's."""
    trees = [each.tree_ for each in getattr(estimator, "estimators_", [estimator])]
    binary = len(getattr(estimator, "classes_", ())) == 2
    values = [tree.value[:, 0, :] for tree in trees]
    values = [value[:, 1] if binary else value[:, 0] if value.shape[1] == 1 else value for value in values]
    arrays = _nodes(trees, values, np.full(len(trees), 0 if values[0].ndim == 1 else -1))
    return Grown(arrays, [0.0] * (1 if values[0].ndim == 1 else values[0].shape[1]), len(trees), [])


def boosted(estimator: Any) -> Grown:
    """Read the stages of GradientBoosting*: each leaf times the learning rate, upon what the first estimator says."""
    stages = estimator.estimators_
    trees = [each.tree_ for each in stages.ravel()]
    first = np.zeros((1, stages.shape[1]))
    if not (isinstance(estimator.init_, str) and estimator.init_ == "zero"):
        if not type(estimator.init_).__name__.startswith("Dummy"):
            raise NotCompiled("boosting upon another estimator")
        first = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))
    values = [estimator.learning_rate * tree.value[:, 0, 0] for tree in trees]
    return Grown(_nodes(trees, values, np.tile(np.arange(stages.shape[1]), len(stages))), first[0].tolist(), 1, [])


def _nodes(trees: Sequence[Any], values: Sequence["np.ndarray[Any, Any]"], output: "np.ndarray[Any, Any]") -> Arrays:
    sizes = np.array([tree.node_count for tree in trees])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    children = {side: np.concatenate([getattr(tree, f"children_{side}") + start for tree, start in zip(trees, starts, strict=True)])
                for side in ("left", "right")}
    missing = np.concatenate([tree.missing_go_to_left for tree in trees]).astype(bool)
    feature = np.concatenate([tree.feature for tree in trees])
    return {"starts": starts.astype(np.int32), "output": output.astype(np.int16), "feature": np.where(leaf, -1, feature).astype(np.int32),
            "threshold": np.where(leaf, 0.0, widened(threshold)), "left": np.where(leaf, 0, children["left"]).astype(np.int32),
            "right": np.where(leaf, 0, children["right"]).astype(np.int32), "missing_left": missing,
            "category": np.full(len(leaf), -1, np.int32), "value": np.concatenate(values)}


def histogram(estimator: Any) -> Grown:
    """Read the iterations of HistGradientBoosting*, categories in their sets."""
    trees = [each for iteration in estimator._predictors for each in iteration]
    outputs = len(estimator._predictors[0]) if estimator._predictors else estimator.n_trees_per_iteration_
    nodes = [tree.nodes for tree in trees]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in nodes])[:-1]])
    whole = np.concatenate(nodes)
    offset = np.repeat(starts, [len(each) for each in nodes])
    leaf = whole["is_leaf"].astype(bool)
    known, places = estimator._bin_mapper.make_known_categories_bitsets()
    sets: list[list[list[float]]] = []
    category = np.full(len(whole), -1, np.int32)
    for tree, start in zip(trees, starts, strict=True):
        for place in np.flatnonzero(tree.nodes["is_categorical"] & ~tree.nodes["is_leaf"].astype(bool)):
            node = tree.nodes[place]
            left = _members(tree.raw_left_cat_bitsets[node["bitset_idx"]])
            category[start + place] = len(sets)
            sets.append([sorted(left), sorted(_members(known[places[node["feature_idx"]]]) - left)])
    arrays: Arrays = {"starts": starts.astype(np.int32), "output": np.tile(np.arange(outputs), len(estimator._predictors)).astype(np.int16),
              "feature": np.where(leaf, -1, whole["feature_idx"]).astype(np.int32),
              "threshold": np.where(leaf, 0.0, whole["num_threshold"]), "left": np.where(leaf, 0, whole["left"] + offset).astype(np.int32),
              "right": np.where(leaf, 0, whole["right"] + offset).astype(np.int32),
              "missing_left": whole["missing_go_to_left"].astype(bool), "category": category, "value": whole["value"].astype(np.float64)}
    return Grown(arrays, np.ravel(estimator._baseline_prediction).astype(float).tolist(), 1, sets)


def _members(bitset: "np.ndarray[Any, Any]") -> set[float]:
    return {float(32 * word + bit) for word, bits in enumerate(bitset) for bit in range(32) if int(bits) >> bit & 1}

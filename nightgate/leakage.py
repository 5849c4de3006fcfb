"""Leaks: columns that know the target, values that know the class, identifiers that know the time, rows on both sides.

Only training rows are looked at, but for the search of equal rows, which compares features and never fits anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nightgate.definition.model import Definition
from nightgate.hashing import Hashes, row_hashes
from nightgate.splits import Split
from nightgate.tables import Table

SAMPLE = 20_000
"""Rows from which a leak shows as well as from all."""

MOST_COLUMNS = 4
"""Columns of the small model. ai4i2020's target is the union of four of its columns."""

NEAR_PERFECT = 0.98
"""Worst class's F1, or R² (`NEAR_PERFECT_R2`), of the small model from which it is reported."""

NEAR_PERFECT_R2 = 0.995
PROVEN = 0.93
"""Lower end of the 95 % Wilson interval from which a near perfect F1 stops a run: small data prove nothing."""

ONE_CLASS_LEVEL = 1e-5
FAR_BEYOND = 10
"""Times that a fill value is more frequent than its neighbours."""

FILLED_SHARE = 0.005
"""Share of the rows that a fill value stands in at least: rarer ones are honest twins (`fnlwgt` in `adult` has some)."""

NEIGHBOURS = 10
DENSE = 2.0
"""Median number of rows a value, up to which a column is dense. Sparse honest columns (capital gains in `adult`) repeat."""

FEWEST_VALUES = 30
RANKS_ALIKE = 0.99
"""Spearman correlation with time from which a unique number is a clock."""

EQUAL_SHARE = 0.01
"""Share of hold-out rows with a twin in training from which the hold-out no longer measures anything."""


EQUAL_ROWS = "equal rows"


@dataclass(frozen=True)
class Leak:
    """What was found: kind, columns, evidence; `stops` says whether a run must not go on."""

    kind: str
    columns: tuple[str, ...]
    evidence: str
    stops: bool

    def __str__(self) -> str:
        return f"{self.kind if self.kind == EQUAL_ROWS else ', '.join(self.columns)}: {self.evidence}"


def find(definition: Definition, table: Table, split: Split) -> list[Leak]:
    """Return all that looks like a leak; what the definition allows is left out."""
    seed = definition.training.seed
    rows = np.random.default_rng(seed).permutation(split.train)[:SAMPLE]
    sample, target = _numbers(table.frame.iloc[rows]), table.target[rows]
    found = [*_near_perfect(definition, sample, target, seed), *_clocks(table, split)]
    if definition.task != "regression":
        found += _fill_values(table, split)
    found += _equal_rows(table, split, keyed=bool(definition.entity))
    allowed = frozenset(definition.columns.allow)
    return [leak for leak in found if not allowed.issuperset(leak.columns)]


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return all columns as numbers, categories by their codes; nulls become -1 or the column's median."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        values = column.cat.codes.to_numpy() if isinstance(column.dtype, pd.CategoricalDtype) else column.to_numpy()
        values = values.astype(np.float64)
        gaps = ~np.isfinite(values)
        if gaps.any():
            values = np.where(gaps, np.median(values[~gaps]) if not gaps.all() else 0.0, values)
        columns[str(name)] = values
    return pd.DataFrame(columns)


def _near_perfect(definition: Definition, sample: pd.DataFrame, target: NDArray[Any], seed: int) -> Iterator[Leak]:
    """Find the fewest columns from which a small model predicts the target nearly perfectly."""
    if len(sample) < 2 * FEWEST_VALUES or set(sample) <= set(definition.columns.allow):
        return
    usable = sample.drop(columns=[name for name in definition.columns.allow if name in sample])
    regression = definition.task == "regression"
    orders = [_pursued(usable, target)] if definition.task != "multiclass" else []
    orders = orders if regression else [_split_by(usable, target, seed), *orders]
    for chosen in sorted((order[:count] for order in orders for count in range(1, len(order) + 1)), key=len):
        score, low = _out_of_fold(definition, usable[chosen], target, seed)
        if score >= (NEAR_PERFECT_R2 if regression else NEAR_PERFECT):
            figure = f"R² {score:.4f}" if regression else f"F1 {score:.3f} in its worst class"
            words = "alone predicts" if len(chosen) == 1 else "together predict"
            yield Leak("near perfect", tuple(sorted(chosen)),
                       f"{words} `{definition.target}` nearly perfectly: {figure} on rows a small model had not seen.",
                       low >= (NEAR_PERFECT_R2 if regression else PROVEN))
            return


def _split_by(sample: pd.DataFrame, target: NDArray[Any], seed: int) -> list[str]:
    """Return the columns that a small tree splits by, the most useful first."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=16, random_state=seed).fit(sample, target)
    order = np.argsort(-tree.feature_importances_, kind="stable")[:MOST_COLUMNS]
    return [str(sample.columns[place]) for place in order if tree.feature_importances_[place] > 0]


def _pursued(sample: pd.DataFrame, target: NDArray[Any]) -> list[str]:
    """Return the columns that explain most of what is left, linearly: orthogonal matching pursuit (Pati et al., 1993)."""
    centred = sample - sample.mean()
    columns = centred / centred.std().replace(0.0, np.inf)
    left = np.asarray(target, dtype=np.float64) - np.mean(target)
    chosen: list[str] = []
    for _ in range(min(MOST_COLUMNS, columns.shape[1])):
        pull = (columns.T @ left).abs().drop(chosen)
        chosen.append(str(pull.idxmax()))
        basis = columns[chosen].to_numpy()
        left = (target - np.mean(target)) - basis @ np.linalg.lstsq(basis, target - np.mean(target), rcond=None)[0]
    return chosen


def _out_of_fold(definition: Definition, sample: pd.DataFrame, target: NDArray[Any], seed: int) -> tuple[float, float]:
    """Return the small model's score on unseen rows, with its lower end."""
    from sklearn.linear_model import LinearRegression, RidgeClassifier
    from sklearn.metrics import f1_score, r2_score
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if definition.task == "regression":
        folds = KFold(3, shuffle=True, random_state=seed)
        models = (LinearRegression(), DecisionTreeRegressor(min_samples_leaf=5, random_state=seed))
        score = max(float(r2_score(target, cross_val_predict(model, sample, target, cv=folds))) for model in models)
        return score, score
    rarest = int(np.bincount(target.astype(int)).min())
    if rarest < 3:
        return 0.0, 0.0
    stratified = StratifiedKFold(3, shuffle=True, random_state=seed)
    said = [cross_val_predict(model, sample, target, cv=stratified)
            for model in (DecisionTreeClassifier(max_leaf_nodes=64, random_state=seed), RidgeClassifier(alpha=1e-6))]
    worst = max(float(np.min(f1_score(target, predicted, average=None))) for predicted in said)
    return worst, _wilson(worst, rarest)


def _wilson(share: float, rows: int) -> float:
    """Return the lower end of Wilson's 95 % interval (JASA 22, 1927)."""
    z = 1.96
    centre = share + z * z / (2 * rows)
    return float((centre - z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))) / (1 + z * z / rows))


def _fill_values(table: Table, split: Split) -> Iterator[Leak]:
    """Find values repeated far beyond their neighbours in one class only: somebody filled gaps class by class."""
    rows = split.train[: 5 * SAMPLE]
    target = table.target[rows].astype(int)
    shares = np.bincount(target) / len(target)
    for name in table.frame.columns:
        if isinstance(table.frame[name].dtype, pd.CategoricalDtype):
            continue
        column = table.frame[name].to_numpy()[rows].astype(np.float64)
        known = np.isfinite(column)
        values, places, counts = np.unique(column[known], return_inverse=True, return_counts=True)
        if len(values) < FEWEST_VALUES or float(np.median(counts)) > DENSE:
            continue
        for place in np.flatnonzero(counts >= max(FAR_BEYOND, FILLED_SHARE * len(rows))):
            around = np.delete(counts[max(place - NEIGHBOURS, 0):place + NEIGHBOURS + 1], min(int(place), NEIGHBOURS))
            classes = np.unique(target[known][places == place])
            if counts[place] < FAR_BEYOND * max(float(np.median(around)), 1.0) or len(classes) > 1:
                continue
            chance = float(shares[classes[0]]) ** int(counts[place])
            if chance < ONE_CLASS_LEVEL:
                yield Leak("fill value", (str(name),),
                           f"one value stands in {counts[place]:,} rows, its neighbours in {np.median(around):.0f}, and all of "
                           f"them are of one class (chance {chance:.1g}): gaps filled class by class look like this.", True)
                break


def _clocks(table: Table, split: Split) -> Iterator[Leak]:
    """Find unique whole numbers that rank like the event time."""
    if table.time is None:
        return
    rows = np.sort(split.train[:SAMPLE])
    time = pd.Series(table.time[rows]).rank()
    for name in table.frame.columns:
        if isinstance(table.frame[name].dtype, pd.CategoricalDtype):
            continue
        column = pd.Series(table.frame[name].to_numpy()[rows])
        if column.nunique() < 0.99 * len(column) or not np.all(np.mod(column.dropna(), 1) == 0):
            continue
        alike = abs(float(column.rank().corr(time)))
        if alike > RANKS_ALIKE:
            yield Leak("clock", (str(name),), f"every row has its own number, which ranks like the event time "
                       f"(Spearman {alike:.3f}): it says when a row came, not what it is.", True)


def _equal_rows(table: Table, split: Split, *, keyed: bool) -> Iterator[Leak]:
    """Find rows of the hold-out that stand in training too, where chance cannot have made them equal."""
    marks = _marks(table)
    once = table.frame.iloc[np.sort(np.unique(marks, return_index=True)[1])[:SAMPLE]]  # copies make no column less dense
    dense = [str(name) for name in once.columns if _is_dense(once[name])]
    if not dense:
        return
    equal = int(np.isin(marks[split.holdout], marks[split.train]).sum())
    if equal:
        share = equal / len(split.holdout)
        yield Leak(EQUAL_ROWS, tuple(dense), f"{equal:,} of {len(split.holdout):,} held-out rows ({share:.1%}) have a twin "
                   f"with equal features and target in training; name {'another' if keyed else 'the'} `entity` that the copies share, "
                   "or remove them.",
                   share >= EQUAL_SHARE)


def _is_dense(column: "pd.Series[Any]") -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return column.nunique() > len(column) / DENSE and len(column) >= FEWEST_VALUES


def _marks(table: Table) -> Hashes:
    """Return a 64-bit mark a row of features and target: equal rows have equal marks, others almost surely not."""
    features = pa.Table.from_pandas(table.frame, preserve_index=False)
    return row_hashes(features.append_column("", pa.array(table.target.astype(np.float64))))

"""How often a promotion is false, and how often a real gain is seen: simulated months of nightly decisions."""

import sys

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import norm

from benchmarks.claims import Claim, report
from nightgate.decisions import compare
from nightgate.definition.model import Metric, Promotion, Task
from nightgate.evaluation.metrics import Scored

NIGHTS = 30
PREVALENCE = 0.3
CORRELATION = 0.5
LEVEL = Promotion().nightly_level


def measure(quick: bool) -> list[Claim]:
    """Simulate 500 months without a difference for each case, and 500 nights with a gain of 0.03 in AUC."""
    months, nights = (20, 40) if quick else (500, 500)
    cells: list[tuple[Task, int]] = [("regression", 5_000), ("regression", 500), ("binary", 5_000), ("binary", 500)]
    *found, seen = Parallel(n_jobs=-1)([*(delayed(_false_months)(*cell, months) for cell in cells), delayed(_seen)(nights)])
    claims = [Claim(f"months with a false promotion, {task}, n = {rows:,}", share, 0.10)
              for (task, rows), share in zip(cells, found, strict=True)]
    return [*claims, Claim("nights that promote a gain of 0.03 in AUC, n = 5,000", seen, 0.85, at_least=True)]


def _seen(nights: int) -> float:
    random = np.random.default_rng(7)
    return float(np.mean([_promotes("auc", *_binary(random, 5_000, 0.80, 0.77)) for _ in range(nights)]))


def _false_months(task: Task, rows: int, months: int) -> float:
    random = np.random.default_rng(rows)
    false = 0
    for month in range(months):
        if month % 50 == 49:
            print(f"# {task}, n = {rows:,}: {false} of {month} months", file=sys.stderr, flush=True)
        pairs = (_binary(random, rows, 0.77, 0.77) if task == "binary" else _values(random, rows) for _ in range(NIGHTS))
        false += any(_promotes("auc" if task == "binary" else "rmse", *pair) for pair in pairs)
    return false / months


def _promotes(metric: Metric, challenger: Scored, champion: Scored) -> bool:
    return compare(metric, challenger, champion, level=LEVEL, seed=0).bound > 0


def _binary(random: np.random.Generator, rows: int, mine: float, theirs: float) -> tuple[Scored, Scored]:
    """Return two scores whose errors are normal and correlated, with the stated areas under their ROC curves."""
    target = (random.random(rows) < PREVALENCE).astype(int)
    noise = random.multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]], rows)
    scores = [norm.ppf(auc) * np.sqrt(2) * target + noise[:, place] for place, auc in enumerate((mine, theirs))]
    first, second = (Scored("binary", target, score, np.arange(rows)) for score in scores)
    return first, second


def _values(random: np.random.Generator, rows: int) -> tuple[Scored, Scored]:
    """Return two predictions with equally large errors: Student's t with 5 degrees of freedom, correlated."""
    target = random.normal(size=rows)
    noise = random.multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]], rows)
    noise /= np.sqrt(random.chisquare(5, (rows, 1)) / 5)
    first, second = (Scored("regression", target, target + noise[:, place], np.arange(rows)) for place in (0, 1))
    return first, second


if __name__ == "__main__":
    report(measure, __doc__ or "")

"""What a trial shows: the version on trial beside the champion, from the prediction log."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from nightgate.predictionlog import predictions
from nightgate.releases import champion_of
from nightgate.serving.following import Trial
from nightgate.settings import Settings


@dataclass(frozen=True)
class Side:
    """What one version answered; the champion's is the one that serves where none has. `mean` of the probabilities or values is None
    for several classes or no answer."""

    role: str
    version: int | None
    requests: int
    rows: int
    mean: float | None


@dataclass(frozen=True)
class Compared:
    """Champion and trial since the trial began. `agreed`: of the rows that both answered, the share with one prediction."""

    sides: tuple[Side, ...]
    agreed: float | None
    sentence: str


def compared(settings: Settings, model: str, trial: Trial) -> Compared:
    """Compare what was answered since a trial began."""
    found = predictions(settings, model, start=datetime.fromisoformat(trial.since), end=datetime.max.replace(tzinfo=UTC, year=9998))
    sides = []
    for role in ("champion", trial.mode):
        rows = found.filter(pc.equal(found["nightgate_role"], role)) if len(found) else found
        if role == trial.mode and len(rows):
            rows = rows.filter(pc.equal(rows["nightgate_version"], trial.version))
        version = trial.version if role == trial.mode else int(rows["nightgate_version"][-1].as_py()) if len(rows) \
            else champion_of(settings, model)
        sides.append(Side(role, version, len(pc.unique(rows["nightgate_request"])) if len(rows) else 0, len(rows), _mean(rows)))
    agreed = _agreed(found, trial) if trial.mode == "shadow" else None
    told = "nothing was answered yet" if not len(found) else "means of different requests differ by chance" if agreed is None \
        else f"the same prediction for {agreed:.2%} of the rows"
    return Compared(tuple(sides), agreed, told)


def _mean(rows: pa.Table) -> float | None:
    name = "probability" if "probability" in rows.column_names else "prediction"
    if not len(rows) or name not in rows.column_names or not pa.types.is_floating(rows[name].type):
        return None
    return float(pc.mean(rows[name]).as_py())


def _agreed(found: pa.Table, trial: Trial) -> float | None:
    """Return the share of rows that both versions answered with the same prediction."""
    if not len(found):
        return None
    keys = ["nightgate_request", "nightgate_row"]
    both = [found.filter(pc.equal(found["nightgate_role"], role)).select([*keys, "prediction"]) for role in ("champion", "shadow")]
    joined = both[0].join(both[1], keys=keys, join_type="inner", right_suffix="_shadow")
    return float(pc.mean(pc.equal(joined["prediction"], joined["prediction_shadow"]).cast(pa.float64())).as_py()) if len(joined) else None

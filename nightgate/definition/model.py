"""The definition of a model: what `models/<name>.toml` may say."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Task = Literal["binary", "multiclass", "regression"]
Metric = Literal["auc", "average_precision", "log_loss", "brier", "accuracy", "f1", "balanced_accuracy",
                 "rmse", "mae", "r2"]
METRICS_OF: dict[Task, tuple[Metric, ...]] = {
    "binary": ("auc", "average_precision", "log_loss", "brier", "accuracy", "f1", "balanced_accuracy"),
    "multiclass": ("log_loss", "auc", "accuracy", "balanced_accuracy", "f1"),
    "regression": ("rmse", "mae", "r2"),
}
"""Metrics of each task; the first is the default."""

LOWER_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "brier", "rmse", "mae"})

ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ImportString = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""Own code, as `models.credit:features`."""

SPENT = 0.75
"""Share of the budget of false promotions that the level of a night is made from: an estimated variance uses up the rest
(simulated in benchmarks/decisions.py: the whole budget gave 8 to 12 months in 100 instead of 10)."""

Scalar = bool | int | float | str | None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(Strict):
    """Where the rows come from."""

    data: str = Field(min_length=1, description="File, folder, glob, fsspec URL, SQLAlchemy URL, `sklearn:NAME` or `stream:NAME`.")
    query: str | None = Field(None, description="SQL with `:start` and `:end`, for an SQLAlchemy URL.")
    separator: str | None = Field(None, description="CSV separator; guessed when absent.")
    header: bool | None = Field(None, description="Whether a CSV file's first line names its columns; seen when absent.")
    decimal: Literal[".", ","] = Field(".", description="CSV decimal sign.")
    encoding: str = Field("utf-8", description="CSV encoding.")
    missing: tuple[str, ...] = Field((), description="Further spellings of a missing value, such as `?`.", strict=False)
    arrived: str | None = Field(None, description="Column that says when a row arrived; a run sees what had arrived.")
    nightly: bool = Field(False, description="Whether rows change every night: the same rows as on an earlier night stop the run.")


class Window(Strict):
    """How much of the past a run sees; it ends at the as-of date, 00:00 in the model's time zone, exclusive."""

    days: int | None = Field(None, ge=1, description="Days of event time; all there is when absent.")


class Columns(Strict):
    """Columns that are not what they look like."""

    exclude: tuple[str, ...] = Field((), strict=False, description="Never a feature.")
    allow: tuple[str, ...] = Field((), strict=False, description="Known to look like a leak, and honest.")
    numeric: tuple[str, ...] = Field((), strict=False)
    categorical: tuple[str, ...] = Field((), strict=False)
    date: tuple[str, ...] = Field((), strict=False)
    text: tuple[str, ...] = Field((), strict=False)


class Privacy(Strict):
    """Columns that never reach the store as they are."""

    drop: tuple[str, ...] = Field((), strict=False)
    mask: tuple[str, ...] = Field((), strict=False, description="Replaced by keyed HMAC tokens.")


class Features(Strict):
    """What is made of a row, by the row alone."""

    own: ImportString | None = Field(None, description="Function from a frame to a frame with the same rows.")


class Candidate(Strict):
    """One family of models, with the settings to try."""

    estimator: str = Field(description="`logistic`, `linear`, `forest`, `boosting`, or an import path of a class.")
    preprocess: Literal["onehot", "ordinal", "none"] | ImportString | None = Field(
        None, description="How columns are encoded; what suits the estimator when absent.")
    parameters: dict[str, Scalar] = Field({}, description="Fixed parameters of the estimator.")
    search: dict[str, list[Scalar]] = Field({}, description="Values to try: every combination.")


class Training(Strict):
    """How candidates are compared."""

    metric: Metric | None = None
    folds: int = Field(3, ge=2, le=20)
    holdout: float = Field(0.2, gt=0.0, lt=0.9, description="Share of rows that nothing touches before the evaluation.")
    seed: int = Field(0, ge=0, lt=2**32)
    salt: str = Field("", description="Changes which rows are held out; the model's name when empty.")


class Costs(Strict):
    """What a mistake costs, in any one unit."""

    false_positive: float = Field(ge=0)
    false_negative: float = Field(ge=0)


class Threshold(Strict):
    """How a probability becomes a decision; chosen on training folds unless a value is given."""

    value: float | None = Field(None, gt=0, lt=1)
    costs: Costs | None = None


class Evaluation(Strict):
    slices: tuple[str, ...] = Field((), strict=False, description="Columns by which results are shown apart.")


NIGHTS = {"week": 7, "month": 30, "quarter": 91, "year": 365}


class Gates(Strict):
    false_stops: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,2} per (week|month|quarter|year)$")] = Field(
        "1 per quarter", description="How often a good night may be stopped.")

    @property
    def nightly(self) -> float:
        """The good nights of one night that may be stopped: the budget over the nights of its time."""
        count, _, span = self.false_stops.partition(" per ")
        return min(int(count) / NIGHTS[span], 0.5)


class Promotion(Strict):
    """When a challenger becomes champion."""

    rule: Literal["better", "not_worse"] = "better"
    margin: float = Field(0.0, ge=0, description="With `not_worse`: the loss of metric that is still fine.")
    false: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)? % a (week|month|quarter|year)$")] = Field(
        "10 % a month", description="How often a promotion without real gain is acceptable.")
    approve: bool = Field(False, description="A person must approve.")
    approve_hours: int = Field(72, ge=1, description="Hours in which a person may decide; then the champion stays.")

    @field_validator("false")
    @classmethod
    def _a_share(cls, value: str) -> str:
        if not 0 < float(value.split()[0]) < 100:
            raise ValueError("more than 0 % and below 100 %, such as `10 % a month`")
        return value

    @property
    def nightly_level(self) -> float:
        """One-sided level of one night that keeps the budget over its period of independent nights (Šidák)."""
        match = re.fullmatch(r"([\d.]+) % a (\w+)", self.false)
        assert match is not None
        return float(1.0 - (1.0 - SPENT * float(match[1]) / 100.0) ** (1.0 / NIGHTS[match[2]]))


class Schedule(Strict):
    cron: str = "0 2 * * *"
    timezone: str = "UTC"
    missed: Literal["latest", "all", "skip"] = "latest"

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("a time zone such as `Europe/Berlin` or `UTC`") from None
        return value

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        from croniter import CroniterBadDateError, croniter

        if len(value.split()) != 5 or not croniter.is_valid(value):
            raise ValueError("five fields of cron, such as `0 2 * * *` for 02:00 every night")
        try:
            croniter(value, datetime(2024, 1, 1)).get_next(datetime)  # a leap year: 29 February comes
        except CroniterBadDateError:
            raise ValueError("a cron line with a date that comes, such as `0 2 * * *` for 02:00 every night") from None
        return value


class Alerts(Strict):
    """What `nightgate watch` tells beside failures."""

    verdict_by: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Time of day by which a night has its verdict.")
    champion_days: int | None = Field(None, ge=1, description="Days after which a champion is too old.")


class Retention(Strict):
    keep: int = Field(60, ge=2, description="Newest runs that are kept; champion and the one before it are kept for ever.")
    hold: tuple[int, ...] = Field((), strict=False, description="Runs that a legal hold keeps, whatever is removed.")


class Definition(Strict):
    """One model: what it is for, what it learns from, and when it may be replaced."""

    name: ModelName
    owner: str = Field("", description="Who answers for the model.")
    purpose: str = Field("", description="What its predictions are used for.")
    task: Task
    target: str = Field(min_length=1)
    positive: bool | int | float | str | None = Field(None, description="The class whose probability is predicted.")
    entity: tuple[str, ...] = Field((), strict=False, description="Key of the thing a row is about.")
    time: str | None = Field(None, description="Event time: when the row became true.")
    source: Source
    window: Window = Window()
    columns: Columns = Columns()
    privacy: Privacy = Privacy()
    features: Features = Features()
    candidates: dict[str, Candidate] = Field({}, description="Default candidates of the task when empty.")
    training: Training = Training()
    threshold: Threshold = Threshold()
    evaluation: Evaluation = Evaluation()
    gates: Gates = Gates()
    promotion: Promotion = Promotion()
    schedule: Schedule = Schedule()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()

    @field_validator("entity", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def metric(self) -> Metric:
        return self.training.metric or METRICS_OF[self.task][0]

    @property
    def salt(self) -> str:
        return self.training.salt or self.name

    @property
    def not_features(self) -> frozenset[str]:
        """Columns of the snapshot that never become features."""
        time = () if self.time is None else (self.time,)
        arrived = () if self.source.arrived is None else (self.source.arrived,)
        return frozenset((self.target, *self.entity, *time, *arrived, *self.columns.exclude, *self.privacy.drop))

    @property
    def not_inputs(self) -> frozenset[str]:
        """Columns of the snapshot that a prediction does not need: the event time it may, for its hour and weekday."""
        used = {self.time} | (set(self.entity) if self.features.own is not None else set())
        return self.not_features - used

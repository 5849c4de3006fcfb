"""Learning the contracts of a model from its runs: the nights that passed, each with its snapshot and its feature table."""

import contextlib
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightgate.contracts.freshness import STALE, freshness_of
from nightgate.contracts.inference import infer_features, infer_raw
from nightgate.contracts.learning import FEWEST, PastNight, learnt, merged, pooled, smallest_of
from nightgate.contracts.limits import Limits
from nightgate.contracts.suites import current_form, read_suite
from nightgate.definition.model import Definition
from nightgate.errors import UsageError
from nightgate.records import KEPT_BY, RunRecord, data_of, history
from nightgate.settings import Settings

MOST_NIGHTS = 60
PASSED = ("promoted", "kept", "waiting", "rejected", "rolled_back")


def learn(settings: Settings, definition: Definition) -> tuple[dict[str, dict[str, Any]], list[int]]:
    """Return the suites of raw data and features, and the runs they are learnt from. Raises UsageError for too few nights."""
    records = _passed(settings, definition.name)
    if len(records) < FEWEST:
        raise UsageError(f"A contract is learnt from at least {FEWEST} nights with different data; {definition.name} has {len(records)}.",
                         remedy="Run more nights; nights that a gate stopped do not count.")
    found = {boundary: _learnt(settings, definition, records, boundary) for boundary in KEPT_BY}
    return found, [record.run for record in records]


def _passed(settings: Settings, model: str) -> list[RunRecord]:
    """Return the last runs that passed, one for each snapshot, oldest first."""
    different = {str((record.dataset or {}).get("sha256")): record for record in history(settings.store, model)
                 if record.verdict in PASSED and record.dataset is not None}
    return list(different.values())[-MOST_NIGHTS:]


def _learnt(settings: Settings, definition: Definition, records: list[RunRecord], boundary: str) -> dict[str, Any]:
    with contextlib.ExitStack() as opened, tempfile.TemporaryDirectory(prefix="nightgate-") as folder:
        datasets = [data_of(settings.store, record, boundary) for record in records]
        nights = [PastNight(record.run, opened.enter_context(settings.store.local_copy(dataset.uri)), dataset.rows)
                  for record, dataset in zip(records, datasets, strict=True)]
        columns = datasets[-1].columns
        limits = Limits.within(definition.gates.nightly, len(columns), smallest_of(nights))
        whole = Path(folder) / "pooled.parquet"
        pooled(nights, whole)
        suite = infer_raw(whole, definition, columns, as_of=date.fromisoformat(records[-1].as_of), limits=limits) \
            if boundary == "raw" else infer_features(whole, definition, columns, limits=limits)
        if boundary == "raw" and definition.time is not None:
            suite = _fresh(suite, definition.time, nights, records, limits)
        old = current_form(read_suite(settings.contracts_of(definition.name) / f"{boundary}.json"))
        return merged(old, learnt(suite, nights, limits))


def _in_time(record: RunRecord) -> bool:
    """Return whether a run was about the night in which it began; of others the source's age says nothing."""
    return abs((datetime.fromisoformat(record.started).date() - date.fromisoformat(record.as_of)).days) <= STALE


def _fresh(suite: dict[str, Any], name: str, nights: list[PastNight], records: list[RunRecord], limits: Limits) -> dict[str, Any]:
    """Return a suite whose rule of freshness follows from how old the newest row was when each night began."""
    newest = [pc.max(pc.cast(pq.read_table(night.path, columns=[name])[name], pa.timestamp("us"))).as_py() for night in nights]
    ages = [age for record, moment in zip(records, newest, strict=True)
            if (age := (datetime.fromisoformat(record.as_of) - moment).total_seconds() / 3600) <= STALE * 24 or _in_time(record)]
    if not ages:
        return suite
    others = [each for each in suite["expectations"]
              if (each["type"], each["kwargs"].get("column")) != ("expect_column_max_to_be_between", name)]
    return {**suite, "expectations": [*others, freshness_of(name, ages, limits.tolerated(ages)[1])]}


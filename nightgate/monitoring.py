"""Monitoring of a model: what its source gives now against what the champion was trained on."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from nightgate import drift, snapshots
from nightgate.contracts.suites import read_suite
from nightgate.definition.loading import definition_path, load_definition
from nightgate.drift import TableDrift
from nightgate.errors import FileMissing
from nightgate.releases import champion_of, read_manifest
from nightgate.settings import Settings

RECENT = timedelta(days=7)
"""Event time that counts as now; a window of months would hide what changed last week."""

FEWEST = 500
"""Newest rows that are compared where a week has fewer."""


def compare_model(settings: Settings, model: str) -> TableDrift:
    """Collect the model's data as of today and compare them with its champion's snapshot. Raises FileMissing.

    Of a model with an event time only the newest rows are compared: the last week that the data know of.
    """
    definition = load_definition(definition_path(settings.models, model))
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to compare with.", remedy=f"`nightgate run {model}` makes one.")
    today = datetime.now(ZoneInfo(definition.schedule.timezone)).date()
    raw = read_suite(settings.contracts_of(model) / "raw.json")
    current = snapshots.collect(definition, settings, as_of=today, types=raw.columns).dataset
    trained = read_manifest(settings.store, model, version).dataset
    reference = settings.store.address(f"snapshots/{trained}.parquet")
    leave_out = {*definition.entity, *([definition.time] if definition.time else []), definition.source.arrived or "",
                 *definition.columns.exclude}
    newest = _newest(_frame(settings, current.uri), definition.time)
    return drift.compare(_frame(settings, reference), newest, data=model, leave_out=leave_out)


def _newest(frame: pd.DataFrame, time: str | None) -> pd.DataFrame:
    """Return the newest rows of a frame in the order of its event time."""
    if time is None:
        return frame
    recent = int((frame[time] > frame[time].max() - RECENT).sum())
    return frame.tail(max(recent, FEWEST))


def _frame(settings: Settings, uri: str) -> pd.DataFrame:
    with settings.store.local_copy(uri) as path:
        return pd.read_parquet(path)


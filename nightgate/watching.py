"""Watching a model: one night of monitoring from what was seen to its record, past the gate of the drift boundary."""

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightgate import episodes
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.inference import drift_contract
from nightgate.contracts.suites import Suite, parse_suite, read_suite
from nightgate.contracts.telling import explain
from nightgate.contracts.writing import as_text
from nightgate.definition.loading import definition_path, load_definition
from nightgate.drift.policy import TableDrift
from nightgate.episodes import Watched
from nightgate.errors import ContractBroken
from nightgate.monitoring import Monitored, monitor
from nightgate.observing import Observed
from nightgate.reports.html import html
from nightgate.reports.monitoring import document
from nightgate.schedules import today
from nightgate.settings import Settings
from nightgate.spool import working_folder

TOLD = 10
"""Columns that an error names."""


@dataclass(frozen=True)
class Look:
    """One night: what was monitored, what its gate found, its record. `asks`: it has not asked for a retraining before."""

    monitored: Monitored
    gate: GateResult
    night: Watched
    asks: bool


def look(settings: Settings, model: str, *, as_of: date | None = None, seen: Observed | None = None) -> Look:
    """Monitor a model, check the drift contract, and write the night's record and report. Raises what `monitor` does."""
    definition = load_definition(definition_path(settings.models, model))
    monitored = monitor(settings, model, as_of=as_of, seen=seen)
    as_of = as_of or today(definition)
    suite = drift_suite(settings, model)
    settings.store.write(f"contracts/{suite.sha256}.json", suite.content)
    gate = gate_drift(settings, suite, monitored.compared.found)
    known = episodes.read(settings.store, model)
    before = [each for each in known if each.as_of < str(as_of)]
    night = replace(episodes.of_comparison(monitored.compared.found, as_of=as_of, version=monitored.version), success=gate.success,
                    gate=asdict(gate), requests=monitored.requests,
                    performance={} if monitored.performance is None else asdict(monitored.performance))
    key = episodes.report_key(model, str(as_of))
    earlier = next((each for each in known if each.as_of == night.as_of), None)
    night = replace(episodes.placed(night, before, earlier=earlier), report=settings.store.address(key))
    settings.store.write(key, html(document(monitored, night, before)).encode())
    episodes.write(settings.store, night)
    return Look(monitored, gate, night, night.asks and not (earlier is not None and earlier.asks))


def drift_suite(settings: Settings, model: str) -> Suite:
    """Return a model's drift contract, the default one where it has none. Raises SuiteError."""
    own = settings.contracts_of(model) / "drift.json"
    default = drift_contract(model)
    return read_suite(own) if own.exists() else \
        parse_suite(default, place="the default contract of drift", content=as_text(default).encode())


def gate_drift(settings: Settings, suite: Suite, found: TableDrift) -> GateResult:
    """Check a drift contract on the drift table, a row a column."""
    with working_folder(settings.store) as folder:
        path = folder / "drift.parquet"
        rows = [{"column": each.column, "verdict": each.verdict, "distance": each.distance, "limit": each.limit,
                 "importance": each.weight, "why": each.why} for each in found.ranked]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
        return check(suite, path, boundary="drift", identity="column")


SCHEMA = pa.schema({"column": pa.string(), "verdict": pa.string(), "distance": pa.float64(), "limit": pa.float64(),
                    "importance": pa.float64(), "why": pa.string()})


def let_pass(found: Look) -> dict[str, Any]:
    """Return the night's record; raise ContractBroken where its gate stopped, with the causes."""
    night = found.night
    if night.success:
        return asdict(night)
    causes = [f"{each.column}: {each.why}" for each in found.monitored.compared.found.ranked if each.verdict == "alarm"]
    if not causes:  # a rule of one's own, or one that could not run
        told, remedy = explain(found.gate, model=night.model)
        raise ContractBroken(told, details={"boundary": "drift", "report": night.report}, remedy=remedy)
    since = "Raised now" if night.opened else f"Open since {night.open_since}"
    beyond = f"{len(causes)} of {len(night.columns)} are beyond their limits (columns, prediction, performance)"
    raise ContractBroken("\n".join([f"{night.model}: {beyond}. {since}.", *causes[:TOLD]]),
                         details={"boundary": "drift", "report": night.report},
                         remedy=f"{night.report} shows them. Look at the source; `nightgate run {night.model}` learns from the data as "
                                f"they are now; data_contracts/{night.model}/drift.json can spare a column.")

"""The drill: faults injected into the last snapshot, one at a time, to see which of them the contracts would have stopped.

A fault takes the whole way of a night: it is written as a file, collected with the column types that the contract keeps,
checked by the raw gate, made into features and checked by theirs.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightgate import features, snapshots
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.inference import infer_features, infer_raw
from nightgate.contracts.suites import Suite, number_of, parse_suite, read_suite
from nightgate.contracts.telling import broken
from nightgate.contracts.writing import Expectation, as_text, replace_suite
from nightgate.datasets import Column, Dataset
from nightgate.definition.model import Definition, Privacy, Source
from nightgate.errors import ContractBroken, NightgateError
from nightgate.faults import Fault, faults
from nightgate.schedules import window_of
from nightgate.settings import Settings

ROWS = 20_000
"""Rows of a snapshot that are drilled with; counts of rows are checked on all of them only."""

COUNTS = ("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal")
Outcome = Literal["stopped", "mended", "passed"]


@dataclass(frozen=True)
class Drilled:
    """What became of one fault. `by` says who stopped it, in words; `place` is the rule's, empty when it was the collector.

    Mended is a fault that left no trace: the collector made the same snapshot of the damaged file as of the right one.
    `boundary` and `rule` are those that would stop a fault which passed, None where no rule can without stopping clean nights.
    """

    kind: str
    columns: tuple[str, ...]
    outcome: Outcome
    by: str = ""
    boundary: str = ""
    place: str = ""
    rule: Expectation | None = None


@dataclass(frozen=True)
class Drill:
    """Contracts under drill: the definition, a store of the drill's own, the suites, the night, a folder for its files."""

    definition: Definition
    settings: Settings
    raw: Suite
    engineered: Suite
    as_of: date
    folder: Path

    @property
    def right(self) -> Path:
        """The file of the right table, once `clean` has written it."""
        return self.folder / "clean.parquet"

    def clean(self, table: pa.Table) -> str:
        """Return the hash of the right table's snapshot. Raises ContractBroken when even that does not pass."""
        pq.write_table(table, self.right)
        sha256, found = self._night(self.right)
        if found is not None:
            raise ContractBroken(f"The snapshot itself does not pass the {found.boundary} contract: {broken(found)[0]}",
                                 remedy="Mend or accept that first; a drill begins with data that pass.")
        return sha256

    def run(self, fault: Fault, table: pa.Table, clean: str) -> Drilled:
        """Let one fault take its way."""
        try:
            sha256, found = self._night(fault.write(table, self.folder), fault.days)
        except NightgateError as error:
            why = error.message.replace(f"{self.folder}/", "").splitlines()[0][:200]
            return Drilled(fault.kind, fault.columns, "stopped", why, "collect")
        if found is None and fault.days and sha256 == clean and self.definition.source.nightly:
            return Drilled(fault.kind, fault.columns, "stopped", "the source is declared to change nightly", "collect")
        if found is None:
            return Drilled(fault.kind, fault.columns, "mended" if sha256 == clean and not fault.days else "passed")
        first = next(each for each in found.results if each.stops)
        return Drilled(fault.kind, fault.columns, "stopped", first.sentence[:200], found.boundary, first.place)

    def _night(self, path: Path, days: int = 0) -> tuple[str, GateResult | None]:
        """Return the snapshot's hash, and the result of the gate that stopped it, if one did."""
        as_of = self.as_of + timedelta(days=days)
        snapshot, now = self.collected(path, as_of), window_of(self.definition, as_of).end
        sensitive = frozenset(self.definition.privacy.mask)
        found = check(self.raw, Path(snapshot.uri), boundary="raw", sensitive=sensitive, now=now)
        if found.success:
            found = check(self.engineered, Path(self.made(snapshot).uri), boundary="features", sensitive=sensitive, now=now)
        return snapshot.sha256, None if found.success else found

    def collected(self, path: Path, as_of: date) -> Dataset:
        """Collect a file of rows that were collected, and shielded, before."""
        return snapshots.collect(_plain(self.definition, path), self.settings, as_of=as_of, types=self.raw.columns).dataset

    def made(self, snapshot: Dataset) -> Dataset:
        return features.engineer(_plain(self.definition, Path(snapshot.uri)), self.settings, snapshot)


def _plain(definition: Definition, path: Path) -> Definition:
    """Return a definition whose source is a file of rows that were collected, and shielded, before."""
    return definition.model_copy(update={"source": Source(data=str(path)), "privacy": Privacy()})


def drill(definition: Definition, settings: Settings, snapshot: Dataset, *, as_of: date, folder: Path) -> Iterator[Drilled]:
    """Inject every fault into a snapshot; `folder` is for the drill's files alone, and left full."""
    with settings.store.local_copy(snapshot.uri) as path:
        whole = pq.read_table(path)
    step = -(-len(whole) // ROWS)
    table = whole.take(np.arange(0, len(whole), step))
    own = replace(settings, store_url=str(folder / "store"))
    contracts = settings.contracts_of(definition.name)
    raw, engineered = (_sized(read_suite(contracts / f"{name}.json"), all_rows=step == 1) for name in ("raw", "features"))
    written = Drill(definition, own, raw, engineered, as_of, folder)
    used = [column for column in snapshot.columns if column.name not in definition.columns.exclude]
    clean, fresh = written.clean(table), None
    for fault in faults(table, used, definition):
        found = written.run(fault, table, clean)
        if found.outcome == "passed":
            fresh = fresh or _Fresh(written, table, snapshot.columns)
            found = fresh.proposed(found, fault)
        yield found


class _Fresh:
    """Contracts inferred from the snapshot anew: where these stop a fault, their rule is proposed."""

    def __init__(self, written: Drill, table: pa.Table, columns: tuple[Column, ...]) -> None:
        self.table = table
        made = written.made(written.collected(written.right, written.as_of))
        self.suites = {"raw": infer_raw(written.right, written.definition, columns, as_of=written.as_of),
                       "features": infer_features(Path(made.uri), written.definition, made.columns)}
        self.drill = replace(written, raw=parse_suite(self.suites["raw"], place="raw"),
                             engineered=parse_suite(self.suites["features"], place="features"))

    def proposed(self, passed: Drilled, fault: Fault) -> Drilled:
        found = self.drill.run(fault, self.table, "")
        if found.outcome != "stopped" or not found.place:
            return passed
        rule = self.suites[found.boundary]["expectations"][number_of(found.place)]
        return replace(passed, boundary=found.boundary, rule=rule)


def _sized(suite: Suite, *, all_rows: bool) -> Suite:
    """Return a suite without the rules on counts of rows, where only some of the rows are drilled with."""
    return suite if all_rows else replace(suite, checks=tuple(each for each in suite.checks if each.type not in COUNTS))


def add_rules(settings: Settings, model: str, found: list[Drilled]) -> dict[str, list[dict[str, Any]]]:
    """Add the proposed rules to the contracts, each once; return those of each boundary."""
    added: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        if one.rule is not None and one.rule not in added.setdefault(one.boundary, []):
            added[one.boundary].append(one.rule)
    for boundary, rules in added.items():
        path = settings.contracts_of(model) / f"{boundary}.json"
        suite = json.loads(path.read_text(encoding="utf-8"))
        suite["expectations"] += rules
        replace_suite(path, as_text(suite))
    return added

"""The gates of a run: contracts between its stages, and the quarantine of the rows that they set aside."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nightgate.contracts.gate import ASIDE, KEPT, GateResult, check
from nightgate.contracts.suites import Suite, read_suite
from nightgate.contracts.telling import broken, expected, explain, message, passing
from nightgate.datasets import Dataset
from nightgate.errors import ContractBroken
from nightgate.nights import Night
from nightgate.records import GateNumbers, RunRecord, gate_note, read_record, run_numbers
from nightgate.schedules import window_of
from nightgate.spool import working_folder
from nightgate.store import Store


def pass_gate(night: Night, boundary: str, dataset: Dataset) -> GateResult:
    """Check a boundary's contract; the result says whether the data may pass."""
    with night.stage(f"gate-{boundary}") as notes:
        written = read_suite(night.settings.contracts_of(night.run.model) / f"{boundary}.json")
        night.settings.store.write(f"contracts/{written.sha256}.json", written.content)
        suite = without_excluded(written, night.definition.columns.exclude, dataset) if boundary == "features" else written
        with night.settings.store.local_copy(dataset.uri) as path, working_folder(night.settings.store) as folder, \
                released(night.settings.store, night.run.model, boundary) as spared:
            result = check(suite, path, boundary=boundary, sensitive=frozenset(night.definition.privacy.mask), released=spared,
                           quarantine_to=folder if suite.quarantine else None, now=window_of(night.definition, night.as_of).end)
            if result.kept is not None:
                kept, _ = night.settings.store.put_file(folder / KEPT, folder="snapshots", suffix=".parquet")
                aside, _ = night.settings.store.put_file(folder / ASIDE, folder="quarantine", suffix=".parquet")
                result = replace(result, kept=kept)
                notes["quarantine"] = aside
        numbers = GateNumbers(boundary, result.success, result.checks, result.failed + result.errored, result.quarantined,
                              result.seconds, suite.sha256, broken(result))
        notes.update(gate=numbers, result=result, told=passing(result))
        return result


def without_excluded(suite: Suite, excluded: Sequence[str], dataset: Dataset) -> Suite:
    """Return a contract of features without what it says of those that the definition excludes, or that were made of such a column."""
    def gone(name: str) -> bool:
        return name not in dataset.names and any(name == each or name.startswith(f"{each}_") for each in excluded)

    kept = []
    for each in suite.checks:
        if "column_set" in each.arguments:
            names = [name for name in each.arguments["column_set"] if not gone(name)]
            each = replace(each, arguments={**each.arguments, "column_set": names})
        if not any(map(gone, each.columns)):
            kept.append(each)
    return replace(suite, checks=tuple(kept))


def let_pass(night: Night, dataset: Dataset, result: GateResult) -> Dataset:
    """Return the data that passed; raise ContractBroken with what a person needs to act."""
    if result.success and result.kept is not None:
        digest = result.kept.rpartition("/")[2].removesuffix(".parquet")
        return Dataset(result.kept, digest, dataset.rows - result.quarantined, dataset.columns)
    if result.success:
        return dataset
    raise ContractBroken(told(night, result), remedy=explain(result, model=night.run.model)[1], details={"boundary": result.boundary})


def told(night: Night, result: GateResult) -> str:
    """Say what a gate found, and since when it has been so."""
    text = message(result, model=night.run.model)
    return text if result.success else f"{text}\n{_since(night, result)}"


def _since(night: Night, result: GateResult) -> str:
    """Say since which run the rules that failed have been failing, and which one kept them last."""
    rules = tuple(f"{expected(each)}:" for each in result.results if each.stops)
    first = None
    for number in reversed([number for number in run_numbers(night.settings.store, night.run.model) if number < night.run.run]):
        record = read_record(night.settings.store, night.run.model, number)
        gate = next((gate for gate in record.gates if gate.boundary == result.boundary), None)
        if gate is None:
            continue  # it ended before this gate
        if not any(each.startswith(rules) for each in gate.broken):
            since = f"broken since run {first.run}, as of {first.as_of}" if first else f"broken since this run, {night.run.run}"
            return f"Kept in run {record.run}, as of {record.as_of}; {since}."
        first = record
    return f"Broken since run {first.run}, as of {first.as_of}, and never kept before." if first else "No run was checked before this one."


def quarantined(store: Store, record: RunRecord) -> dict[str, str]:
    """Return the addresses of the rows that a run's gates set aside, by boundary."""
    return {gate.boundary: str(gate_note(store, record, gate.boundary)["quarantine"]) for gate in record.gates if gate.quarantined}


@contextlib.contextmanager
def released(store: Store, model: str, boundary: str) -> Iterator[Path | None]:
    """Give the file of the rows that a person let out of a boundary's quarantine, None where there are none."""
    key = released_key(model, boundary)
    if not store.exists(key):
        yield None
        return
    with store.local_copy(store.address(key)) as path:
        yield path


def released_key(model: str, boundary: str) -> str:
    return f"runs/{model}/released/{boundary}.parquet"

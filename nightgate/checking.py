"""Checking a model before anything runs: definition, own code, estimators' parameters, contracts, source."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from nightgate.definition.loading import load_definition, understood
from nightgate.definition.model import Definition
from nightgate.errors import DefinitionError, FileMissing, SuiteError
from nightgate.settings import Settings

BOUNDARIES = ("raw", "features", "predictions", "metrics", "drift")
NOT_NEEDED = ("drift",)
"""Boundaries whose contract has a default."""


def mistakes(settings: Settings, path: Path) -> list[str]:
    """Return every mistake of one model, a sentence each; none when it may run."""
    try:
        definition = load_definition(path)
    except DefinitionError as error:
        rest = understood(path)
        more = [] if rest is None else [*_of_code(settings, rest), *_of_source(settings, rest)]
        return [*error.message.splitlines()[1:], *more, *_of_contracts(settings, path.stem, {})]
    return [*_of_code(settings, definition), *_of_source(settings, definition),
            *_of_contracts(settings, definition.name, _needed(definition))]


def _needed(definition: Definition) -> dict[str, str]:
    """Return the columns that the definition names, with the keys that name them; a feature may be made of one that is excluded."""
    columns = definition.columns
    named = {"target": (definition.target,), "entity": definition.entity, "time": (definition.time,),
             "source.arrived": (definition.source.arrived,), "evaluation.slices": definition.evaluation.slices,
             "privacy.mask": definition.privacy.mask, "columns.numeric": columns.numeric, "columns.categorical": columns.categorical,
             "columns.date": columns.date, "columns.text": columns.text}
    return {name: key for key, names in named.items() for name in names if name is not None}


def _of_code(settings: Settings, definition: Definition) -> Iterator[str]:
    from nightgate.training.signatures import unknown_parameters

    for name, candidate in definition.candidates.items():
        for mistake in unknown_parameters(candidate, definition.task, settings.root / ".nightgate" / "signatures.json"):
            yield f"candidates.{name}: {mistake}"
    if definition.features.own is not None:
        from nightgate.importing import imported

        try:
            imported(definition.features.own, "features.own")
        except DefinitionError as error:
            yield error.message


def _of_source(settings: Settings, definition: Definition) -> Iterator[str]:
    data = definition.source.data
    if "://" in data or data.startswith(("sklearn:", "stream:")) or any(sign in data for sign in "*?["):
        return
    if not (settings.root / Path(data).expanduser()).exists():
        yield f"source.data: {data} is not there; paths count from {settings.root.name}/"


def _of_contracts(settings: Settings, name: str, needed: Mapping[str, str]) -> Iterator[str]:
    from nightgate.contracts.suites import read_suite

    for boundary in BOUNDARIES:
        path = settings.contracts_of(name) / f"{boundary}.json"
        try:
            suite = read_suite(path)
        except FileMissing:
            if boundary in NOT_NEEDED:
                continue
            yield f"data_contracts/{name}/{boundary}.json is not there: nothing passes a gate without a contract"
            continue
        except SuiteError as error:
            yield from error.message.splitlines()
            continue
        pinned = suite.columns or {}
        for column in needed.keys() - pinned.keys() if boundary == "raw" and pinned else ():
            yield f"{needed[column]}: `{column}` is no column of data_contracts/{name}/raw.json"

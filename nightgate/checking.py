"""Checking a model before anything runs: definition, own code, estimators' parameters, contracts, source.

And how near the rules of a contract came to failing so far: rules that say nothing, and rules about to stop a night.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from nightgate.contracts.sentences import sentence
from nightgate.contracts.suites import Check, read_suite
from nightgate.definition.loading import load_definition, understood
from nightgate.definition.model import Definition
from nightgate.errors import DefinitionError, FileMissing, SuiteError
from nightgate.records import KEPT_BY, note_key, run_numbers
from nightgate.settings import Settings
from nightgate.wording import counted

BOUNDARIES = ("raw", "features", "predictions", "metrics", "drift")
NOT_NEEDED = ("drift",)
"""Boundaries whose contract has a default."""

NIGHTS = 30
"""Nights that are looked at, the last ones."""

FEWEST = 10
NEAR, OFTEN = 0.8, 0.8
"""Share of what a rule allows from which it nearly fails; share of the nights in which it does so."""

FAR, LOOSE = 0.05, 0.05
"""Share of what a rule allows below which it is never near; share of the rows from which it allows much."""


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


def warnings(settings: Settings, model: str) -> Iterator[str]:
    """Yield a sentence for each rule that nearly fails every night, or that allows much and was never near it."""
    for boundary in KEPT_BY:
        try:
            suite = read_suite(settings.contracts_of(model) / f"{boundary}.json")
        except (FileMissing, SuiteError):
            continue  # told as a mistake
        seen = _shares(settings, model, boundary)
        for check in suite.checks:
            shares = seen.get(sentence(check), [])
            if check.mostly < 1 and len(shares) >= FEWEST:
                yield from _of_margins(check, boundary, shares)


def _of_margins(check: Check, boundary: str, shares: list[float]) -> Iterator[str]:
    allowed = 1 - check.mostly
    near = sum(share >= NEAR * allowed for share in shares)
    if near >= OFTEN * len(shares):
        yield (f"{boundary} {check.place} nearly fails every night: {sentence(check)}; in {near} of {len(shares)} nights at least "
               f"{NEAR * allowed:.2%} of the rows were against it. `nightgate contract learn` widens it, or the source needs mending.")
    elif len(shares) >= NIGHTS and allowed >= LOOSE and max(shares) <= FAR * allowed:
        yield (f"{boundary} {check.place} was never near failing: {sentence(check)}; in {counted(len(shares), 'night')} at most "
               f"{max(shares):.2%} of the rows were against it. `nightgate contract learn` makes it tighter.")


def _shares(settings: Settings, model: str, boundary: str) -> dict[str, list[float]]:
    """Return for each rule, by its sentence, the share of rows against it in each night."""
    found: dict[str, list[float]] = {}
    for number in run_numbers(settings.store, model)[-NIGHTS:]:
        key = note_key(model, number, f"gate-{boundary}")
        if settings.store.exists(key):
            for each in settings.store.read_json(key)["result"]["results"]:
                if not each["error"]:
                    found.setdefault(each["sentence"], []).append(float(each["share"]))
    return found

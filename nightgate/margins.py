"""How near the rules of a contract came to failing in the nights so far: rules that say nothing, and rules about to stop a night."""

from collections.abc import Iterator

from nightgate.contracts.sentences import sentence
from nightgate.contracts.suites import Check, read_suite
from nightgate.errors import FileMissing, SuiteError
from nightgate.records import KEPT_BY, note_key, run_numbers
from nightgate.settings import Settings

NIGHTS = 30
"""Nights that are looked at, the last ones."""

FEWEST = 10
NEAR, OFTEN = 0.8, 0.8
"""Share of what a rule allows from which it nearly fails; share of the nights in which it does so."""

FAR, LOOSE = 0.05, 0.05
"""Share of what a rule allows below which it is never near; share of the rows from which it allows much."""


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
                yield from _told(check, boundary, shares)


def _told(check: Check, boundary: str, shares: list[float]) -> Iterator[str]:
    allowed = 1 - check.mostly
    near = sum(share >= NEAR * allowed for share in shares)
    if near >= OFTEN * len(shares):
        yield (f"{boundary} {check.place} nearly fails every night: {sentence(check)}; in {near} of {len(shares)} nights at least "
               f"{NEAR * allowed:.2%} of the rows were against it. `nightgate contract learn` widens it, or the source needs mending.")
    elif len(shares) >= NIGHTS and allowed >= LOOSE and max(shares) <= FAR * allowed:
        yield (f"{boundary} {check.place} was never near failing: {sentence(check)}; in {len(shares)} nights at most {max(shares):.2%} of "
               "the rows were against it. `nightgate contract learn` makes it tighter.")


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

"""Monitoring: false alarms on clean nights, power against known changes, speed and memory.

Worlds are simulated (`benchmarks.worlds`) from seeds that no limit was chosen on. A night raises a false alarm when any column
does, over one night or over seven.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import product

from scipy.stats import beta

from benchmarks.claims import Claim, report
from benchmarks.worlds import Change, World
from nightgate.drift.policy import TableDrift, compare
from nightgate.drift.profile import Profile, total
from nightgate.drift.reference import Reference

SEED = 7_000
"""Of the worlds that are reported; 0 to 99 are those that the policy was made on."""

REFERENCE_NIGHTS = 28
WEEK = 7
KINDS = {"independent": (False, False), "correlated": (True, False), "weekly": (False, True), "correlated and weekly": (True, True)}


def measure(quick: bool) -> list[Claim]:
    """1,000 clean nights a cell, and 200 changes a cell."""
    return [*_false_alarms(quick), *_power(quick)]


def _false_alarms(quick: bool) -> Iterator[Claim]:
    worlds, nights = (2, 20) if quick else (20, 50)
    for rows, wobble, (kind, (correlated, weekly)) in product((1_000, 10_000, 100_000, 1_000_000), (0.0, 0.02), KINDS.items()):
        alarms = sum(clean(World(SEED + number, rows, wobble, correlated, weekly), nights) for number in range(worlds))
        upper = float(beta.ppf(0.95, alarms + 1, worlds * nights - alarms))
        print(f"# n = {rows:,}, wobble {wobble}, {kind}: {alarms} false alarms in {worlds * nights} clean nights", flush=True)
        yield Claim(f"false alarms per 100 clean nights, upper 95 % bound, n = {rows:,}, wobble {wobble}, {kind}", 100 * upper,
                    100.0 if quick else 1.0)


def clean(world: World, nights: int) -> int:
    """Return on how many of so many clean nights a column raises an alarm."""
    reference = world.reference(REFERENCE_NIGHTS)
    seen = [world.night() for _ in range(WEEK - 1)]
    alarms = 0
    for _ in range(nights):
        seen = [*seen[-WEEK + 1:], world.night()]
        alarms += any(found.alarm for found in looked_at(reference, seen))
    return alarms


def looked_at(reference: Reference, seen: list[Profile]) -> list[TableDrift]:
    """Return the comparisons of the last night and of the last seven."""
    return [compare(reference, seen[-1], data="one night"), compare(reference, total(seen), data="seven nights", windows=WEEK)]


CHANGES = {
    "shift of 0.25 deviations, top 1": Change("n00", shift=0.25), "shift of 0.25 deviations, top 5": Change("n04", shift=0.25),
    "scale × 1.25, top 5": Change("n04", scale=1.25), "category + 10 points, top 4": Change("c03", more=0.10),
    "missing 0 to 3 %, the last number": Change("n14", missing=0.03), "missing 0 to 3 %, top 1": Change("n00", missing=0.03),
    "a new category of 2 %, the last": Change("c15", new=0.02), "a new category of 2 %, top 4": Change("c03", new=0.02)}


POWER = ((10_000, 0.0, 1), (10_000, 0.02, 1), (100_000, 0.02, 1), (1_000_000, 0.02, 1), (1_000, 0.0, 7), (1_000, 0.05, 7))
"""Rows, wobble, and the nights in which the change must be noticed."""


def _power(quick: bool) -> Iterator[Claim]:
    worlds, trials = (2, 3) if quick else (20, 10)
    for rows, wobble, nights in POWER:
        found: Counter[str] = Counter()
        for number in range(worlds):
            found.update(seen(World(SEED + number, rows, wobble), trials, nights))
        shares = {told: found[told] / (worlds * trials) for told in CHANGES}
        print(f"# n = {rows:,}, wobble {wobble}, {nights} nights: {shares}", flush=True)
        for told, share in shares.items():
            yield Claim(f"alarm within {nights} nights, {told}, n = {rows:,}, wobble {wobble}", share, 0.0 if quick else 0.95,
                        at_least=True)


def seen(world: World, trials: int, nights: int) -> Iterator[str]:
    """Yield a change for each trial in which its column raises an alarm within so many nights, after a clean week."""
    reference = world.reference(REFERENCE_NIGHTS)
    clean_ones = [world.night() for _ in range(WEEK)]
    for _, (told, change) in product(range(trials), CHANGES.items()):
        clean_ones = last = [*clean_ones[1:], world.night()]
        for _ in range(nights):
            last = [*last[1:], world.night(change)]
            looks = [each for table in looked_at(reference, last) for each in table.columns]
            if any(each.column == change.column and each.verdict == "alarm" for each in looks):
                yield told
                break


if __name__ == "__main__":
    report(measure, __doc__ or "")

"""How a benchmark says what it found: claims with a value, a bar and whether it holds."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Claim:
    """One number that was measured against its bar; at most the bar holds unless `at_least`."""

    name: str
    value: float
    bar: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def report(measure: Callable[[bool], list[Claim]], told: str) -> None:
    """Measure and print; exit 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--quick", action="store_true", help="a short form that shows the way, not the number")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    claims = measure(arguments.quick)
    if arguments.json:
        print(json.dumps({"claims": [{**asdict(claim), "holds": claim.holds} for claim in claims]}))
    else:
        for claim in claims:
            sign = "at least" if claim.at_least else "at most"
            print(f"{'holds ' if claim.holds else 'MISSED'}  {claim.name}: {claim.value:.4g} ({sign} {claim.bar:g})")
    sys.exit(0 if all(claim.holds for claim in claims) else 1)

"""Which injected faults contracts stop that were inferred from the other half of the data, on nights of 5,000 rows.

`NIGHTGATE_DATA` names the folder of the data sets. A case is a fault of one kind in one column (or pair, or the file) of one
data set. The kinds and columns are those of `nightgate drill`; half of the rows gone is left out, since one file says nothing
of how many rows come.
"""

import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.claims import Claim, report
from benchmarks.halves import halved
from benchmarks.real_data import SETS, DataSet, data_folder
from nightgate.drill import Drill, Drilled
from nightgate.faults import faults

ROWS = 5_000
HELD_OUT = (
    DataSet("bank_marketing", "bank_marketing/bank-full.csv.gz", "y", "auc", 0),
    DataSet("elec2", "elec2/elec.csv", "class", "auc", 0),
    DataSet("noaa_weather", "noaa_weather/weather.csv", "target", "auc", 0),
    DataSet("nyc_taxi", "nyc_taxi_monthly/yellow_tripdata_sample_2019-03.csv.gz", "total_amount", "rmse", 0, time="pickup_datetime"),
)
"""Data on which no limit was chosen."""

LEFT_OUT = ("half of the rows gone",)


def measure(quick: bool) -> list[Claim]:
    """Inject every fault into every set, into the first two for a quick look."""
    data = data_folder()
    by_kind, claims = defaultdict[str, list[Drilled]](list), []
    with tempfile.TemporaryDirectory() as name:
        for sets, told in ((SETS[:2] if quick else SETS, "sets that limits were chosen on"), (() if quick else HELD_OUT, "other sets")):
            found = [one for each in sets for one in _drilled(each, data, Path(name) / each.name)]
            for one in found:
                by_kind[one.kind].append(one)
            if found:
                claims.append(Claim(f"share of {len(found):,} faults stopped, {told}", _share(found), 0.95, at_least=True))
    for kind, cases in sorted(by_kind.items(), key=lambda each: _share(each[1])):
        print(f"# {kind}: {_share(cases):.1%} of {len(cases)}")
    claims.append(Claim("least share of a kind stopped", min(map(_share, by_kind.values())), 0.01, at_least=True))
    return claims


def _drilled(each: DataSet, data: Path, folder: Path) -> list[Drilled]:
    halves = halved(each, data, folder)
    table = halves.night(min(ROWS, int(0.8 * len(halves.other))), 0)
    drill = Drill(halves.definition, replace(halves.settings, store_url=str(folder / "drill")), halves.raw, halves.engineered,
                  halves.as_of, folder)
    clean = drill.clean(table)
    found = [drill.run(fault, table, clean) for fault in faults(table, halves.used, halves.definition) if fault.kind not in LEFT_OUT]
    for one in found:
        if one.outcome == "passed":
            print(f"# {each.name}: {one.kind} {', '.join(one.columns)} passed", flush=True)
    print(f"# {each.name}: {_share(found):.1%} of {len(found)}", flush=True)
    return found


def _share(cases: list[Drilled]) -> float:
    return sum(one.outcome != "passed" for one in cases) / len(cases)


if __name__ == "__main__":
    report(measure, __doc__ or "")

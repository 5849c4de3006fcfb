"""Great Expectations is imported without what gates do not use, and that comes when it is used."""

import subprocess
import sys


def test_plots_and_statistics_stay_unloaded_until_they_are_used() -> None:
    code = ("import sys\nfrom nightgate.contracts.great import great_expectations\ngx = great_expectations()\n"
            "print(sorted({'scipy.stats._stats_py', 'altair.vegalite'} & set(sys.modules)))\n"
            "import altair, scipy.stats\nfrom scipy.stats._stats_py import gmean\n"
            "print(scipy.stats.norm.cdf(0.0), altair.Chart.__name__, gx.__name__)")

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()

    assert told == ["[]", "0.5 Chart great_expectations"]

"""Run every benchmark, one after the other; exit 1 when a claim of any does not hold."""

import subprocess
import sys

NAMES = ("start", "retraining", "decisions", "contracts", "nights", "faults", "dirty", "gates", "monitoring", "drift_speed", "peers",
         "serving", "operations", "kills", "real_data")

if __name__ == "__main__":
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode for name in NAMES]
    sys.exit(max(codes))

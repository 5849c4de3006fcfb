"""The example models that `init` writes: each finds a champion, scores raw rows, and is quiet until the world changes."""

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from nightgate import skeleton
from nightgate.monitoring import monitor
from nightgate.scoring.batch import score
from nightgate.settings import Settings
from tests.projects import run_plainly

EXAMPLES = [("breast_cancer", "sklearn:breast_cancer", "auc", 0.95, 1.0), ("diabetes_progression", "sklearn:diabetes", "rmse", 45, 62),
            ("wine_cultivar", "sklearn:wine", "log_loss", 0.0, 0.3),
            ("credit_applications", "stream:credit_applications?rows_per_day=5", "auc", 0.75, 0.82)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give the project that `init` writes."""
    root = tmp_path_factory.mktemp("examples") / "project"
    skeleton.write(root)
    return Settings(root, str(root / ".nightgate"), f"sqlite:///{root / '.nightgate' / 'registry.db'}", root / ".nightgate" / "keys.json")


@pytest.mark.parametrize(("name", "source", "metric", "low", "high"), EXAMPLES, ids=[name for name, *_ in EXAMPLES])
def test_examples_are_trained_scored_and_quiet(name: str, source: str, metric: str, low: float, high: float, place: Settings,
                                               tmp_path: Path) -> None:
    record = run_plainly(place, name)
    made = score(place, name, source=source, output=tmp_path / "scored.parquet")
    scored = pd.read_parquet(made.output)

    assert record is not None and record.verdict == "promoted" and not record.warnings
    challenger = record.metrics["challenger"]
    assert challenger is not None and low < challenger[metric].value < high
    assert len(scored) == made.rows > 100 and not scored.isna().any().any()
    assert monitor(place, name).compared.found.alarm == 0


def test_drift_of_the_stream_can_be_switched_on_and_is_noticed(place: Settings) -> None:
    definition, begins = place.models / "credit_applications.toml", date.today() - timedelta(days=60)
    definition.write_text(definition.read_text().replace("rows_per_day=60", f"rows_per_day=60&drift=shift&drift_from={begins}"))

    found = {each.column: each.verdict for each in monitor(place, "credit_applications").compared.found.columns}

    assert {name for name, verdict in found.items() if verdict == "alarm"} >= {"income", "amount"}
    assert found["utilisation"] == found["region"] == "quiet"


def test_a_past_night_of_the_stream_is_the_same_again(place: Settings) -> None:
    nights = [run_plainly(place, "credit_applications", as_of=date(2024, 6, 1)) for _ in range(2)]

    assert nights[0] is not None and nights[1] is not None
    assert nights[0].dataset == nights[1].dataset and nights[0].model_sha256 == nights[1].model_sha256
    assert nights[0].as_of == "2024-06-01"

"""A model in a notebook: its snapshot, contract, runs, champion and report."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightgate.contracts.suites import Suite, read_suite
from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.errors import FileMissing
from nightgate.records import RunRecord, read_record
from nightgate.releases import champion_of
from nightgate.settings import Settings, settings

if TYPE_CHECKING:
    import pandas as pd

    from nightgate.scoring.scorer import Scorer


@dataclass(frozen=True)
class Model:
    """One model of the project. Runs are named by number or Prefect's run id; the last one when left out."""

    definition: Definition
    settings: Settings

    def __repr__(self) -> str:
        return f"<Nightgate model {self.definition.name}, a {self.definition.task} model of {self.definition.target}>"

    def run(self, which: int | str | None = None) -> RunRecord:
        """Return a run's record. Raises FileMissing."""
        return read_record(self.settings.store, self.definition.name, which)

    def snapshot(self, which: int | str | None = None) -> "pd.DataFrame":
        """Return the data that a run saw. Raises FileMissing when it stopped before it had any."""
        import pandas as pd

        record = self.run(which)
        if record.dataset is None:
            raise FileMissing(f"Run {record.run} of {record.model} has no snapshot: it ended {record.verdict} before.",
                              remedy=f"`nightgate show {record.model} {record.run}` tells why.")
        with self.settings.store.local_copy(record.dataset["uri"]) as path:
            return pd.read_parquet(path)

    def contract(self, boundary: str = "raw") -> Suite:
        """Return the contract of a boundary. Raises FileMissing and SuiteError."""
        return read_suite(self.settings.contracts_of(self.definition.name) / f"{boundary}.json")

    def model(self, version: int | None = None) -> "Scorer":
        """Return what answers rows as the snapshot has them, of a version, the champion when left out: `predict(rows)` gives
        probabilities or values, `answers(rows)` an Arrow table with the classes' names, `release.pipeline` is scikit-learn's.

        Raises FileMissing and NotVerified.
        """
        from nightgate.scoring.scorer import load_scorer

        name = self.definition.name
        version = version or champion_of(self.settings, name)
        if version is None:
            raise FileMissing(f"{name} has no champion yet.", remedy=f"`nightgate run {name}` makes one.")
        return load_scorer(self.settings, name, version)

    def report(self, which: int | str | None = None) -> str | None:
        """Return the address of a run's report."""
        return self.run(which).report


def open_model(name: str) -> Model:
    """Open a model of the project that the working directory is in. Raises FileMissing, UsageError, DefinitionError."""
    place = settings()
    return Model(load_definition(definition_path(place.models, name)), place)

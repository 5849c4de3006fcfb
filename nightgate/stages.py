"""The stages of a retraining as plain functions: what a flow's tasks call, and what a notebook may call."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from nightgate import decisions, features, leakage, registry, releases, runs, snapshots
from nightgate.contracts.suites import read_suite
from nightgate.datasets import Column, ColumnType, Dataset
from nightgate.decisions import Comparison, Decision
from nightgate.definition.model import Definition
from nightgate.errors import FileMissing, LeakFound, ModelBusy
from nightgate.evaluation.holdout import Rival, metrics_row, predictions_table
from nightgate.evaluation.holdout import evaluate as evaluate_holdout
from nightgate.nights import Night, assemble, code_version
from nightgate.nights import conclude as write_down
from nightgate.profile import profile
from nightgate.records import CandidateNumbers, RunRecord, read_record, run_numbers
from nightgate.reports import writing as reports
from nightgate.reports.retraining import interval
from nightgate.reports.writing import Documents
from nightgate.settings import Settings
from nightgate.splits import Split, folds, holdout_split
from nightgate.spool import working_folder
from nightgate.tables import Table, read_table
from nightgate.training.candidates import BASELINE, candidates_of
from nightgate.training.saving import load, save
from nightgate.training.tuning import Trained, choose, choose_threshold, train_candidate
from nightgate.wording import figure


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation hands on: the chosen candidate, two small tables for the gates, the comparisons."""

    chosen: str
    threshold: float
    predictions: Dataset
    metrics: Dataset
    figures: dict[str, float]
    against_baseline: Comparison
    against_champion: Comparison | None
    unscored: str


def collect(this: Night) -> Dataset:
    """Take the snapshot of the run's window."""
    with this.stage("collect") as notes:
        snapshot = snapshots.collect(this.definition, this.settings, as_of=this.as_of, types=pinned_types(this.settings, this.run.model))
        notes.update(dataset=snapshot.dataset, collected=snapshot.as_json(),
                     told=f"{snapshot.dataset.rows:,} rows of {len(snapshot.dataset.columns)} columns")
        return snapshot.dataset


def engineer(this: Night, snapshot: Dataset) -> Dataset:
    """Make the feature table of a snapshot."""
    with this.stage("engineer") as notes:
        table = features.engineer(this.definition, this.settings, snapshot)
        notes.update(dataset=table, told=f"{len(table.columns)} columns, {table.sha256[:12]}")
        return table


def look_for_leaks(this: Night, dataset: Dataset) -> None:
    """Stop on a column that gives the target away; what only looks odd becomes a warning of the record."""
    with this.stage("look-for-leaks") as notes:
        table = _table(this, dataset)
        found = leakage.find(this.definition, table, holdout_split(table, this.definition))
        leaks = [each for each in found if each.stops]
        notes.update(warnings=[str(each) for each in found if not each.stops], leaks=found,
                     told=f"{len(leaks)} leaks, {len(found) - len(leaks)} warnings")
    if leaks:
        names = sorted({name for each in leaks for name in each.columns})
        raise LeakFound("\n".join(str(each) for each in leaks),
                        remedy=f"In models/{this.run.model}.toml add {names} to `columns.exclude`, or to `columns.allow` "
                               "if they are known when the prediction is made.",
                        details={"leaks": [each.as_json() for each in leaks]})


def candidates(this: Night) -> list[str]:
    return list(candidates_of(this.definition))


def train(this: Night, dataset: Dataset, name: str, *, threads: int) -> str:
    """Tune one candidate and keep it; return its name. A candidate that is kept already is not trained again."""
    folder = _candidate_folder(this, name)
    with this.stage(f"train-{name}") as notes:
        if (trained := load(folder)) is None:
            table = _table(this, dataset)
            split = holdout_split(table, this.definition)
            trained = train_candidate(name, candidates_of(this.definition)[name], table, split,
                                      folds(table, split, this.definition), this.definition, threads=threads)
            save(trained, folder)
        numbers = CandidateNumbers(name, trained.score, trained.deviation, trained.best, len(trained.settings), trained.seconds)
        notes.update(candidate=numbers, told=f"{this.definition.metric} {figure(trained.score)} ± {trained.deviation:.2g}")
        return name


def evaluate(this: Night, snapshot: Dataset, dataset: Dataset, names: Sequence[str]) -> Evaluated:
    """Evaluate the best candidate on the hold-out, beside the champion and the trivial baseline."""
    with this.stage("evaluate") as notes:
        table = _table(this, dataset)
        split = holdout_split(table, this.definition)
        trained = {name: _trained(this, name) for name in names}
        best = choose([each for name, each in trained.items() if name != BASELINE], this.definition)
        threshold = choose_threshold(best, table, this.definition)
        rival, unscored = _rival(this, snapshot)
        result = evaluate_holdout(this.definition, table, split, challenger=best.pipeline,
                                  baseline=trained[BASELINE].pipeline, threshold=threshold, rival=rival, unscored=unscored)
        best_figure = (result.metrics["challenger"] or {})[this.definition.metric]
        notes.update(chosen=best.name, metrics=result.metrics, model_sha256=best.model_sha256,
                     evaluation={**result.as_json(), "classes": table.classes},
                     told=f"{best.name}: {this.definition.metric} {interval(best_figure)} on {result.rows:,} held-out rows")
        figures = metrics_row(result, this.definition.metric)
        return Evaluated(best.name, threshold, _store_frame(this, predictions_table(table, split, result, _before(this)), "predictions"),
                         _store_frame(this, pd.DataFrame([figures]), "metrics"), figures, result.against_baseline,
                         result.against_champion, result.unscored)


def decide(this: Night, evaluated: Evaluated) -> Decision:
    """Say whether the challenger shall become champion."""
    with this.stage("decide") as notes:
        champion = releases.champion_of(this.settings, this.run.model)
        same = champion is not None and this.notes()["evaluate"]["model_sha256"] == \
            releases.read_manifest(this.settings.store, this.run.model, champion).model_sha256
        decision = decisions.decide(this.definition, against_champion=evaluated.against_champion,
                                    against_baseline=evaluated.against_baseline, unscored=evaluated.unscored,
                                    champion=champion, challenger=this.run.run, same=same)
        notes.update(decision=decision.as_json(), told=decision.sentence)
        return decision


def release(this: Night, dataset: Dataset, evaluated: Evaluated) -> str:
    """Write the challenger's release; return its address."""
    with this.stage("release") as notes:
        table = _table(this, dataset)
        split = holdout_split(table, this.definition)
        best = _trained(this, evaluated.chosen)
        notes_before = this.notes()
        manifest = releases.Manifest(
            model=this.run.model, version=this.run.run, task=this.definition.task, model_sha256=best.model_sha256, files={},
            inputs={str(name): str(kind) for name, kind in table.frame.dtypes.items()}, classes=list(table.classes),
            raw={each["name"]: each["type"] for each in notes_before["collect"]["dataset"]["columns"]
                 if each["name"] not in this.definition.not_inputs},
            threshold=evaluated.threshold if this.definition.task == "binary" else None,
            dataset=notes_before["collect"]["dataset"]["sha256"], features=dataset.sha256,
            contracts={name.removeprefix("gate-"): note["gate"]["sha256"] for name, note in notes_before.items()
                       if name.startswith("gate-") and "gate" in note},
            trained_from=_time(table, split, 0), trained_until=_time(table, split, -1),
            code=code_version(this.settings.root), definition=this.definition.model_dump_json(),
            metrics=notes_before["evaluate"]["metrics"]["challenger"])
        releases.write_release(this.settings.store, manifest, pipeline=best.pipeline, training_rows=table.rows[split.train],
                               probes=table.frame.iloc[split.holdout[:releases.PROBES]])
        address = this.settings.store.address(releases.release_key(this.run.model, this.run.run))
        notes.update(told=f"version {this.run.run}")
        return address


def report(this: Night, decision: Decision) -> Documents:
    """Write the report and the model card of the run."""
    with this.stage("report") as notes:
        record = assemble(this, decision.verdict, decision.sentence)
        dataset = Dataset.from_json(this.notes()["collect"]["dataset"])
        with this.settings.store.local_copy(dataset.uri) as path:
            columns = profile(path, dataset.columns, sensitive=frozenset(this.definition.privacy.mask))
        written = reports.write(this.settings.store, record, columns)
        notes.update(report=written.report_address, told=written.report_address)
        return written


def register(this: Night, decision: Decision, written: Documents) -> None:
    """Write the retraining down in MLflow."""
    with this.stage("register") as notes:
        record = assemble(this, decision.verdict, decision.sentence)
        challenger = record.metrics.get("challenger") or {}
        registry.record(this.settings, registry.Entry(
            model=record.model, run=record.run,
            files={"report.html": written.report_html, "report.md": written.report_markdown, "card.md": written.card,
                   **{f"plots/{title.lower().replace(' ', '-')}.svg": drawing for title, drawing in written.drawings.items()}},
            parameters={each.name: str(dict(each.settings)) for each in record.candidates},
            metrics={name: figure.value for name, figure in challenger.items()},
            tags={"verdict": record.verdict, "as_of": record.as_of, "code": record.code,
                  "model_sha256": record.model_sha256 or "", "dataset_sha256": (record.dataset or {}).get("sha256", ""),
                  **{f"contract.{gate.boundary}": gate.sha256 for gate in record.gates}},
            release=this.settings.store.address(releases.release_key(record.model, record.run))))
        notes["told"] = f"{record.model} run {record.run} in MLflow"


def promote(this: Night, decision: Decision) -> None:
    """Make the challenger serve; raise ModelBusy when the lease was lost, NotVerified when the release does not verify."""
    with this.stage("promote") as notes:
        if not runs.still_held(this.settings.registry, this.run):
            raise ModelBusy(f"Run {this.run.run} lost its hold on {this.run.model}; nothing was promoted.",
                            remedy=f"Another run took over: see `nightgate history {this.run.model}`.")
        releases.promote(this.settings.store, this.run.model, this.run.run, as_of=str(this.as_of), why=decision.sentence)
        notes["told"] = f"run {this.run.run} serves"


def conclude(this: Night, decision: Decision) -> RunRecord:
    """Let the registry's aliases follow the pointer, and write the record: the run is over."""
    with this.stage("conclude") as notes:
        mended = registry.reconcile(this.settings, this.run.model)
        notes["told"] = "; ".join(mended) or "aliases agree with the pointer"
    return write_down(this, assemble(this, decision.verdict, decision.sentence))


def pinned_types(settings: Settings, model: str) -> dict[str, ColumnType] | None:
    """Return the column types that the raw contract keeps, None where it keeps none."""
    try:
        suite = read_suite(settings.contracts_of(model) / "raw.json")
    except FileMissing as error:
        raise FileMissing(f"{model} has no contract for its raw data: {error.message}",
                          remedy=f"`nightgate new {model} …` writes one.") from None
    pinned: dict[str, ColumnType] | None = suite.meta.get("nightgate", {}).get("columns")
    return pinned


def _table(this: Night, dataset: Dataset) -> Table:
    return _read_once(this.settings.store.url, dataset, this.definition.model_dump_json())


@lru_cache(maxsize=1)
def _read_once(store_url: str, dataset: Dataset, definition: str) -> Table:
    """Keep the last table: the stages of a run that share a process read it once."""
    return read_table(dataset, Definition.model_validate_json(definition))


def _candidate_folder(this: Night, name: str) -> Path:
    return this.settings.store.folder(f"{this.folder}/candidates/{name}")


def _trained(this: Night, name: str) -> Trained:
    trained = load(_candidate_folder(this, name))
    if trained is None:
        raise FileMissing(f"Candidate {name} of {this.run.model} run {this.run.run} is not there.",
                          remedy=f"`nightgate run {this.run.model}` trains it again.")
    return trained


def _rival(this: Night, snapshot: Dataset) -> tuple[Rival | None, str]:
    """Return the champion with its own features of today's rows, or why there is none."""
    champion = releases.champion_of(this.settings, this.run.model)
    if champion is None:
        return None, ""
    served = releases.read_release(this.settings.store, this.run.model, champion)
    definition = Definition.model_validate_json(served.manifest.definition)
    if definition.task != this.definition.task or definition.target != this.definition.target:
        return None, f"It predicts {definition.target} as {definition.task}, the definition now says otherwise."
    missing = sorted({*served.manifest.raw} - {*snapshot.names})
    if missing:
        return None, f"It needs {', '.join(missing[:5])}, which today's data no longer have."
    frame = _table(this, features.engineer(definition, this.settings, snapshot)).frame
    return Rival(champion, served.pipeline, frame, served.manifest.threshold or 0.5, served.training_rows), ""


def _before(this: Night) -> Sequence[float]:
    """Return the champion's mean prediction when it was evaluated; nothing where there is no champion or no record of that."""
    champion = releases.champion_of(this.settings, this.run.model)
    if champion is None or champion not in run_numbers(this.settings.store, this.run.model):
        return ()
    mean: Sequence[float] = read_record(this.settings.store, this.run.model, champion).evaluation.get("mean", ())
    return mean


def _store_frame(this: Night, frame: pd.DataFrame, folder: str) -> Dataset:
    with working_folder(this.settings.store) as work:
        path = work / "table.parquet"
        frame.to_parquet(path, index=False)
        uri, digest = this.settings.store.put_file(path, folder=folder, suffix=".parquet")
    types = tuple(Column(str(name), "number" if pd.api.types.is_numeric_dtype(kind) else "text")
                  for name, kind in frame.dtypes.items())
    return Dataset(uri, digest, len(frame), types)


def _time(table: Table, split: Split, place: int) -> str | None:
    """Return the first (0) or last (-1) event time of the training rows."""
    return None if table.time is None else str(np.sort(table.time[split.train])[place])

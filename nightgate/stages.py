"""The stages of a retraining as plain functions: what a flow's tasks call, and what a notebook may call."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from nightgate import decisions, features, leakage, monitoring, registry, releases, runs, snapshots
from nightgate.contracts.suites import read_suite
from nightgate.datasets import Column, ColumnType, Dataset
from nightgate.decisions import Comparison, Decision
from nightgate.drift.performance import promise
from nightgate.errors import DataUnusable, FileMissing, LeakFound, ModelBusy
from nightgate.evaluation.holdout import evaluate as evaluate_holdout
from nightgate.evaluation.holdout import metrics_row, predictions_of, predictions_table, rival_of
from nightgate.evaluation.metrics import Scored
from nightgate.nights import Night, assemble, code_version
from nightgate.nights import conclude as write_down
from nightgate.profile import profile as profile_columns
from nightgate.records import CandidateNumbers, Interval, RunRecord, history, read_record, run_numbers
from nightgate.reports import writing as reports
from nightgate.reports.writing import Documents
from nightgate.scoring.releasing import files_of
from nightgate.splits import Split, holdout_split
from nightgate.spool import working_folder
from nightgate.tables import Table, read_once
from nightgate.training.candidates import BASELINE, candidates_of
from nightgate.training.saving import load, save
from nightgate.training.tuning import Trained, Work, choose, choose_threshold, train_candidate
from nightgate.wording import counted, figure, interval


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


def collect(night: Night) -> Dataset:
    """Take the snapshot of the run's window."""
    with night.stage("collect") as notes:
        raw = read_suite(night.settings.contracts_of(night.run.model) / "raw.json")
        snapshot = snapshots.collect(night.definition, night.settings, as_of=night.as_of, types=raw.columns)
        if night.definition.source.nightly:
            _demand_new(night, snapshot.dataset)
        notes.update(dataset=snapshot.dataset, collected=snapshot,
                     told=f"{counted(snapshot.dataset.rows, 'row')} of {counted(len(snapshot.dataset.columns), 'column')}")
        return snapshot.dataset


def _demand_new(night: Night, dataset: Dataset) -> None:
    """Raise DataUnusable for the rows of an earlier night, where the source is declared to change every night."""
    same = [record for record in history(night.settings.store, night.run.model)
            if record.as_of < str(night.as_of) and (record.dataset or {}).get("sha256") == dataset.sha256]
    if same:
        raise DataUnusable(f"The rows are those of run {same[-1].run}, as of {same[-1].as_of}: a stale copy.",
                           remedy="See why the source has nothing new; where that may be, take `nightly` out of [source].")


def engineer(night: Night, snapshot: Dataset) -> Dataset:
    """Make the feature table of a snapshot."""
    with night.stage("engineer") as notes:
        table = features.engineer(night.definition, night.settings, snapshot)
        notes.update(dataset=table, told=f"{counted(len(table.columns), 'column')}, {table.sha256[:12]}")
        return table


def look_for_leaks(night: Night, dataset: Dataset) -> None:
    """Stop on a column that gives the target away; what only looks odd becomes a warning of the record."""
    with night.stage("look-for-leaks") as notes:
        table = _table(night, dataset)
        found = leakage.find(night.definition, table, holdout_split(table, night.definition))
        leaks = [each for each in found if each.stops]
        warnings = [str(each) for each in found if not each.stops]
        if table.infinite:
            warnings.append(f"{counted(table.infinite, 'infinite value')} count as missing.")
        notes.update(warnings=warnings, leaks=found, told=f"{counted(len(leaks), 'leak')}, {counted(len(found) - len(leaks), 'warning')}")
    if leaks:
        names = sorted({name for each in leaks for name in each.columns if each.kind != leakage.EQUAL_ROWS})
        told = f"add {', '.join(names)} to `columns.exclude`, or to `columns.allow` if known when the prediction is made" if names else \
            "name the `entity` that equal rows share"
        raise LeakFound("\n".join(str(each) for each in leaks), remedy=f"In models/{night.run.model}.toml {told}.",
                        details={"leaks": [asdict(each) for each in leaks]})


def candidates(night: Night) -> list[str]:
    return list(candidates_of(night.definition))


def train(night: Night, dataset: Dataset, name: str, *, threads: int) -> str:
    """Tune one candidate and keep it; return its name. A candidate that is kept already is not trained again."""
    store, key = night.settings.store, _candidate_key(night, name)
    with night.stage(f"train-{name}") as notes:
        if (trained := load(store, key)) is None:
            trained = _train(night, dataset, Work.of(name, _table(night, dataset), night.definition, threads=threads))
            save(trained, store, key)
        numbers = CandidateNumbers(name, trained.score, trained.deviation, trained.best, len(trained.settings), trained.seconds)
        notes.update(candidate=numbers, told=f"{night.definition.metric} {figure(trained.score)} ± {trained.deviation:.2g}")
        return name


def _train(night: Night, dataset: Dataset, work: Work) -> Trained:
    """Train in this process, or on the installation's cluster."""
    if (address := night.settings.dask) is None:
        return train_candidate(work)
    from nightgate.cluster import connected
    from nightgate.training.scaled import OnCluster

    with connected(address, night.settings.root) as cluster:
        return train_candidate(work, OnCluster(cluster, dataset, night.definition.model_dump_json(), work.name))


def evaluate(night: Night, snapshot: Dataset, dataset: Dataset, names: Sequence[str]) -> Evaluated:
    """Evaluate the best candidate on the hold-out, beside the champion and the trivial baseline."""
    with night.stage("evaluate") as notes:
        table = _table(night, dataset)
        split = holdout_split(table, night.definition)
        trained = {name: _trained(night, name) for name in names}
        best = choose([each for name, each in trained.items() if name != BASELINE], night.definition)
        threshold = choose_threshold(best, table, night.definition)
        every = Dataset.from_json(night.notes()["engineer"]["dataset"])
        rival, unscored = rival_of(night.settings, night.definition, snapshot, table, every)
        with threadpool_limits(1, "blas"):  # the products of a bootstrap are small: one thread is as fast, and waits for no other
            result = evaluate_holdout(night.definition, table, split, challenger=best.pipeline,
                                      baseline=trained[BASELINE].pipeline, threshold=threshold, rival=rival, unscored=unscored)
        best_figure = (result.metrics["challenger"] or {})[night.definition.metric]
        notes.update(chosen=best.name, metrics=result.metrics, model_sha256=best.model_sha256,
                     evaluation={**result.as_json(), "classes": table.classes},
                     told=f"{best.name}: {night.definition.metric} {interval(best_figure)} on {result.rows:,} held-out rows")
        figures = metrics_row(result, night.definition.metric)
        return Evaluated(best.name, threshold, _store_frame(night, predictions_table(table, split, result, _before(night)), "predictions"),
                         _store_frame(night, pd.DataFrame([figures]), "metrics"), figures, result.against_baseline,
                         result.against_champion, result.unscored)


def decide(night: Night, evaluated: Evaluated) -> Decision:
    """Say whether the challenger shall become champion."""
    with night.stage("decide") as notes:
        champion = releases.champion_of(night.settings, night.run.model)
        same = champion is not None and night.notes()["evaluate"]["model_sha256"] == \
            releases.read_manifest(night.settings.store, night.run.model, champion).model_sha256
        decision = decisions.decide(night.definition, against_champion=evaluated.against_champion,
                                    against_baseline=evaluated.against_baseline, unscored=evaluated.unscored,
                                    champion=champion, challenger=night.run.run, same=same)
        if night.dry_run and decision.verdict != "kept":
            decision = Decision("kept", f"Dry run, nothing was changed: {decision.sentence}", decision.rule, decision.comparison)
        notes.update(decision=decision, told=decision.sentence)
        return decision


def profile(night: Night, snapshot: Dataset, dataset: Dataset, evaluated: Evaluated) -> None:
    """Write what monitoring compares with: counts of the columns that a prediction needs, and of the held-out predictions."""
    with night.stage("profile") as notes:
        table, definition = _table(night, dataset), night.definition
        holdout = holdout_split(table, definition).holdout
        losses = {each["column"]: each["loss"] for each in night.notes()["evaluate"]["evaluation"]["importances"]}
        with night.settings.store.local_copy(snapshot.uri) as path:
            reference = monitoring.learn_snapshot(definition, path, snapshot.names, losses)
        with night.settings.store.local_copy(evaluated.predictions.uri) as path:
            predictions = predictions_of(pd.read_parquet(path))
        reference = monitoring.with_predictions(reference, predictions, table.classes, None if table.time is None else table.time[holdout])
        scored = Scored(definition.task, table.target[holdout], predictions, np.arange(len(holdout)), evaluated.threshold)
        promised = promise(scored, definition.metric, Interval(**night.notes()["evaluate"]["metrics"]["challenger"][definition.metric]))
        content = reference.to_bytes()
        night.settings.store.write(f"{night.folder}/{monitoring.PROFILE}", content)
        night.settings.store.write_json(f"{night.folder}/{monitoring.PROMISE}", promised)
        notes.update(told=f"{counted(len(reference.axes), 'column')}, {len(content) / 1024:,.0f} KiB, "
                     + ("calibrated" if reference.calibrated else "uncalibrated: too few days"))


def release(night: Night, dataset: Dataset, evaluated: Evaluated) -> str:
    """Write the challenger's release; return its address."""
    with night.stage("release") as notes:
        table = _table(night, dataset)
        split = holdout_split(table, night.definition)
        best = _trained(night, evaluated.chosen)
        notes_before = night.notes()
        columns: dict[str, ColumnType] = {each["name"]: each["type"] for each in notes_before["collect"]["dataset"]["columns"]}
        manifest = releases.Manifest(
            model=night.run.model, version=night.run.run, task=night.definition.task, model_sha256=best.model_sha256, files={},
            inputs={str(name): str(kind) for name, kind in table.frame.dtypes.items()}, classes=list(table.classes),
            raw={name: kind for name, kind in columns.items() if name not in night.definition.not_inputs},
            keys={name: columns[name] for name in night.definition.entity if name in night.definition.not_inputs},
            threshold=evaluated.threshold if night.definition.task == "binary" else None,
            dataset=notes_before["collect"]["dataset"]["sha256"], features=dataset.sha256,
            contracts={name.removeprefix("gate-"): note["gate"]["sha256"] for name, note in notes_before.items()
                       if name.startswith("gate-") and "gate" in note},
            trained_from=_time(table, split, 0), trained_until=_time(table, split, -1),
            code=code_version(night.settings.root), definition=night.definition.model_dump_json(),
            metrics=notes_before["evaluate"]["metrics"]["challenger"])
        made, files = files_of(night.definition, night.settings, manifest, best.pipeline, table=table, split=split,
                               snapshot=Dataset.from_json(notes_before["collect"]["dataset"]),
                               contract=read_suite(night.settings.contracts_of(night.run.model) / "raw.json"))
        releases.write_release(night.settings, made, files)
        address = night.settings.store.address(releases.release_key(night.run.model, night.run.run))
        how = f"falls back to scikit-learn, for want of {made.falls_back}" if made.falls_back else "compiled, and equal to scikit-learn"
        notes.update(scores=how, told=f"version {night.run.run}, {how}")
        return address


def report(night: Night, decision: Decision) -> Documents:
    """Write the report and the model card of the run."""
    with night.stage("report") as notes:
        record = assemble(night, decision.verdict, decision.sentence)
        dataset = Dataset.from_json(night.notes()["collect"]["dataset"])
        with night.settings.store.local_copy(dataset.uri) as path:
            columns = profile_columns(path, dataset.columns, sensitive=frozenset(night.definition.privacy.mask))
        written = reports.write(night.settings.store, record, columns)
        notes.update(report=written.report_address, told="with model card")
        return written


def register(night: Night, decision: Decision, written: Documents) -> None:
    """Write the retraining down in MLflow."""
    with night.stage("register") as notes:
        record = assemble(night, decision.verdict, decision.sentence)
        challenger = record.metrics.get("challenger") or {}
        registry.record(night.settings, registry.Entry(
            model=record.model, run=record.run,
            files={"report.html": written.report_html, "report.md": written.report_markdown, "card.md": written.card,
                   **{f"plots/{title.lower().replace(' ', '-')}.svg": drawing for title, drawing in written.drawings.items()}},
            parameters={each.name: str(dict(each.settings)) for each in record.candidates},
            metrics={name: figure.value for name, figure in challenger.items()},
            tags={"verdict": record.verdict, "as_of": record.as_of, "code": record.code,
                  "model_sha256": record.model_sha256 or "", "dataset_sha256": (record.dataset or {}).get("sha256", ""),
                  **{f"contract.{gate.boundary}": gate.sha256 for gate in record.gates}},
            release=night.settings.store.address(releases.release_key(record.model, record.run))))
        notes["told"] = f"{record.model} run {record.run} in MLflow"


def promote(night: Night, decision: Decision) -> None:
    """Make the challenger serve; raise ModelBusy when the lease was lost, NotVerified when the release does not verify."""
    with night.stage("promote") as notes:
        if not runs.still_held(night.settings.registry, night.run):
            raise ModelBusy(f"Run {night.run.run} lost its hold on {night.run.model}; nothing was promoted.",
                            remedy=f"Another run took over: see `nightgate history {night.run.model}`.")
        releases.promote(night.settings, night.run.model, night.run.run, as_of=str(night.as_of), why=decision.sentence)
        notes["told"] = f"run {night.run.run} serves"


def conclude(night: Night, decision: Decision) -> RunRecord:
    """Let the registry's aliases follow the pointer, and write the record: the run is over."""
    with night.stage("conclude") as notes:
        mended = registry.reconcile(night.settings, night.run.model)
        notes["told"] = "; ".join(mended) or "aliases agree with the pointer"
    return write_down(night, assemble(night, decision.verdict, decision.sentence))


def _table(night: Night, dataset: Dataset) -> Table:
    return read_once(dataset, night.definition.model_dump_json())[0]


def _candidate_key(night: Night, name: str) -> str:
    return f"{night.folder}/candidates/{name}"


def _trained(night: Night, name: str) -> Trained:
    trained = load(night.settings.store, _candidate_key(night, name))
    if trained is None:
        raise FileMissing(f"Candidate {name} of {night.run.model} run {night.run.run} is not there.",
                          remedy=f"`nightgate run {night.run.model}` trains it again.")
    return trained


def _before(night: Night) -> Sequence[float]:
    """Return the champion's mean prediction when it was evaluated; nothing where there is no champion or no record of that."""
    champion = releases.champion_of(night.settings, night.run.model)
    if champion is None or champion not in run_numbers(night.settings.store, night.run.model):
        return ()
    mean: Sequence[float] = read_record(night.settings.store, night.run.model, champion).evaluation.get("mean", ())
    return mean


def _store_frame(night: Night, frame: pd.DataFrame, folder: str) -> Dataset:
    with working_folder(night.settings.store) as work:
        path = work / "table.parquet"
        frame.to_parquet(path, index=False)
        uri, digest = night.settings.store.put_file(path, folder=folder, suffix=".parquet")
    types = tuple(Column(str(name), "number" if pd.api.types.is_numeric_dtype(kind) else "text")
                  for name, kind in frame.dtypes.items())
    return Dataset(uri, digest, len(frame), types)


def _time(table: Table, split: Split, place: int) -> str | None:
    """Return the first (0) or last (-1) event time of the training rows."""
    return None if table.time is None else str(np.sort(table.time[split.train])[place])

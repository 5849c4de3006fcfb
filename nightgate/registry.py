"""The record in MLflow: a run per retraining, a registered version per evaluated challenger, and the aliases.

The release pointer is the truth; the aliases follow it and are mended at every start.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.addresses import shown
from nightgate.errors import StoreError
from nightgate.keyfiles import locked
from nightgate.releases import read_pointer
from nightgate.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SQLITE = "sqlite:///"
RUN = "nightgate.run"
"""Tag of runs and versions: the number of the Nightgate run."""

LONGEST_PARAMETER = 500
"""Characters of a parameter's value: the least that MLflow's stores accept."""


@dataclass(frozen=True)
class Entry:
    """What one retraining leaves in MLflow. `release` is the address of the challenger's release."""

    model: str
    run: int
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, str]
    release: str


def record(settings: Settings, entry: Entry) -> None:
    """Write one retraining down, once: a repeated call for the same run replaces nothing and adds nothing.

    Raises StoreError when the registry cannot be used or belongs to a newer MLflow.
    """
    from mlflow.exceptions import MlflowException

    with _client(settings) as client:
        experiment = _experiment(client, settings, entry.model)
        if _version_of(client, entry.model, entry.run) is not None:
            return
        run_id = _mlflow_run(client, experiment, entry)
        if not _has_model(client, entry.model):
            with contextlib.suppress(MlflowException):  # another process was quicker
                client.create_registered_model(entry.model)
        version = client.create_model_version(entry.model, source=entry.release, run_id=run_id,
                                              tags={RUN: str(entry.run), **entry.tags})
        client.set_registered_model_alias(entry.model, "challenger", version.version)


def reconcile(settings: Settings, model: str) -> list[str]:
    """Make the aliases say what the pointer says; return a sentence for each that was mended."""
    pointer = read_pointer(settings.store, model)
    wanted = {} if pointer is None else {"champion": pointer.version, "previous": pointer.previous}
    with _client(settings) as client:
        if not _has_model(client, model):
            return []
        mended = []
        aliases = client.get_registered_model(model).aliases
        for alias in ("champion", "previous"):
            run = wanted.get(alias)
            version = None if run is None else _version_of(client, model, run)
            if version is None and alias in aliases:
                client.delete_registered_model_alias(model, alias)
                mended.append(f"alias `{alias}` removed: nothing serves under it")
            elif version is not None and str(aliases.get(alias)) != version:
                client.set_registered_model_alias(model, alias, version)
                mended.append(f"alias `{alias}` set to run {run}")
        challenger = aliases.get("challenger")
        if challenger is not None and "champion" in wanted and str(challenger) == _version_of(client, model, wanted["champion"] or 0):
            client.delete_registered_model_alias(model, "challenger")
        return mended


def remove(settings: Settings, model: str, *, kept: Sequence[int] = ()) -> None:
    """Delete a model's versions and aliases, but those of runs that are `kept`; its MLflow runs stay until MLflow's own garbage
    collection, and with a kept run for good."""
    with _client(settings) as client:
        if kept:
            for version in client.search_model_versions(f"name = '{model}'"):
                if int(version.tags.get(RUN, 0)) not in kept:
                    client.delete_model_version(model, version.version)
            return
        if _has_model(client, model):
            client.delete_registered_model(model)
        experiment = client.get_experiment_by_name(model)
        if experiment is not None and experiment.lifecycle_stage == "active":
            client.rename_experiment(experiment.experiment_id, f"{model} (removed {experiment.experiment_id})")
            client.delete_experiment(experiment.experiment_id)


def remove_runs(settings: Settings, model: str, numbers: Sequence[int]) -> None:
    """Delete the runs and versions of these numbers; MLflow's garbage collection frees their space."""
    with _client(settings) as client:
        experiment = client.get_experiment_by_name(model)
        for number in numbers:
            version = _version_of(client, model, number)
            if version is not None:
                client.delete_model_version(model, version)
            for run in client.search_runs([experiment.experiment_id], f"tags.`{RUN}` = '{number}'") if experiment is not None else ():
                client.delete_run(run.info.run_id)


def tracking_uri(settings: Settings) -> str:
    """Return where MLflow's tables are: beside a registry in SQLite in a file of their own, since MLflow does not make them in one step."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named or not settings.registry.startswith(SQLITE):
        return named or settings.registry
    return f"{SQLITE}{Path(settings.registry.removeprefix(SQLITE)).with_name('mlflow.db')}"


def _mlflow_run(client: "MlflowClient", experiment: str, entry: Entry) -> str:
    from mlflow.entities import Metric, Param, RunTag

    found = client.search_runs([experiment], f"tags.`{RUN}` = '{entry.run}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    run_id = str(client.create_run(experiment, run_name=f"{entry.model} {entry.run}").info.run_id)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in entry.metrics.items()],
        params=[Param(name, value[:LONGEST_PARAMETER]) for name, value in entry.parameters.items()],
        tags=[RunTag(name, value) for name, value in entry.tags.items()])
    for name, content in entry.files.items():
        client.log_text(run_id, content, name)
    client.set_terminated(run_id)
    client.set_tag(run_id, RUN, str(entry.run))  # last: a run that was killed before is not found, and written again
    return run_id


def _experiment(client: "MlflowClient", settings: Settings, model: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(model)
    if found is not None:
        return str(found.experiment_id)
    # Without a place of its own MLflow makes a folder `mlruns` in the working directory.
    own = "MLFLOW_TRACKING_URI" not in os.environ
    try:
        return str(client.create_experiment(model, artifact_location=settings.store.address("mlflow") if own else None))
    except MlflowException:  # another process was quicker
        found = client.get_experiment_by_name(model)
        if found is None:
            raise
        return str(found.experiment_id)


def _has_model(client: "MlflowClient", model: str) -> bool:
    return bool(client.search_registered_models(f"name = '{model}'"))


def _version_of(client: "MlflowClient", model: str, run: int) -> str | None:
    found = client.search_model_versions(f"name = '{model}' and tags.`{RUN}` = '{run}'", max_results=1)
    return str(found[0].version) if found else None


@contextlib.contextmanager
def _client(settings: Settings) -> Iterator["MlflowClient"]:
    import logging

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it sets its own level when it is imported
    uri = tracking_uri(settings)
    try:
        with _created_once(uri):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        yield client
    except (MlflowException, SQLAlchemyError) as error:
        reason = str(error).strip().splitlines()[0].replace(uri, "the registry")
        raise StoreError(f"MLflow's registry cannot be used: {reason}",
                         remedy="Check NIGHTGATE_REGISTRY or MLFLOW_TRACKING_URI. Tables of an older MLflow are brought up to date by "
                                f"`mlflow db upgrade {shown(uri)}`, after a copy; those of a newer one need that one.") from None


@contextlib.contextmanager
def _created_once(uri: str) -> Iterator[None]:
    """Let one process at a time make the tables, and in SQLite whole: a kill in the middle leaves none."""
    if uri.startswith("postgresql"):
        from sqlalchemy import create_engine, func, select

        engine = create_engine(uri)
        with engine.connect() as connection:
            connection.execute(select(func.pg_advisory_lock(0x4E68)))  # until the connection ends
            yield
        engine.dispose()
        return
    if not uri.startswith(SQLITE):
        yield
        return
    from mlflow.tracking import MlflowClient

    path = Path(uri.removeprefix(SQLITE))
    with locked(path):
        if not path.exists():
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            MlflowClient(tracking_uri=f"{SQLITE}{partial}").search_experiments(max_results=1)
            partial.replace(path)
        yield

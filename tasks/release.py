"""Release: what the prediction service would load, for every evaluated challenger."""

from prefect import task

from nightgate import stages
from nightgate.datasets import Dataset
from nightgate.nights import Night
from tasks import artifacts
from tasks.policy import once_per_run


@task(name="release", task_run_name="release", cache_key_fn=once_per_run, persist_result=True)
def release(night: Night, dataset: Dataset, evaluated: stages.Evaluated) -> str:
    """Write the release and show how it scores, and why where it falls back."""
    address = stages.release(night, dataset, evaluated)
    artifacts.release(night, f"Version {night.run.run}: {night.notes()['release']['scores']}")
    return address

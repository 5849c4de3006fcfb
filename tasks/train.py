"""Train: tune one candidate on the folds that all candidates share."""

from joblib import cpu_count
from prefect import task

from nightgate import stages
from nightgate.datasets import Dataset
from nightgate.nights import Night
from tasks.policy import once_per_run

candidates = stages.candidates


@task(name="train", task_run_name="train {name}", cache_key_fn=once_per_run, persist_result=True)
def train(night: Night, dataset: Dataset, name: str) -> str:
    """Use all processors that this process may use."""
    return stages.train(night, dataset, name, threads=cpu_count())

"""Train: tune each candidate on the folds that all share."""

from joblib import cpu_count
from prefect import task

from nightgate import stages
from nightgate.datasets import Dataset
from nightgate.nights import Night
from tasks.policy import may_be_retried, once_per_run


@task(name="train", task_run_name="train {name}", cache_key_fn=once_per_run, persist_result=True, retries=3,
      retry_delay_seconds=[10, 60, 300], retry_condition_fn=may_be_retried)
def train(night: Night, dataset: Dataset, name: str) -> str:
    """Use all processors that this process may use, or the cluster, which is asked again where it does not answer."""
    return stages.train(night, dataset, name, threads=cpu_count())


def train_all(night: Night, dataset: Dataset) -> list[str]:
    """Train one candidate after the other, since each uses the whole machine; on a cluster all at once."""
    if night.settings.dask is None:
        return [train(night, dataset, name) for name in stages.candidates(night)]
    return [future.result() for future in [train.submit(night, dataset, name) for name in stages.candidates(night)]]

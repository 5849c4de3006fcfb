"""Collect: the run's window of the source becomes a snapshot."""

from prefect import task

from nightgate import stages
from nightgate.datasets import Dataset
from nightgate.nights import Night
from tasks.policy import may_be_retried, once_per_run


@task(name="collect", task_run_name="collect {night.definition.source.data}", retries=3, retry_delay_seconds=[10, 60, 300],
      retry_condition_fn=may_be_retried, cache_key_fn=once_per_run, persist_result=True)
def collect(night: Night) -> Dataset:
    """Take the snapshot; a source that does not answer is asked again."""
    return stages.collect(night)

"""Engineer: the snapshot becomes the feature table."""

from prefect import task

from nightgate import stages
from tasks.policy import once_per_run

engineer = task(name="engineer", task_run_name="engineer features", cache_key_fn=once_per_run, persist_result=True)(
    stages.engineer)

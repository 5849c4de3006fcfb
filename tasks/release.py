"""Release: what the prediction service would load, for every evaluated challenger."""

from prefect import task

from nightgate import stages
from tasks.policy import once_per_run

release = task(name="release", task_run_name="release", cache_key_fn=once_per_run, persist_result=True)(stages.release)

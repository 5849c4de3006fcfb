"""Profile: what monitoring compares with, written at training."""

from prefect import task

from nightgate import stages
from tasks.policy import once_per_run

profile = task(name="profile", task_run_name="profile", cache_key_fn=once_per_run, persist_result=True)(stages.profile)

"""Evaluate: the best candidate on the hold-out, beside champion and baseline."""

from prefect import task

from nightgate import stages
from tasks.policy import once_per_run

evaluate = task(name="evaluate", task_run_name="evaluate", cache_key_fn=once_per_run, persist_result=True)(stages.evaluate)

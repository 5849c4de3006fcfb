"""Conclude: the registry's aliases follow the pointer, and the run's record is written."""

from prefect import task

from nightgate import stages

conclude = task(name="conclude", task_run_name="conclude")(stages.conclude)

"""Promote: the last step, one atomic replacement of the pointer, verified; the registry follows."""

from prefect import task

from nightgate import stages
from nightgate.decisions import Decision
from nightgate.nights import Night


@task(name="promote", task_run_name="promote {night.run.run}")
def promote(night: Night, decision: Decision) -> None:
    """Make the challenger serve."""
    stages.promote(night, decision)

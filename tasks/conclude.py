"""Conclude: the registry's aliases follow the pointer, and the run's record is written and shown."""

from prefect import task

from nightgate import stages
from nightgate.decisions import Decision
from nightgate.nights import Night
from nightgate.records import RunRecord
from tasks import artifacts


@task(name="conclude", task_run_name="conclude")
def conclude(night: Night, decision: Decision) -> RunRecord:
    """Return the record."""
    record = stages.conclude(night, decision)
    artifacts.verdict(record)
    return record

"""Decide: challenger against champion."""

from prefect import task

from nightgate import stages
from nightgate.decisions import Decision
from nightgate.nights import Night
from tasks import artifacts
from tasks.policy import once_per_run


@task(name="decide", task_run_name="decide", cache_key_fn=once_per_run, persist_result=True)
def decide(night: Night, evaluated: stages.Evaluated) -> Decision:
    """Return the decision and show it."""
    decision = stages.decide(night, evaluated)
    artifacts.decision(night, decision)
    return decision

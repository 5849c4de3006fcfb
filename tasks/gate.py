"""Gate: check a boundary's contract, show what it found, let pass or stop."""

from prefect import task

from nightgate import gates
from nightgate.datasets import Dataset
from nightgate.nights import Night
from tasks import artifacts
from tasks.policy import once_per_run


@task(name="gate", task_run_name="gate {boundary}", cache_key_fn=once_per_run, persist_result=True)
def gate(night: Night, boundary: str, dataset: Dataset) -> Dataset:
    """Return what passed; the artifact is written whether it passes or not."""
    result = gates.pass_gate(night, boundary, dataset)
    artifacts.gate(f"{night.run.model}-gate", result, gates.told(night, result))
    return gates.let_pass(night, dataset, result)

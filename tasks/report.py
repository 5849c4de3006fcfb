"""Report: report and model card, as files, as artifacts and in MLflow."""

from prefect import task

from nightgate import stages
from nightgate.decisions import Decision
from nightgate.nights import Night
from tasks import artifacts
from tasks.policy import once_per_run


@task(name="report", task_run_name="report and register", cache_key_fn=once_per_run, persist_result=True)
def report(night: Night, decision: Decision) -> None:
    """Write report and card, show them, and write the retraining down in MLflow."""
    written = stages.report(night, decision)
    artifacts.documents(night, written)
    stages.register(night, decision, written)

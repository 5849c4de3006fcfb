"""A night as plain function calls, without Prefect: what replays and backtests run, and what orchestration's cost is measured against."""

from nightgate import stages
from nightgate.datasets import Dataset
from nightgate.decisions import Decision
from nightgate.gates import let_pass, pass_gate
from nightgate.nights import Night
from nightgate.records import RunRecord


def retrain(night: Night, *, threads: int) -> RunRecord:
    """Run all stages of a night and return its record; a broken gate raises ContractBroken."""
    return stages.conclude(night, decided(night, threads=threads))


def decided(night: Night, *, threads: int) -> Decision:
    """Run the stages of a night up to the promotion, and return the decision."""
    decision = released(night, threads=threads)
    stages.register(night, decision, stages.report(night, decision))
    if decision.verdict == "promoted":
        stages.promote(night, decision)
    return decision


def released(night: Night, *, threads: int) -> Decision:
    """Run the stages of a night up to the release, and return the decision."""
    snapshot = gated(night, "raw", stages.collect(night))
    table = gated(night, "features", stages.engineer(night, snapshot))
    stages.look_for_leaks(night, table)
    trained = [stages.train(night, table, name, threads=threads) for name in stages.candidates(night)]
    evaluated = stages.evaluate(night, snapshot, table, trained)
    gated(night, "predictions", evaluated.predictions)
    gated(night, "metrics", evaluated.metrics)
    decision = stages.decide(night, evaluated)
    stages.profile(night, snapshot, table, evaluated)
    stages.release(night, table, evaluated)
    return decision


def gated(night: Night, boundary: str, dataset: Dataset) -> Dataset:
    return let_pass(night, dataset, pass_gate(night, boundary, dataset))

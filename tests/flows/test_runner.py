"""A night of 200 models: the runner takes each once, in order, so many at once; one that fails or is killed stops no other."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Completed, Failed, Scheduled

from flows.runner import Runner

MODELS, AT_ONCE, STEPS = 200, 3, 4
FAILS, DIES = 7, 150
NIGHT = datetime(2026, 11, 24, 2, tzinfo=UTC)


@dataclass
class Answer:
    state: State[Any]
    status: SetStateStatus = SetStateStatus.ACCEPT


@dataclass
class Server:
    """What the runner asks of Prefect's server, in memory."""

    runs: dict[UUID, FlowRun] = field(default_factory=dict)

    def due(self, deployment: UUID, parameters: dict[str, Any], at: datetime, tags: tuple[str, ...] = ()) -> FlowRun:
        run = FlowRun(flow_id=uuid4(), deployment_id=deployment, name=f"run {len(self.runs)}", parameters=parameters, tags=[*tags],
                      next_scheduled_start_time=at, expected_start_time=at, state=Scheduled(scheduled_time=at))
        self.runs[run.id] = run
        return run

    def get_scheduled_flow_runs_for_deployments(self, deployments: list[UUID], **_: Any) -> list[FlowRun]:
        return [run for run in self.runs.values() if run.state is not None and run.state.is_scheduled() and run.deployment_id in deployments]

    def set_flow_run_state(self, run_id: UUID, state: State[Any], **_: Any) -> Answer:
        self.runs[run_id].state = state
        return Answer(state)

    def create_flow_run_from_deployment(self, deployment: UUID, *, parameters: dict[str, Any], tags: list[str], **_: Any) -> FlowRun:
        return self.due(deployment, parameters, NIGHT, (*tags,))

    def read_flow_runs(self, **_: Any) -> list[FlowRun]:
        return []  # nobody cancels

    def read_flow_run(self, run_id: UUID) -> FlowRun:
        return self.runs[run_id]

    def update_flow_run(self, run_id: UUID, *, infrastructure_pid: str) -> None:
        self.runs[run_id].infrastructure_pid = infrastructure_pid


@dataclass
class StandIn:
    """The process of a run that takes so many steps of the runner; then it has ended, failed, or been killed."""

    run: FlowRun
    left: int = STEPS
    exitcode: int | None = None

    def is_alive(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.exitcode = self._ended()
        return self.left > 0

    def _ended(self) -> int:
        number = self.run.parameters["number"]
        if number == DIES:
            self.run.state = State(type=StateType.RUNNING)
            return -9
        self.run.state = Failed() if number == FAILS else Completed()
        return int(number == FAILS)


def test_each_of_200_models_has_its_night_whatever_becomes_of_another() -> None:
    server, begun, most = Server(), [], 0
    deployments = [uuid4() for _ in range(MODELS)]
    for number, deployment in reversed([*enumerate(deployments)]):
        server.due(deployment, {"number": number}, NIGHT + timedelta(seconds=number))

    def begin(run: Any) -> Any:
        begun.append(run)
        return StandIn(run)

    runner = Runner(cast("Any", server), deployments, AT_ONCE, begin)
    for _ in range(MODELS * STEPS):
        runner.step()
        most = max(most, len(runner.running))

    numbers = [run.parameters["number"] for run in begun]
    states = Counter(run.state.type for run in server.runs.values() if run.state is not None)
    assert most == AT_ONCE
    assert Counter(numbers) == Counter({**dict.fromkeys(range(MODELS), 1), DIES: 2}), "what was killed is started again, once"
    assert [number for number in numbers if number != DIES] == [number for number in range(MODELS) if number != DIES]
    assert states == {StateType.COMPLETED: MODELS - 2, StateType.FAILED: 1, StateType.CRASHED: 2}
    assert not runner.running

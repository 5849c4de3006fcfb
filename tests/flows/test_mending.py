"""Runs that died without a word are marked and started again once, whichever machine they ran on."""

import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Crashed, Running, Scheduled

from flows.deploying import pause, write
from flows.mending import mend
from flows.runner import Runner
from nightgate.errors import UsageError
from nightgate.operations import deployed
from nightgate.processes import mark
from nightgate.records import history
from nightgate.runs import lease
from nightgate.settings import Settings
from tests.commands import said, shown
from tests.projects import copied, project, settings_of
from tests.servers import free_port

AT_ONCE = timedelta(0)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, prefect_api: str, empty_server: None) -> Settings:
    made = project(tmp_path_factory.mktemp("mending"), name="mended")
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(made.root))
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)  # forks know the environment, not this process's settings
    monkeypatch.chdir(made.root)
    return made


def begun(client: SyncPrefectClient, deployment: UUID) -> FlowRun:
    """Return a run that a machine took and said it was running."""
    run = client.create_flow_run_from_deployment(deployment, parameters={"model": "mended"}, state=Scheduled())
    client.set_flow_run_state(run.id, Running(), force=True)
    return run


def ended(runner: Runner, **parameters: str) -> State | None:
    """Let a runner run its deployment once; return the state in which the run ended."""
    run = runner.client.create_flow_run_from_deployment(runner.deployments[0], parameters=parameters, state=Scheduled())
    runner.step()
    runner.running[run.id].join()
    runner.step()
    return runner.client.read_flow_run(run.id).state


def test_a_dead_run_is_started_again_once(place: Settings) -> None:
    deployment = write(place).ids["retraining/mended"]
    with get_client(sync_client=True) as client:
        run = begun(client, deployment)

        first = mend(client, place, silent=AT_ONCE)
        second = mend(client, place, silent=AT_ONCE)
        again = [each for each in client.get_scheduled_flow_runs_for_deployments([deployment], limit=10) if "again" in each.tags]
        client.set_flow_run_state(again[0].id, Running(), force=True)
        third = mend(client, place, silent=AT_ONCE)
        states = [client.read_flow_run(each.id).state for each in (run, again[0])]
        last = [each for each in client.get_scheduled_flow_runs_for_deployments([deployment], limit=10) if "again" in each.tags]

    assert (first, second, third) == ([run.name], [], [again[0].name])
    assert all(state is not None and state.is_crashed() for state in states)
    assert len(again) == 1 and not last, "it was started a third time"


def test_a_run_that_was_terminated_and_said_so_is_started_again_once_too(place: Settings) -> None:
    with get_client(sync_client=True) as client:
        run = begun(client, write(place).ids["retraining/mended"])
        client.set_flow_run_state(run.id, Crashed(message="Execution was aborted by a termination signal."), force=True)

        assert [mend(client, place), mend(client, place)] == [[run.name], []]


def test_a_run_that_holds_its_model_lives(place: Settings) -> None:
    with get_client(sync_client=True) as client:
        run = begun(client, write(place).ids["retraining/mended"])
        with lease(place.registry, "mended", run_id=str(run.id), key="k"):
            assert mend(client, place, silent=AT_ONCE) == []
        assert mend(client, place, silent=timedelta(hours=1)) == []
        client.set_flow_run_state(run.id, Running(), force=True)
        assert mend(client, place, silent=AT_ONCE) == [run.name]


def test_what_ran_by_a_runner_of_this_machine_died_with_it(place: Settings) -> None:
    """Of another machine's nothing is known, and of a runner that lives nothing is wrong."""
    machine, process, since = mark().rsplit("|", 2)
    with get_client(sync_client=True) as client:
        deployment = write(place).ids["retraining/mended"]
        runs = [begun(client, deployment) for _ in range(3)]
        for run, runner in zip(runs, (mark(), f"another|{process}|{since}", f"{machine}|{process}|1"), strict=True):
            client.update_flow_run(run.id, infrastructure_pid=runner)

        found = mend(client, place, deployments={deployment})
        for run in runs[:2]:
            client.set_flow_run_state(run.id, Cancelled(), force=True)

    assert found == [runs[2].name]


def test_the_runner_runs_what_is_due_and_tells_of_what_was_killed(place: Settings) -> None:
    deployment = write(place).ids["retraining/mended"]
    with get_client(sync_client=True) as client:
        runner = Runner(client, [deployment], limit=1)
        done = ended(runner, model="mended", reason="a test")
        other = client.create_flow_run_from_deployment(deployment, parameters={"model": "mended"}, state=Scheduled())
        runner.step()
        runner.running[other.id].kill()
        runner.running[other.id].join()
        runner.step()
        killed = client.read_flow_run(other.id).state
        for each in runner.running.values():
            each.kill()

    assert done is not None and done.is_completed() and history(place.store, "mended")[0].trigger == "a test"
    assert killed is not None and killed.is_crashed() and "killed by signal 9" in str(killed.message)


def test_a_parameter_that_the_flow_does_not_take_is_named(place: Settings) -> None:
    deployment = write(place).ids["retraining/mended"]
    with get_client(sync_client=True) as client:
        state = ended(Runner(client, [deployment], limit=1), model="mended", asof="today")

    assert state is not None and state.is_failed() and "asof" in str(state.message)


def test_a_broken_definition_stops_no_other_model_and_keeps_what_it_has(place: Settings) -> None:
    before = write(place)
    text = (place.models / "mended.toml").read_text()
    (place.models / "mended.toml").write_text(text.replace('"0 2 * * *"', '"0 2 31 2 *"'))
    (place.models / "sound.toml").write_text(text.replace('name = "mended"', 'name = "sound"'))

    written = write(place)

    assert "schedule.cron" in written.broken["mended"] and written.removed == []
    assert {"retraining/sound", "monitoring/sound"} <= {*written.deployed}
    assert before.ids["retraining/mended"] not in written.ids.values()


def test_what_was_changed_by_hand_stays_and_is_told(place: Settings) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    written = write(place)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment(written.ids["retraining/mended"])
        client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, schedule=CronSchedule(cron="5 5 * * *"))

        again = write(place)
        now = client.read_deployment(deployment.id).schedules[0].schedule

    told = {each.name: each for each in deployed(place, os.environ["PREFECT_API_URL"])}
    assert written.kept == [] and again.deployed == [] and again.kept == ["retraining/mended"]
    assert isinstance(now, CronSchedule) and now.cron == "5 5 * * *"
    assert len(told) == 7 and [name for name, each in told.items() if each.by_hand] == ["retraining/mended"]


def test_status_tells_what_is_paused_and_what_was_changed_by_hand(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    written = write(place)
    pause(["mended"], paused=True)
    with get_client(sync_client=True) as client:
        client.update_deployment(written.ids["monitoring/mended"], DeploymentUpdate(parameters={"model": "mended", "as_of": "2026-01-01"}))

    everything, one, glance = said(capsys, "status", "--all")[1], said(capsys, "status", "mended")[1], shown(capsys, "status", "--all")

    assert everything["models"][0]["paused"] and one["paused"] and "paused" in glance
    assert len(everything["server"]) == 1 and everything["server"] == one["server"]
    assert everything["server"][0].startswith("monitoring/mended was changed by hand")
    assert "monitoring/mended was changed by hand" in " ".join(glance.split())


def test_status_answers_at_once_without_the_server_that_is_named(place: Settings, monkeypatch: pytest.MonkeyPatch,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")

    code, value = said(capsys, "status", "mended")

    assert code == 0 and len(value["server"]) == 1 and "does not answer" in value["server"][0]


def test_the_form_offers_a_model_that_has_come(place: Settings) -> None:
    before = write(place)
    definition = place.models / "mended.toml"
    (place.models / "other.toml").write_text(definition.read_text().replace('"mended"', '"other"'))

    again = write(place)
    with get_client(sync_client=True) as client:
        form = client.read_deployment(before.ids["retraining/on-demand"]).parameter_openapi_schema

    assert form is not None and form["properties"]["model"]["enum"] == ["mended", "other"]
    assert "retraining/on-demand" in again.deployed and again.kept == []


def test_a_project_that_was_moved_keeps_its_nights_with_what_was_changed_by_hand(place: Settings, tmp_path: Path) -> None:
    before = write(place)
    with get_client(sync_client=True) as client:
        client.update_deployment(before.ids["monitoring/mended"], DeploymentUpdate(parameters={"model": "mended", "as_of": "2026-01-01"}))
        place.root.rename(tmp_path / "moved")
        moved = settings_of(tmp_path / "moved")

        again = write(moved)
        automations = client.read_automations()

    assert again.ids == before.ids and again.kept == ["monitoring/mended"]
    assert len([*deployed(moved, os.environ["PREFECT_API_URL"])]) == 7
    assert [each.name for each in automations if str(place.root) in each.name] == []


def test_two_projects_have_no_server_in_common(place: Settings, tmp_path: Path) -> None:
    write(place)

    with pytest.raises(UsageError, match="of another: Nightgate, project"):
        write(copied(place.root, tmp_path / "other"))


def test_a_definition_that_changed_is_written_anew(place: Settings) -> None:
    write(place)
    definition = place.models / "mended.toml"
    definition.write_text(definition.read_text().replace('"0 2 * * *"', '"0 4 * * *"'))

    assert sorted(write(place).deployed) == ["monitoring/mended", "retraining/mended"]
    assert write(place).deployed == []

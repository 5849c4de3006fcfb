"""Numbers and leases: never two runs of one model, and a dead run's number is taken up again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from nightgate.errors import ModelBusy, StoreError
from nightgate.runs import conclude, forget, hold, holder_of, lease, still_held

HOLDING = "import sys\nfrom nightgate.runs import lease\nheld = lease(sys.argv[1], 'm', run_id='other', key='k')\nheld.__enter__()\n" \
          "print('held', flush=True)\nsys.stdin.read()\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'registry.db'}"
    address: str = request.getfixturevalue("postgresql")
    forget(address, "m")
    return address


def test_runs_are_numbered_and_a_second_one_is_refused(registry: str) -> None:
    with lease(registry, "m", run_id="a", key="k") as first:
        assert (first.run, holder_of(registry, "m"), still_held(registry, first)) == (1, (1, "a"), True)
        with pytest.raises(ModelBusy, match=r"Run 1 \(a\)"), lease(registry, "m", run_id="b", key="k"):
            pass
        with lease(registry, "other", run_id="c", key="k") as other:
            assert other.run == 1
        conclude(registry, first, "kept")
    assert holder_of(registry, "m") is None
    with lease(registry, "m", run_id="d", key="k") as second:
        assert (second.run, second.resumed) == (2, False)
    forget(registry, "other")


def test_numbers_that_are_taken_are_not_given_again(registry: str) -> None:
    with lease(registry, "m", run_id="a", key="k", after=7) as run:
        assert run.run == 8


def test_a_run_without_a_verdict_is_resumed_only_for_the_same_key(registry: str) -> None:
    with lease(registry, "m", run_id="a", key="k"):
        pass
    with lease(registry, "m", run_id="b", key="k") as again:
        assert (again.run, again.resumed) == (1, True)
    with lease(registry, "m", run_id="c", key="changed") as other:
        assert (other.run, other.resumed) == (2, False)


def test_a_dead_process_holds_nothing(registry: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, registry], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(ModelBusy, match="other"), lease(registry, "m", run_id="a", key="k"):
        pass

    process.kill()
    process.wait()

    with lease(registry, "m", run_id="a", key="k") as run:
        assert (run.run, run.resumed) == (1, True)


def test_a_change_by_hand_keeps_runs_away(registry: str) -> None:
    with hold(registry, "m", holder_id="by-hand"), pytest.raises(ModelBusy, match="by-hand"), \
            lease(registry, "m", run_id="a", key="k"):
        pass


def test_a_registry_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path / 'registry.db'}"
    with lease(registry, "m", run_id="a", key="k"):
        pass
    engine = create_engine(registry)
    with engine.begin() as connection:
        connection.execute(text("UPDATE nightgate_layout SET version = 99"))
    engine.dispose()

    with pytest.raises(StoreError, match="layout 99"):
        holder_of(registry, "m")


def test_a_password_never_stands_in_an_error() -> None:
    with pytest.raises(StoreError) as refused:
        holder_of("postgresql://nightgate:hunter2@127.0.0.1:1/none", "m")

    assert "hunter2" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_registry_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StoreError):
        holder_of(f"sqlite:///{tmp_path / 'registry.db'}", "m")

"""What a person may decide about a run that waits, whatever serves by then."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightgate.approving import decide, expire
from nightgate.errors import UsageError
from nightgate.records import WAITS, RunRecord, read_record, write_record
from nightgate.releases import Pointer, point
from nightgate.settings import Settings
from tests.projects import settings_of


def waiting(path: Path, serves: int, finished: str = "") -> Settings:
    """Give a store where run 3 waits, compared with run 1, and another may serve."""
    place, now = settings_of(path), datetime.now(UTC).isoformat()
    write_record(place.store, RunRecord("credit", 3, "id", "2026-01-03", "waiting", f"It is better. {WAITS}", 1, 1, finished=finished or now,
                                        definition={"promotion": {"approve": True}}))
    point(place.store, "credit", Pointer(serves, "", None, "2026-01-02", ""))
    return place


@pytest.mark.parametrize("serves", [1, 2])
def test_whoever_serves_a_run_that_waits_can_be_rejected(serves: int, tmp_path: Path) -> None:
    decided = decide(waiting(tmp_path, serves), "credit", 3, "reject", by="anna", why="too risky")

    assert decided.verdict == "rejected" and decided.decision["rejected"]["by"] == "anna"
    assert decided.reason == "It is better. Rejected by anna: too risky"


def test_a_run_that_serves_already_is_not_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="serves already"):
        decide(waiting(tmp_path, 3), "credit", 3, "reject", by="anna", why="too risky")


def test_a_run_compared_with_another_champion_is_not_approved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was compared with run 1; run 2 serves now"):
        decide(waiting(tmp_path, 2), "credit", 3, "approve", by="anna", why="fine")


@pytest.mark.parametrize(("serves", "ended"), [(1, [3]), (2, [3]), (3, [])])
def test_the_time_limit_ends_what_waits_and_does_not_serve(serves: int, ended: list[int], tmp_path: Path) -> None:
    place = waiting(tmp_path, serves, "2026-01-03T02:00:00+00:00")

    assert expire(place, "credit") == ended
    assert (WAITS in read_record(place.store, "credit", 3).reason) == (not ended)

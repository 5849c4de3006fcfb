"""Ten kills at random moments of running nights, of the run, the runner, the server and all at once; the long form is a benchmark."""

from benchmarks.kills import measure


def test_nothing_is_lost_half_done_or_left_behind() -> None:
    claims = measure(quick=True)

    assert not [claim for claim in claims if not claim.holds], claims

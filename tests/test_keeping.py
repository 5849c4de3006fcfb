"""What keeps an installation in order: retention, approval in time, alerts of causes, gauges, the cost of a run."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nightgate import alerts, approving, episodes, retention
from nightgate.alerts import causes, fresh
from nightgate.cli.main import main
from nightgate.definition.loading import definition_path, load_definition
from nightgate.doctor import examine
from nightgate.errors import ContractBroken, UsageError
from nightgate.gauges import HELP, metrics
from nightgate.records import history, read_record, write_record
from nightgate.releases import champion_of, point, promote, read_pointer
from nightgate.settings import Settings
from nightgate.watching import look
from tests.commands import said, shown
from tests.projects import copied, edit_contract, people, project, run_plainly
from tests.servers import free_port


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project of four runs of different data, the first of them promoted."""
    place = project(tmp_path_factory.mktemp("kept"))
    for seed in range(4):
        people(600, seed=seed).to_csv(place.root / "data.csv", index=False)
        assert run_plainly(place) is not None
    return place


@pytest.fixture
def place(finished: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = copied(finished.root, tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


def declare(place: Settings, text: str) -> None:
    """Add lines to the model's definition."""
    path = place.models / "credit.toml"
    path.write_text(path.read_text() + text)


def old(place: Settings) -> None:
    """Make every file of the store two days old."""
    for path in Path(place.store_url).rglob("*"):
        os.utime(path, (0, path.stat().st_mtime - 2 * 24 * 3_600))


def test_what_no_rule_keeps_is_removed_and_nothing_else(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    declare(place, "\n[retention]\nkeep = 2\n")
    old(place)
    root = Path(place.store_url)
    snapshots = {record.run: str((record.dataset or {})["sha256"]) for record in history(place.store, "credit")}

    _, dry = said(capsys, "clean", "--dry-run")
    before = sorted(root.rglob("*"))
    _, done = said(capsys, "clean")
    again = said(capsys, "clean")[1]

    assert dry["removed"] == done["removed"] and dry["bytes"] > 0 and again["removed"] == []
    left = {path for path in root.rglob("*") if path.is_file() and not path.name.startswith("registry")}
    assert {path for path in before if path.is_file()} > left
    assert [record.run for record in history(place.store, "credit")] == sorted({1, 3, 4} | {champion_of(place, "credit") or 0})
    assert not (root / "snapshots" / f"{snapshots[2]}.parquet").exists() and not (root / "releases/credit/2").exists()
    assert (root / "snapshots" / f"{snapshots[1]}.parquet").exists() and (root / "snapshots" / f"{snapshots[4]}.parquet").exists()


def test_the_drift_contract_of_a_monitored_night_is_kept(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.contracts_of("credit") / "drift.json"
    text = path.read_text()
    path.write_text(text.replace("No change is significant", "No change at all is significant"))
    night = look(place, "credit").night
    path.write_text(text)
    old(place)

    said(capsys, "clean")

    assert place.store.exists(f"contracts/{night.gate['suite_sha256']}.json") and said(capsys, "docs", "credit", "--runs", "1")[0] == 0


def test_a_legal_hold_and_what_waits_are_kept(place: Settings) -> None:
    declare(place, "\n[retention]\nkeep = 2\nhold = [2]\n")
    write_record(place.store, replace(read_record(place.store, "credit", 1), verdict="waiting"))

    assert retention.kept_runs(place, load_definition(definition_path(place.models, "credit"))) == {1, 2, 3, 4}


def test_young_files_belong_to_a_run_under_way(place: Settings) -> None:
    place.store.write(f"snapshots/{'0' * 64}.parquet", b"half a run")

    assert f"snapshots/{'0' * 64}.parquet" not in {each.key for each in retention.clean(place, [], dry_run=True)}


def waiting(place: Settings) -> None:
    """Make the last run one that waits for a person."""
    record = read_record(place.store, "credit", 4)
    write_record(place.store, replace(record, verdict="waiting", champion_before=champion_of(place, "credit")))


def test_a_person_decides_with_a_reason_and_is_named(place: Settings) -> None:
    waiting(place)

    record = approving.decide(place, "credit", 4, "approve", by="ada", why="seen by the board")

    assert (record.verdict, champion_of(place, "credit")) == ("promoted", 4)
    assert record.decision["promoted"]["by"] == "ada" and record.decision["promoted"]["at"] and "seen by the board" in record.reason


@pytest.mark.parametrize("by", ["approval", "rollback"])
def test_the_doctor_completes_what_was_killed_after_the_pointer_had_moved(by: str, place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    waiting(place)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("nightgate.registry.reconcile", killed)
        if by == "approval":
            approving.decide(place, "credit", 4, "approve", by="ada", why="seen by the board")
        else:
            promote(place, "credit", 4, as_of="2026-01-01", why="seen by the board")
            killed()
    assert (read_record(place.store, "credit", 4).verdict, champion_of(place, "credit")) == ("waiting", 4)

    found = list(examine(place))

    record = read_record(place.store, "credit", 4)
    assert (record.verdict, record.champion, record.decision["promoted"]["reason"]) == ("promoted", 4, "seen by the board")
    assert record.decision["promoted"]["by"] == ("ada" if by == "approval" else "hand") and record.reason.endswith("seen by the board")
    assert all(each.mended for each in found) and "Run 4 served and was said to wait" in found[0].told and not list(examine(place))


@pytest.mark.parametrize("fault", ["late", "no reason", "another champion", "does not wait"])
def test_a_decision_that_cannot_be_taken_is_refused_and_changes_nothing(fault: str, place: Settings) -> None:
    waiting(place)
    serving = champion_of(place, "credit")
    record = read_record(place.store, "credit", 4)
    if fault == "late":
        write_record(place.store, replace(record, finished=(datetime.now(UTC) - timedelta(hours=73)).isoformat()))
    elif fault == "another champion":
        write_record(place.store, replace(record, champion_before=3))
    elif fault == "does not wait":
        write_record(place.store, replace(record, verdict="kept"))

    with pytest.raises(UsageError):
        approving.decide(place, "credit", 4, "approve", by="ada", why=" " if fault == "no reason" else "because")

    assert champion_of(place, "credit") == serving


def test_after_its_time_the_champion_stays(place: Settings) -> None:
    waiting(place)
    late = (datetime.now(UTC) - timedelta(hours=73)).isoformat()
    write_record(place.store, replace(read_record(place.store, "credit", 4), finished=late))

    run_plainly(place)

    assert read_record(place.store, "credit", 4).verdict == "rejected" and "Nobody decided by" in read_record(place.store, "credit", 4).reason


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """Give a webhook's address as Apprise has it, and what was posted to it."""
    posted: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/hook", posted
    server.shutdown()


def test_one_cause_is_one_message_told_once(place: Settings, hook: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NIGHTGATE_ALERTS", hook[0])
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    edit_contract(place, "raw", {"type": "expect_column_to_exist", "kwargs": {"column": "salary"}})
    for name in ("credit", "loans"):
        if name == "loans":
            (place.models / "loans.toml").write_text((place.models / "credit.toml").read_text().replace('"credit"', '"loans"'))
            (place.contracts_of("loans")).mkdir()
            for path in place.contracts_of("credit").iterdir():
                (place.contracts_of("loans") / path.name).write_text(path.read_text().replace("credit.", "loans."))
        with pytest.raises(ContractBroken):
            run_plainly(place, name)

    code, value = said(capsys, "watch")
    _, again = said(capsys, "watch")

    assert code == 1 and len(value["causes"]) == 1 and value["causes"][0]["message"].startswith("credit, loans: ")
    assert "salary" in value["causes"][0]["message"] and [each["new"] for each in again["causes"]] == [False]
    assert len(hook[1]) == 1
    sent = json.loads(hook[1][0])
    assert sent["title"].startswith("Nightgate: credit, loans: ") and len(sent["title"]) <= 91 and sent["type"] == "warning"


def test_a_cause_that_comes_back_is_told_again(place: Settings) -> None:
    cause, told = alerts.Cause("disk", "full"), []

    for found in ([cause], [cause], [], [cause]):
        told.append(fresh(place, found))
        alerts.remember(place, found)

    assert told == [[cause], [], [], [cause]]


def test_what_no_channel_took_is_told_again(place: Settings, monkeypatch: pytest.MonkeyPatch, hook: tuple[str, list[bytes]],
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (place.models / "broken.toml").write_text("name = ")
    deaf = f"json://ops:hush@127.0.0.1:{free_port()}/x"

    news = []
    for channels in (deaf, f"{deaf} {hook[0]}", hook[0]):
        monkeypatch.setenv("NIGHTGATE_ALERTS", channels)
        news.append([each["message"] for each in said(capsys, "watch")[1]["causes"] if each["new"]])

    assert [len(each) for each in news] == [2, 2, 0] and "takes no message" in news[0][1] and "hush" not in str(news)
    assert len(hook[1]) == 1 and b"broken.toml has 1 mistake" in hook[1][0]


def test_what_cannot_be_looked_at_is_a_cause_and_hides_no_other(place: Settings) -> None:
    (place.models / "broken.toml").write_text("name = ")
    place.store.write("releases/credit/champion.json", b"{")

    found = causes(place, datetime.now(UTC))

    assert [each.models for each in found] == [("broken",), ("credit",)] and all("`nightgate doctor`" in each.sentence for each in found)


@pytest.mark.parametrize("wrong", ["0", "-5", "soon"])
def test_seconds_between_two_looks_are_a_whole_number(wrong: str, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "watch", "--every", wrong)

    assert code == 2 and wrong in value["error"]["message"]


def test_a_night_without_a_verdict_and_an_old_champion_are_told(place: Settings) -> None:
    declare(place, '\n[alerts]\nverdict_by = "06:00"\nchampion_days = 5\n')
    tomorrow = datetime.now(UTC).replace(hour=5, minute=0) + timedelta(days=2)

    early, late = (causes(place, tomorrow + timedelta(hours=hours)) for hours in (0, 2))
    later = causes(place, tomorrow + timedelta(days=30))

    assert not [each for each in early if each.key == f"no verdict {tomorrow.date()}"]
    assert [each.key for each in late if each.key.startswith("no verdict")] == [f"no verdict {tomorrow.date()}"]
    assert "has served for" in next(each.sentence for each in later if each.key.startswith("old champion"))


def test_an_alarm_of_monitoring_is_told_while_it_is_open(place: Settings) -> None:
    nights: list[episodes.Watched] = []
    found = []
    for day, alarm in enumerate([True, False, False, False], 1):
        night = episodes.Watched("credit", f"2026-01-0{day}", 1, 600, True, not alarm, {"income": {"verdict": "alarm" if alarm else "quiet"}},
                                 ["income"] if alarm else [], report=f"r{day}.html")
        nights.append(episodes.placed(night, nights))
        episodes.write(place.store, nights[-1])
        found.append([each.message for each in causes(place, datetime.now(UTC)) if each.key.startswith("drift")])

    assert found[0] == found[1] == found[2] == ["credit: drift of income, an alarm since 2026-01-01. Report: r1.html"] and found[3] == []


def test_a_server_that_is_silent_is_a_cause(place: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    assert "does not answer" in said(capsys, "watch")[1]["causes"][0]["message"]


def test_a_channel_that_is_none_is_told(place: Settings, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> None:
    from flows.alerting import tell

    with pytest.raises(UsageError, match="slack-webhook/unheard"):
        tell([alerts.Cause("disk", "full")], ["slack-webhook/unheard"])


def test_gauges_are_what_prometheus_reads(place: Settings) -> None:
    text = metrics(place)

    kinds = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert kinds <= set(HELP) and f'nightgate_champion_version{{model="credit"}} {champion_of(place, "credit")}' in samples
    assert 'nightgate_last_run_rows{model="credit"} 600' in samples
    assert all(len(line.split()) == 2 and float(line.split()[1]) >= 0 for line in samples)


def test_gauges_tell_the_last_monitored_window(place: Settings) -> None:
    night = look(place, "credit").night

    samples = metrics(place).splitlines()

    assert f'nightgate_drift_distance{{model="credit",column="income"}} {night.columns["income"]["distance"]:.15g}' in samples
    assert 'nightgate_drift_alarm{model="credit",column="income"} 0' in samples
    assert any(line.startswith('nightgate_performance{model="credit",metric="auc",kind="promised"} 0.') for line in samples)


def test_a_run_knows_what_it_cost(place: Settings) -> None:
    cost = read_record(place.store, "credit").cost

    assert cost["cpu_seconds"] > 0 and cost["peak_bytes"] > 50 * 2**20 and cost["stored_bytes"] > 10_000 and cost["wall_seconds"] >= 0


def test_the_night_at_a_glance(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "credit" in shown(capsys, "status", "--all")


def test_metrics_without_a_champion(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_pointer(place.store, "credit")
    point(place.store, "credit", None)

    with pytest.raises(SystemExit):
        main(["metrics"])

    assert before is not None and 'nightgate_champion_version{model="credit"} 0' in capsys.readouterr().out

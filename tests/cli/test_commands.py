"""Every command: one JSON value on success and on failure, the right exit code, and what it says."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nightgate.cli import changing
from nightgate.cli.main import parser
from nightgate.nights import night
from nightgate.records import read_record, write_record
from nightgate.registry import reconcile
from nightgate.releases import champion_of, point, promote, read_pointer, versions
from nightgate.settings import Settings
from nightgate.store import jsonable
from tests.commands import said, shown
from tests.projects import copied, people, project, run_plainly


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project of which two runs were promoted."""
    folder = tmp_path_factory.mktemp("finished")
    place = project(folder, people(strength=-1.5))
    assert run_plainly(place) is not None
    people(2_000, seed=1, strength=3.0).to_csv(folder / "data.csv", index=False)
    second = run_plainly(place)
    assert second is not None and second.verdict == "promoted", second
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Give a copy of the finished project, with this process in it."""
    made = copied(finished, tmp_path / "project")
    monkeypatch.chdir(made.models)
    yield made


COMMANDS = [name for action in parser()._actions if action.choices for name in action.choices]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"Example:\n  nightgate {name}" in shown(capsys, name, "--help")


READING = [("status", "credit"), ("status",), ("history", "credit"), ("show", "credit"), ("show", "credit", "1"),
           ("compare", "credit", "1", "2"), ("report", "credit"), ("check",), ("check", "credit"), ("schema",)]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading_commands_print_json_and_text(words: tuple[str, ...], place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, *words)

    assert code == 0 and isinstance(value, dict)
    assert shown(capsys, *words).strip()


def test_show_takes_the_number_and_prefects_id(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _, record = said(capsys, "show", "credit", "1")

    assert said(capsys, "show", "credit", record["run_id"]) == (0, record)
    assert record["verdict"] == "promoted" and record["run"] == 1


def test_compare_names_what_differs(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = said(capsys, "compare", "credit", "1", "2")

    assert {"snapshot", "model", "rows"} <= set(value["differs"])
    assert "code" not in value["differs"]


@pytest.mark.parametrize(("words", "code", "kind"), [
    (("show", "credti"), 2, "FileMissing"), (("show", "credit", "9"), 2, "FileMissing"),
    (("show", "credit", "no-id"), 2, "UsageError"), (("frobnicate",), 2, "UsageError"), (("show",), 2, "UsageError"),
    (("run",), 2, "UsageError"), (("run", "credti"), 2, "FileMissing"), (("run", "credit", "--as-of", "tomorrow"), 2, "UsageError"),
    (("run", "credit", "--set", "x"), 2, "UsageError"), (("approve", "credit", "--reason", "x"), 2, "UsageError"),
    (("rollback", "credit", "--to", "2"), 2, "UsageError"), (("rollback", "credit", "--to", "9"), 2, "FileMissing"),
    (("remove", "credit"), 2, "UsageError"), (("new", "credit", "--data", "data.csv", "--target", "default"), 2, "UsageError"),
    (("new", "x", "--data", "none.csv", "--target", "y"), 2, "FileMissing"),
    (("new", "x", "--data", "data.csv", "--target", "y"), 3, "DataUnusable"),
    (("new", "Bad Name", "--data", "data.csv", "--target", "default"), 2, "UsageError")], ids=str)
def test_failures_are_one_json_value_with_a_remedy(words: tuple[str, ...], code: int, kind: str, place: Settings,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    found, value = said(capsys, *words)

    assert (found, value["error"]["kind"]) == (code, kind)
    assert value["error"]["message"] and value["error"]["remedy"]


def test_outside_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    assert said(capsys, "status")[1]["error"]["kind"] == "UsageError"


def test_rollback_lets_the_earlier_version_serve(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert champion_of(place, "credit") == 2

    code, value = said(capsys, "rollback", "credit")

    assert (code, value["champion"], champion_of(place, "credit")) == (0, 1, 1)
    assert said(capsys, "rollback", "credit", "--to", "2")[1]["champion"] == 2


def test_rollback_refuses_a_release_that_was_changed(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(place.store_url) / "releases/credit/1/scorer.json"
    model.write_bytes(model.read_bytes()[:-1])

    code, value = said(capsys, "rollback", "credit")

    assert (code, value["error"]["kind"], champion_of(place, "credit")) == (1, "NotVerified", 2)


def test_aliases_follow_the_pointer_after_a_kill_between_the_two(place: Settings) -> None:
    pointer = read_pointer(place.store, "credit")
    assert pointer is not None and pointer.previous == 1
    point(place.store, "credit", type(pointer)(1, pointer.manifest_sha256, 2, pointer.as_of, "by a run that was killed"))

    assert reconcile(place, "credit") == ["alias `champion` set to run 1", "alias `previous` set to run 2"]
    assert reconcile(place, "credit") == []


@pytest.mark.parametrize(("word", "verdict", "champion"), [("approve", "promoted", 3), ("reject", "rejected", 2)])
def test_a_waiting_run_is_decided_by_a_person(word: str, verdict: str, champion: int, place: Settings,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    people(2_000, seed=2, strength=-3.0).to_csv(place.root / "data.csv", index=False)
    waiting = run_plainly(place, overrides={"promotion.approve": "true"})
    assert waiting is not None and waiting.verdict == "waiting", waiting

    code, value = said(capsys, word, "credit", "3", "--reason", "seen by the board")

    assert (code, value["verdict"], champion_of(place, "credit")) == (0, verdict, champion)
    assert read_record(place.store, "credit", 3).decision[verdict]["reason"] == "seen by the board"


def test_remove_takes_all_of_a_model_away(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "remove", "credit", "--yes")

    assert (code, value["removed"]) == (0, True)
    assert not (place.root / "models/credit.toml").exists() and not place.contracts_of("credit").exists()
    assert versions(place.store, "credit") == [] and champion_of(place, "credit") is None
    assert said(capsys, "history", "credit")[1]["error"]["kind"] == "FileMissing"


def test_remove_keeps_what_a_legal_hold_names(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    definition = place.root / "models/credit.toml"
    definition.write_text(definition.read_text() + "\n[retention]\nhold = [1]\n")

    _, value = said(capsys, "remove", "credit", "--yes")

    assert value["held"] == [1]
    assert versions(place.store, "credit") == [1] and read_record(place.store, "credit", 1).run == 1
    assert not (Path(place.store_url) / "runs/credit/2").exists()

    definition.write_text('name = "credit"\ntask = "binary"\ntarget = "default"\npositive = "yes"\n[source]\ndata = "data.csv"\n')
    with night(place, "credit", run_id="anew") as made_anew:
        assert made_anew.run.run == 2, "the number of a run that is held must not be given again"


def test_remove_asks_for_the_models_name(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "no")

    with pytest.raises(changing.UsageError, match="Nothing was removed"):
        changing.remove(parser().parse_args(["remove", "credit"]))
    assert (place.root / "models/credit.toml").exists()


def test_check_tells_all_mistakes_and_runs_nothing(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    definition = place.root / "models/credit.toml"
    definition.write_text(definition.read_text().replace("search =", "serch =") + '[candidates.f]\nestimator = "forest"\nsearch = {dept=[3]}\n')
    (place.contracts_of("credit") / "features.json").write_text("{")

    code, value = said(capsys, "check")
    mistakes = " ".join(value["files"][0]["mistakes"])

    assert code == 2
    assert "serch" in mistakes and "features.json is no suite" in mistakes


def test_check_looks_at_source_own_code_and_contracts(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (place.root / "models" / "own.py").write_text("features = 1 / 0\n")
    path = place.models / "credit.toml"
    path.write_text(path.read_text().replace("data.csv", "gone.csv") + '\n[features]\nown = "models.own:features"\n')
    (place.contracts_of("credit") / "features.json").unlink()
    (place.contracts_of("credit") / "metrics.json").write_text("{")

    code, value = said(capsys, "check", "credit")

    told = "\n".join(value["files"][0]["mistakes"])
    assert code == 2
    for words in ("gone.csv is not there", "own.py", "features.json is not there", "metrics.json is no suite"):
        assert words in told


def test_check_knows_an_estimators_parameters(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    definition = place.root / "models/credit.toml"
    definition.write_text(definition.read_text() + '[candidates.f]\nestimator = "forest"\nsearch = {max_dept = [3]}\n'
                          '[candidates.g]\nestimator = "models.none.Such"\n')

    for _ in range(2):  # the second time from the cache
        mistakes = " ".join(said(capsys, "check", "credit")[1]["files"][0]["mistakes"])
        assert "did you mean `max_depth`" in mistakes and "`models.none` cannot be imported" in mistakes


def test_rollback_refuses_a_run_that_did_not_come_through(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(place.store, replace(read_record(place.store, "credit", 1), verdict="failed"))

    code, value = said(capsys, "rollback", "credit", "--to", "1")

    assert code == 2 and "did not come through all gates" in value["error"]["message"] and champion_of(place, "credit") == 2


@pytest.mark.parametrize("content", [None, b"{"])
def test_rollback_makes_a_lost_or_torn_pointer_anew(content: bytes | None, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    place.store.remove("releases/credit/champion.json")
    if content is not None:
        place.store.write("releases/credit/champion.json", content)

    code, _ = said(capsys, "rollback", "credit", "--to", "1")

    assert code == 0 and champion_of(place, "credit") == 1


def test_promoting_a_version_again_keeps_the_way_back(place: Settings) -> None:
    promote(place, "credit", 2, as_of="2026-01-01", why="again")

    pointer = read_pointer(place.store, "credit")
    assert pointer is not None and (pointer.version, pointer.previous) == (2, 1)


def test_history_says_what_serves_and_shows_the_others_beside_a_damaged_record(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "rollback", "credit", "--to", "1")
    place.store.write("runs/credit/2/record.json", b"{")

    code, value = said(capsys, "history", "credit")

    assert code == 0 and value["champion"] == 1 and [run["verdict"] for run in value["runs"]] == ["failed", "promoted"]
    assert "rolled back from run 2" in shown(capsys, "history", "credit")


def test_check_tells_what_is_wrong_in_the_rest_of_a_broken_definition(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.models / "credit.toml"
    path.write_text(path.read_text().replace("search = { C", "parameters = { solvr = 1 }\nsearch = { C") + "\n[windw]\ndays = 3\n")

    _, value = said(capsys, "check", "credit")

    told = "\n".join(value["files"][0]["mistakes"])
    assert "windw" in told and "solvr" in told


def test_a_short_name_that_is_not_for_the_task_is_told_by_check(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.models / "credit.toml"
    path.write_text(path.read_text().replace('estimator = "logistic"', 'estimator = "linear"'))

    code, value = said(capsys, "check", "credit")

    assert code == 2 and "`linear` is not for a binary model" in value["files"][0]["mistakes"][0]


def test_numbers_that_json_lacks_become_null() -> None:
    assert jsonable({"a": [1.5, float("inf"), float("nan")], "b": "x"}) == {"a": [1.5, None, None], "b": "x"}


def test_a_reader_that_leaves_is_no_fault(place: Settings) -> None:
    ended = subprocess.run(f"{sys.executable} -m nightgate schema | head -c 10", shell=True, cwd=place.root, capture_output=True, text=True)

    assert ended.stdout == "{\n  \"$defs" and ended.stderr == ""


def test_a_kill_while_mlflow_makes_its_tables_leaves_none(tmp_path: Path) -> None:
    code = ("import os, sys\nfrom pathlib import Path\nimport sqlite3\nfrom nightgate import registry\nfrom nightgate.settings import Settings\n"
            "place = Settings(Path(sys.argv[1]), sys.argv[1], f'sqlite:///{sys.argv[1]}/registry.db', Path('k'))\n"
            "import mlflow.store.db.utils as utils\nutils._upgrade_db = lambda engine: os._exit(9)\nregistry.reconcile(place, 'credit')\n")
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)

    place = Settings(tmp_path, str(tmp_path), f"sqlite:///{tmp_path}/registry.db", tmp_path / "keys.json")

    assert killed.returncode == 9 and not (tmp_path / "mlflow.db").exists()
    assert reconcile(place, "credit") == [] and (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("words", [("status",), ("status", "--all"), ("clean",)], ids=" ".join)
def test_a_broken_definition_keeps_no_command_from_the_other_models(words: tuple[str, ...], place: Settings,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    (place.models / "torn.toml").write_text('name = "torn"\nshedule = 1\n')

    code, value = said(capsys, *words)

    assert code == 2 and "models/torn.toml has" in value["broken"]["torn"]
    assert "models/torn.toml has" in shown(capsys, *words)
    assert words == ("clean",) or [each["model"] for each in value.get("models", value.get("files"))] == ["credit"]

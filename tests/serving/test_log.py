"""The prediction log: nothing acknowledged is lost, and compacting it twice changes nothing."""

import fcntl
import json
import resource
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate import predictionlog
from nightgate.definition.loading import load_definition
from nightgate.monitoring import monitor
from nightgate.observing import observed
from nightgate.predictionlog import compact, predictions, read, scan, segments_of
from nightgate.segments import Segment
from nightgate.serving.access import issue
from nightgate.settings import Settings
from tests.projects import SMALL, copied, people, project, run_plainly
from tests.projects import settings_of as place_of
from tests.services import Client, process, running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}
RAW = {"income": "number", "age": "integer", "city": "text"}
DAY = datetime(2026, 11, 24, 23, 59, tzinfo=UTC).timestamp()
WHENEVER = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}


def line(at: float, request: str, version: int = 1) -> list[bytes]:
    return [json.dumps({"at": at, "request": request, "version": version, "role": "champion", "consumer": "shop", "sent": {"rows": [ROW, {**ROW, "city": None}]},
                        "answers": [{"prediction": "no", "probability": 0.25}, {"prediction": "yes", "probability": 1}]}).encode(), b"\n"]


def written(place: Settings, count: int = 10) -> Segment:
    segment = Segment(place.store.folder("predictionlog") / "credit")
    for number in range(count):
        segment.append(1 + number % 2, RAW, line(DAY + 30 * number, f"r{number}"))
    return segment


def test_segments_become_files_by_day_once_nobody_holds_them(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    segment = written(place)
    assert compact(place, "credit").segments == 0 and len(predictions(place, "credit", **WHENEVER)) == 20
    segment.close()

    made = compact(place, "credit")
    again = compact(place, "credit")

    assert (made.segments, made.rows, len(made.files), made.torn) == (1, 20, 2, 0) and again.rows == 0
    found = predictions(place, "credit", **WHENEVER)
    assert sorted(set(found["nightgate_request"].to_pylist())) == [f"r{number}" for number in range(10)]
    assert str(found.schema.field("income").type) == "double" and found["probability"].to_pylist()[:2] == [0.25, 1.0]
    assert len(predictions(place, "credit", start=datetime(2026, 11, 25, tzinfo=UTC), end=datetime(2026, 11, 26, tzinfo=UTC))) == 16


def test_a_compaction_that_was_killed_before_the_segment_was_removed_is_done_again(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    written(place).close()
    (path,) = segments_of(place, "credit")
    content = path.read_bytes()
    first = compact(place, "credit")
    path.write_bytes(content)

    assert len(predictions(place, "credit", **WHENEVER)) == 20
    assert compact(place, "credit") == first and len(predictions(place, "credit", **WHENEVER)) == 20


@given(st.integers(0, 3_000))
def test_a_torn_line_costs_itself_alone(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place = place_of(Path(folder))
        written(place, 4).close()
        (path,) = segments_of(place, "credit")
        content = path.read_bytes()[:cut]
        path.write_bytes(content)

        made = compact(place, "credit")

        assert made.rows == 2 * content.count(b"probability\": 1}]}") and made.torn <= 1


def test_refused_requests_are_counted_by_the_minute_and_survive_compaction(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    segment = written(place)
    segment.refuse(int(DAY // 60), 422, 3)
    segment.refuse(int(DAY // 60) + 1, 422, 2)
    segment.refuse(int(DAY // 60) + 1, 503, 1)
    segment.close()
    before = read(place, "credit", **WHENEVER)

    made = compact(place, "credit")
    after = read(place, "credit", **WHENEVER)

    assert before.count("refused") == after.count("refused") == {422: 5, 503: 1} and made.rows == len(after.answers) == 20
    assert after.count("refused", datetime(2026, 11, 25)) == {422: 2, 503: 1}
    assert before.answers.column_names == after.answers.column_names == predictions(place, "credit", **WHENEVER).column_names


def test_torn_lines_are_counted_before_and_after_compaction(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    written(place).close()
    (path,) = segments_of(place, "credit")
    path.write_bytes(path.read_bytes()[:-40] + b"\n{half\n")

    before = read(place, "credit", **WHENEVER).count("torn")
    compact(place, "credit")

    assert before == read(place, "credit", **WHENEVER).count("torn") == {0: 2}


def test_a_segment_that_a_compaction_took_before_it_was_held_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, really = place_of(tmp_path), fcntl.flock

    def compacted_first(held: int, kind: int) -> None:
        monkeypatch.setattr(fcntl, "flock", really)
        compact(place, "credit")
        really(held, kind)

    monkeypatch.setattr(fcntl, "flock", compacted_first)
    written(place).close()

    assert len(predictions(place, "credit", **WHENEVER)) == 20


def test_two_compactions_at_once_take_each_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(tmp_path)
    for _ in range(3):
        written(place).close()
    seen = segments_of(place, "credit")
    first = compact(place, "credit")
    monkeypatch.setattr(predictionlog, "segments_of", lambda *_: seen)  # looked for before the first had removed them

    assert compact(place, "credit") == predictionlog.Compacted(0, (), 0, 0) and first.rows == 60


def test_a_segment_of_torn_lines_alone_is_told_when_it_was_begun(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    folder = place.store.folder("predictionlog") / "credit"
    folder.mkdir(parents=True)
    (folder / "20261124T120000-aaaa.jsonl").write_bytes(b'{"version": 1, "raw": {}}\n{"at": 17641, "requ')
    day = {"start": datetime(2026, 11, 24, tzinfo=UTC), "end": datetime(2026, 11, 25, tzinfo=UTC)}

    before = read(place, "credit", **day).count("torn")
    compact(place, "credit")

    assert before == read(place, "credit", **day).count("torn") == {0: 1}


@pytest.mark.parametrize("wrong", [b"5", b'"text"', b"[]", b"null", b'{"at": 1e300, "sent": {}, "answers": [{}]}', b'{"sent": {"rows": []}, "answers": []}',
                                   b'{"at": 1, "request": "x", "version": 1, "consumer": "", "role": "champion", "sent": {"age": 1}, "answers": [5]}', b"\xff",
                                   b'{"at": 1e18, "request": "x", "version": 1, "consumer": "", "role": "champion", "sent": {}, "answers": [{}]}',
                                   b'{"at": 1, "request": "x", "version": "1", "consumer": "", "role": "champion", "sent": {}, "answers": [{}]}',
                                   b'{"at": 1, "request": 5, "version": 1, "consumer": "", "role": "champion", "sent": {}, "answers": [{}]}',
                                   b'{"at": 1, "refused": 3, "status": "a"}', b'{"version": 1, "raw": 5}'])
def test_a_line_of_something_else_is_torn(wrong: bytes, tmp_path: Path) -> None:
    place = place_of(tmp_path)
    segment = written(place)
    segment.close()
    (path,) = segments_of(place, "credit")
    path.write_bytes(path.read_bytes() + wrong + b"\n")

    assert (compact(place, "credit").torn, len(predictions(place, "credit", **WHENEVER))) == (1, 20)


def test_a_column_that_changes_its_type_between_versions_is_read_as_texts(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    segment = Segment(place.store.folder("predictionlog") / "credit")
    segment.append(1, RAW, line(DAY, "r1"))
    segment.append(2, {**RAW, "age": "text"}, [line(DAY, "r2", 2)[0].replace(b'"age": 33', b'"age": "33"'), b"\n"])
    segment.close()

    before = predictions(place, "credit", **WHENEVER)["age"].to_pylist()
    compact(place, "credit")

    assert before == predictions(place, "credit", **WHENEVER)["age"].to_pylist() == ["33"] * 4


def test_a_file_that_is_none_is_counted_and_a_folder_that_is_no_day_left_alone(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    written(place).close()
    compact(place, "credit")
    for key in ("day=2026-11-25/torn.parquet", "day=never/x.parquet", "day=2026/x.parquet", "notes/x.parquet"):
        place.store.write(f"predictionlog/credit/{key}", b"PAR1 torn")

    found = read(place, "credit", **WHENEVER)

    assert len(found.answers) == 20 and found.count("unreadable") == {0: 1}


def test_a_table_of_another_program_is_counted_as_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    written(place).close()
    compact(place, "credit")
    folder = place.store.folder("predictionlog") / "credit" / "day=2026-11-25"
    pd.DataFrame({"x": [1]}).to_parquet(folder / "foreign.parquet")
    pd.DataFrame({"nightgate_at": ["today"], "nightgate_role": ["champion"]}).to_parquet(folder / "texts.parquet")

    found = read(place, "credit", **WHENEVER)

    assert len(found.answers) == 20 and found.count("unreadable") == {0: 2}


@pytest.mark.parametrize("wrong", [b'"many"', b"[33]", b"NaN", b"1" + b"0" * 30])
def test_a_value_of_another_type_than_the_column_is_a_text(wrong: bytes, tmp_path: Path) -> None:
    place = place_of(tmp_path)
    segment = Segment(place.store.folder("predictionlog") / "credit")
    segment.append(1, RAW, [line(DAY, "r1")[0].replace(b'"age": 33', b'"age": ' + wrong), b"\n"])
    segment.close()

    compact(place, "credit")

    assert predictions(place, "credit", **WHENEVER)["age"].to_pylist() == [wrong.decode().strip('"')] * 2


def test_a_segment_that_is_compacted_while_the_log_is_read_counts_once(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    written(place).close()
    other = Segment(place.store.folder("predictionlog") / "credit")
    other.append(1, RAW, line(DAY, "other"))
    other.close()

    reading = scan(place, "credit", **WHENEVER)
    rows = len(next(reading).answers)
    compact(place, "credit")

    assert rows + sum(len(each.answers) for each in reading) == 22


def test_full_segments_are_followed_by_the_next(tmp_path: Path) -> None:
    segment = Segment(tmp_path, largest=500)
    for number in range(10):
        segment.append(1, RAW, line(DAY, f"r{number}"))

    assert len(list(tmp_path.glob("*.jsonl"))) > 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = project(tmp_path_factory.mktemp("logged"), people(2_000), mask=("city",))
    assert run_plainly(made) is not None
    return made


def test_masked_values_are_never_written_down(place: Settings) -> None:
    with running(place) as (client, service):
        code = client.post({**ROW, "city": "Geheimhausen"})[0]
        document = client.ask("GET", "/openapi.json")[1]
    found = predictions(place, "credit", **WHENEVER)

    assert code == 200 and service.following.champions["credit"].masked and b"Bern" not in document
    assert not any(b"Geheimhausen" in path.read_bytes() for path in segments_of(place, "credit"))
    assert len(found["city"].to_pylist()[-1]) == 32


def test_what_is_refused_stands_in_the_log_without_what_was_sent(place: Settings) -> None:
    begin = datetime.now(UTC) - timedelta(minutes=1)
    with running(place) as (client, _):
        codes = [client.post({**ROW, "age": "Geheim"})[0] for _ in range(5)]
        codes += [client.post({"rows": []})[0], client.post({"dataframe_records": [{"age": 1}]}, "/invocations")[0], client.post(ROW, "/models/none/predict")[0]]
    seen = observed(place, load_definition(place.models / "credit.toml"), 1, None)
    read_whole = list(seen.blocks())  # what was odd is known then

    assert codes == [422] * 7 + [404]
    assert read(place, "credit", start=begin, end=datetime.now(UTC)).count("refused") == {422: 7} and seen.requests["422"] == 7
    assert read_whole and "7 requests refused with 422" in seen.odd
    assert not any(b"Geheim" in path.read_bytes() for path in segments_of(place, "credit"))


@pytest.mark.parametrize("path", ["/models/credit/predict", "/models/credit/invocations", "/v2/models/credit/infer", "/v2/models/credit/versions/1/infer"])
def test_who_has_no_key_or_one_for_something_else_is_refused_in_every_form(path: str, place: Settings, tmp_path: Path) -> None:
    other = copied(place.root, tmp_path / "copy")
    shutil.rmtree(other.store.folder("predictionlog"), ignore_errors=True)
    _, scope = issue(other.access, "other", ("other",))
    begin = datetime.now(UTC) - timedelta(minutes=1)

    with running(other) as (client, _):
        codes = [client.post(ROW, path)[0], client.post(ROW, path, authorization=f"Bearer {scope}")[0]]

    assert codes == [401, 403] and read(other, "credit", start=begin, end=datetime.now(UTC)).count("refused") == {401: 1, 403: 1}


def test_nothing_acknowledged_is_lost_when_the_service_is_killed(place: Settings) -> None:
    with process(place.root) as (port, served):
        client = Client(port)
        answered = [client.post(ROW)[1]["request_id"] for _ in range(100)]
        served.send_signal(signal.SIGKILL)
        served.wait(30)
    compact(place, "credit")

    assert {*answered} <= {*predictions(place, "credit", **WHENEVER)["nightgate_request"].to_pylist()}


def test_a_full_disk_stops_the_answers_loudly_until_there_is_room(place: Settings) -> None:
    """A limit on the size of files stands for the disk: writes fail in the middle of a line."""
    code = ("import resource, signal, sys\nfrom nightgate.cli.main import main\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))\nmain(['serve', '--port', '0'])")
    served = subprocess.Popen([sys.executable, "-c", code], cwd=place.root, stderr=subprocess.PIPE, text=True)
    assert served.stderr is not None
    try:
        client = Client(int(served.stderr.readline().split(":")[2].split("/")[0]))
        answers = [client.post(ROW) for _ in range(30)]
        refused = [answer for status, answer in answers if status != 200]
        ready = client.get("/ready")
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = [client.post(ROW) for _ in range(3)]
    finally:
        served.terminate()
        told = served.stderr.read()
        served.wait(30)
    made = compact(place, "credit")
    found = {*predictions(place, "credit", **WHENEVER)["nightgate_request"].to_pylist()}

    assert refused and "written down" in refused[0]["error"]["mistakes"][0] and ready[0] == 503 and "prediction log" in told
    assert all(status == 200 for status, _ in after) and made.torn == 1
    assert {answer["request_id"] for status, answer in answers + after if status == 200} <= found




@pytest.mark.parametrize("masked", [False, True])
def test_what_a_request_is_about_stands_in_the_log_and_its_label_is_found(tmp_path: Path, masked: bool) -> None:
    frame = people(1_500).assign(id=[f"P:{number}" for number in range(1_500)], on=pd.date_range("2026-01-01", periods=1_500, freq="h"))
    place = project(tmp_path, frame, entity=("id",), time="on", extra=SMALL + ('\n[privacy]\nmask = ["id"]\n' if masked else ""))
    path = place.contracts_of("credit") / "raw.json"
    suite = json.loads(path.read_text())
    path.write_text(json.dumps({**suite, "expectations": [each for each in suite["expectations"] if "regex" not in each["kwargs"]]}))
    assert run_plainly(place) is not None
    asked = people(400, seed=5).assign(on=pd.date_range("2026-06-01", periods=400, freq="min"))

    with running(place) as (client, _):
        rows = [{"income": row.income, "age": row.age, "city": row.city, "on": str(row.on), "id": f"N:{number}"}
                for number, row in enumerate(asked.itertuples())]
        assert client.post(rows[0])[0] == client.post({"rows": rows[1:]})[0] == client.post({"dataframe_records": rows[:1]}, "/invocations")[0] == 200
        assert client.post({name: value for name, value in rows[0].items() if name != "id"})[0] == 200
        code, told = client.post({**rows[0], "id": 7})
        properties = client.get("/openapi.json")[1]["paths"]["/models/credit/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0]
    known = predictions(place, "credit", **WHENEVER)["id"].to_pylist()
    pd.concat([frame, asked.assign(id=[f"N:{number}" for number in range(400)])]).to_csv(tmp_path / "data.csv", index=False)
    performance = monitor(place, "credit").performance

    assert code == 422 and told["error"]["mistakes"] == ["rows[0].id: found an integer, needed text"]
    assert "id" in properties["properties"] and "id" not in properties["required"]
    assert len(known) == 402 and known.count(None) == 1 and any(str(each).startswith("N:") for each in known) is not masked
    assert performance is not None and performance.labelled >= 400 and performance.realised is not None

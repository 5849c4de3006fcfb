"""What the prediction log says a model saw: clocks that are wrong, lines written twice, labels that come late."""

import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nightgate.definition.loading import definition_path, load_definition
from nightgate.drift.policy import PERFORMANCE, PREDICTION
from nightgate.gauges import metrics
from nightgate.monitoring import monitor
from nightgate.observing import AT, from_log
from nightgate.predictionlog import Logged, compact, segments_of, together
from nightgate.releases import read_manifest
from nightgate.scoring.scorer import load_scorer
from nightgate.segments import Segment
from nightgate.settings import Settings
from nightgate.watching import look
from tests.browsers import chromium, shown_by
from tests.projects import copied, people, project, run_plainly

TODAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("observed")
    frame = people(4_000).assign(id=np.arange(4_000), asked=pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(4_000) * 10, unit="min"))
    made = project(folder, frame, time="asked", entity=("id",))
    run_plainly(made)
    return made


def log(place: Settings, rows: int = 1_400, *, seed: int = 1, moved: float = 0.0) -> tuple[pa.Table, pd.DataFrame]:
    """Return a week of the log, and the labels of its entities."""
    frame = people(rows, seed)
    frame["income"] += moved
    asked = pd.Timestamp("2026-02-22") + pd.to_timedelta(np.arange(rows) * 7 * 24 * 60 // rows, "min")
    sent = frame[["income", "age", "city"]].assign(asked=asked)
    answers = load_scorer(place, "credit", 1).predict(sent)
    table = sent.assign(nightgate_at=asked, nightgate_request=[f"r{number}" for number in range(rows)], nightgate_row=0, nightgate_version=1,
                        nightgate_role="champion", id=np.arange(10_000, 10_000 + rows), prediction="no", probability=answers)
    return pa.Table.from_pandas(table, preserve_index=False), table[["id"]].assign(default=frame["default"])


def parts(table: pa.Table, rows: int = 1_000_000) -> Callable[[], Iterator[Logged]]:
    """Return a table as what the prediction log gives in parts of so many rows."""
    return lambda: (Logged(table.slice(start, rows), together([])) for start in range(0, len(table), rows))


def verdicts(place: Settings, table: pa.Table, labels: pd.DataFrame | None = None) -> tuple[dict[str, str], list[str]]:
    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    found = monitor(place, "credit", as_of=TODAY, seen=from_log(parts(table), definition, manifest, end=datetime(2026, 3, 1), labels=labels))
    return {each.column: each.verdict for each in found.compared.found.columns}, list(found.odd)


def test_a_week_of_requests_is_compared(place: Settings) -> None:
    quiet, odd = verdicts(place, log(place)[0])
    loud, _ = verdicts(place, log(place, moved=6)[0])

    assert {quiet[name] for name in ("income", "age", "city", PREDICTION)} == {"quiet"} and not odd
    assert quiet[PERFORMANCE] == "quiet"  # by the source's newest labels: these requests do not name their entity
    assert loud["income"] == loud[PREDICTION] == "alarm" and loud["age"] == "quiet"


def test_a_week_in_parts_is_the_same_week_and_one_part_at_a_time_is_in_memory(place: Settings) -> None:
    table, labels = log(place)
    read: list[weakref.ref[pa.Table]] = []
    most = 0

    def few() -> Iterator[Logged]:
        nonlocal most
        for start in range(0, len(table), 50):
            part = pa.Table.from_pydict(table.slice(start, 50).to_pydict(), table.schema)
            read.append(weakref.ref(part))
            yield Logged(part, together([]))
            del part
            most = max(most, sum(each() is not None for each in read))

    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    whole, many = (monitor(place, "credit", as_of=TODAY, seen=from_log(each, definition, manifest, end=datetime(2026, 3, 1), labels=labels))
                   for each in (parts(table), few))

    assert many.compared.found == whole.compared.found and many.performance == whole.performance and many.requests == whole.requests
    assert len(read) == 28 and most <= 2


def test_a_request_logged_twice_is_told_wherever_the_second_line_stands(place: Settings) -> None:
    table = log(place)[0]
    manifest = read_manifest(place.store, "credit", 1)
    definition = load_definition(definition_path(place.models, "credit"))
    seen = from_log(parts(pa.concat_tables([table, table.slice(3, 5)]), 100), definition, manifest, end=datetime(2026, 3, 1))

    rows = sum(len(batch) for batch, _ in seen.blocks())

    assert rows == len(table) and list(seen.odd) == ["5 rows logged twice"] and seen.requests == {"answered": 200}


def test_labels_that_have_come_are_joined_by_entity(place: Settings) -> None:
    table, labels = log(place)
    wrong = labels.assign(default=labels["default"].map({"yes": "no", "no": "yes"}))
    strangers = pd.DataFrame({"id": [-1, -2], "default": ["yes", "no"]})
    twice = pd.concat([labels, labels.iloc[:3], wrong.iloc[:1], strangers])

    found, odd = verdicts(place, table, twice)

    assert found[PERFORMANCE] == "quiet" and verdicts(place, table, wrong)[0][PERFORMANCE] == "alarm"
    assert odd == ["3 rows of labels contradicting each other", "2 rows of labels repeated", "2 rows of labels for unknown entities", "1 request whose label is not there yet"]


def test_wrong_clocks_and_lines_written_twice_are_told(place: Settings) -> None:
    table, _ = log(place)
    frame = table.to_pandas()
    skewed = frame.iloc[:2].assign(nightgate_at=pd.Timestamp("2099-01-01"), nightgate_request=["s1", "s2"])
    shadow = frame.iloc[:500].assign(nightgate_role="shadow", income=0.0)
    whole = pa.Table.from_pandas(pd.concat([frame, frame.iloc[:5], skewed, shadow]), preserve_index=False)

    found, odd = verdicts(place, whole)

    assert found["income"] == "quiet"
    assert odd == ["2 rows of a time that has not come: a clock is wrong", "5 rows logged twice"]


def test_an_empty_night_is_undecided(place: Settings) -> None:
    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    for empty in (log(place)[0].slice(0, 0), pa.table({AT: pa.array([], pa.timestamp("us"))})):
        found = look(place, "credit", as_of=TODAY, seen=from_log(parts(empty), definition, manifest, end=datetime(2026, 3, 1)))

        assert {each["verdict"] for each in found.night.columns.values()} == {"undecided"} and found.night.success and not found.night.decided
        assert "Nothing Can Be Told" in Path(str(found.night.report)).read_text().title()


def test_one_request_is_undecided(place: Settings) -> None:
    found, _ = verdicts(place, log(place)[0].slice(0, 1))

    assert {verdict for name, verdict in found.items() if name != PERFORMANCE} == {"undecided"}


def asked(place: Settings, ids: list[int], frame: pd.DataFrame, *, ago: timedelta = timedelta(hours=1)) -> None:
    """Write a champion's answers to requests that name their entity into the prediction log."""
    manifest, scorer = read_manifest(place.store, "credit", 1), load_scorer(place, "credit", 1)
    segment = Segment(place.store.folder("predictionlog") / "credit")
    shares = scorer.predict(frame[list(manifest.raw)])
    at = (datetime.now(UTC) - ago).timestamp()
    for number, (row, share) in enumerate(zip(json.loads(frame[list(manifest.raw)].to_json(orient="records", date_format="iso")), shares, strict=True)):
        line = {"at": at + number / 1_000, "request": f"q{ids[number]}", "version": 1, "role": "champion", "consumer": "",
                "sent": {**row, "id": ids[number]}, "answers": [{"prediction": "no", "probability": float(share)}]}
        segment.append(1, {**manifest.raw, **manifest.keys}, [json.dumps(line).encode(), b"\n"])
    segment.close()


def test_a_model_without_event_time_is_judged_by_the_labels_of_what_was_asked(tmp_path: Path) -> None:
    frame = people(1_500).assign(id=np.arange(1_500))
    place = project(tmp_path, frame, entity=("id",))
    run_plainly(place)
    new = people(400, seed=5).assign(id=np.arange(9_000, 9_400))
    asked(place, [*range(9_000, 9_400)], new)
    asked(place, [*range(1_500)], frame)  # what it was trained on is no evidence

    assert monitor(place, "credit").performance.labelled < 400  # type: ignore[union-attr]
    pd.concat([frame, new]).to_csv(tmp_path / "data.csv", index=False)
    good = monitor(place, "credit")
    flipped = new.assign(default=new["default"].map({"yes": "no", "no": "yes"}))
    pd.concat([frame, flipped]).to_csv(tmp_path / "data.csv", index=False)
    bad = monitor(place, "credit")

    assert good.performance is not None and bad.performance is not None
    assert 400 <= good.performance.labelled < 1_900 and good.performance.realised is not None and not good.performance.lost
    assert bad.performance.realised is not None and bad.performance.realised.value < good.performance.realised.value - 0.1


def test_where_too_few_labels_have_come_the_newest_of_the_source_tell(place: Settings) -> None:
    asked(place, [*range(20_000, 20_300)], people(300, seed=7).assign(asked=pd.Timestamp("2026-06-01")))

    found = monitor(place, "credit")

    assert found.told == "the prediction log" and "300 requests whose label is not there yet" in found.odd
    assert found.performance is not None and found.performance.labelled > 100


def test_volume_and_refused_requests_stand_on_the_page_night_by_night(place: Settings) -> None:
    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    for day, requests in ((TODAY, {"answered": 200}), (TODAY + timedelta(days=1), {"answered": 150, "422": 45, "503": 5})):
        seen = from_log(parts(log(place)[0]), definition, manifest, end=datetime.combine(day, time()))
        night = look(place, "credit", as_of=day, seen=replace(seen, requests=requests)).night

    page = Path(str(night.report)).read_text()
    assert "45 with 422 (22.5%), 5 with 503 (2.5%)" in page and "25.0% of the last night" in page
    assert ">requests</" in page and ">refused, 4xx</" in page and ">failed, 5xx</" in page


def test_the_last_window_stands_in_the_gauges(place: Settings) -> None:
    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    table, labels = log(place, moved=6)
    look(place, "credit", as_of=TODAY + timedelta(days=9), seen=from_log(parts(table), definition, manifest, end=datetime(2026, 3, 1), labels=labels))

    told = dict(line.rsplit(" ", 1) for line in metrics(place).splitlines() if not line.startswith("#"))

    gauge = {name: float(value) for name, value in told.items() if name.startswith(("nightgate_drift", "nightgate_performance"))}
    of = {name: gauge[f'nightgate_drift_{name}{{model="credit",column="income"}}'] for name in ("distance", "limit", "alarm")}
    assert of["distance"] > of["limit"] > 0 and of["alarm"] == 1 and gauge['nightgate_drift_alarm{model="credit",column="age"}'] == 0
    assert gauge['nightgate_drift_rows{model="credit"}'] == 1_400
    assert gauge['nightgate_drift_night_timestamp_seconds{model="credit"}'] == datetime(2026, 3, 10, tzinfo=UTC).timestamp()
    assert {kind for kind in ("promised", "estimated", "realised") if f'nightgate_performance{{model="credit",metric="auc",kind="{kind}"}}' in gauge} == {
        "promised", "estimated", "realised"}


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_of_a_night_without_sideways_scrolling(width: int, place: Settings, tmp_path: Path) -> None:
    browser = chromium()
    definition, manifest = load_definition(definition_path(place.models, "credit")), read_manifest(place.store, "credit", 1)
    for day in (TODAY + timedelta(days=7), TODAY + timedelta(days=8)):
        seen = from_log(parts(log(place, moved=6)[0]), definition, manifest, end=datetime(2026, 3, 1))
        night = look(place, "credit", as_of=day, seen=seen).night

    wide, shown = shown_by(browser, Path(str(night.report)).read_text(), width, tmp_path)

    assert wide <= max(width, 500) and shown.count("<svg") >= 4
    assert all(each in shown for each in ("What changed most, by importance", "Performance", "Distance against its limit, night by night", "Every column"))


def test_a_week_of_which_every_request_was_refused_is_told(place: Settings, tmp_path: Path) -> None:
    other = copied(place.root, tmp_path / "copy")
    shutil.rmtree(other.store.folder("predictionlog"), ignore_errors=True)
    segment = Segment(other.store.folder("predictionlog") / "credit")
    segment.refuse(int(datetime.now(UTC).timestamp() // 60) - 5, 422, 1_200)
    segment.close()

    found = monitor(other, "credit")

    assert found.told == "the source" and found.requests == {"answered": 0, "422": 1_200} and "1,200 requests refused with 422" in found.odd


def test_a_torn_segment_is_told(place: Settings, tmp_path: Path) -> None:
    other = copied(place.root, tmp_path / "copy")
    asked(other, [*range(50_000, 50_300)], people(300, seed=8).assign(asked=pd.Timestamp("2026-06-01")))
    path = segments_of(other, "credit")[-1]
    path.write_bytes(path.read_bytes()[:-25])

    found = monitor(other, "credit")

    assert [each for each in found.odd if "torn" in each] == ["1 line of the prediction log torn: a service was killed, or its disk was full"]


def sent(place: Settings, *, id_of: Callable[[int], object] = lambda number: number, **changed: Callable[[str], object]) -> list[str]:
    """Write 300 answers as a service does, some columns changed; return the ids that were asked for."""
    frame = people(300, seed=8).assign(asked=pd.Timestamp("2026-06-01"))
    segment = Segment(place.store.folder("predictionlog") / "credit")
    manifest = read_manifest(place.store, "credit", 1)
    at = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    for number, row in enumerate(json.loads(frame[["income", "age", "city"]].to_json(orient="records"))):
        row |= {"asked": "2026-06-01T12:00:00", "id": id_of(number)}
        row |= {name: change(row[name]) for name, change in changed.items()}
        line = {"at": at, "request": f"z{number}", "version": 1, "role": "champion", "consumer": "", "sent": row,
                "answers": [{"prediction": "no", "probability": 0.4}]}
        segment.append(1, {**manifest.raw, **manifest.keys}, [json.dumps(line).encode(), b"\n"])
    segment.close()
    return [*frame["default"]]


@pytest.fixture
def other(place: Settings, tmp_path: Path) -> Settings:
    found = copied(place.root, tmp_path / "copy")
    shutil.rmtree(found.store.folder("predictionlog"), ignore_errors=True)
    return found


def test_texts_are_compared_as_the_door_reads_them(other: Settings) -> None:
    sent(other, city=lambda city: "  " if city == "Chur" else f" {city} ")

    (city,) = (each for each in monitor(other, "credit").compared.found.columns if each.column == "city")

    assert city.verdict == "alarm" and city.why.startswith("missing in")


def test_labels_are_joined_by_times_with_a_zone_and_where_only_later_requests_name_the_entity(other: Settings) -> None:
    labels = sent(other, id_of=lambda number: 30_000 + number if number > 100 else None, asked=lambda when: f"{when}Z")
    rows = people(300, seed=8).assign(default=labels, id=np.arange(30_000, 30_300), asked="2026-06-01 12:00:00")
    with (other.root / "data.csv").open("a") as file:
        rows.to_csv(file, index=False, header=False)

    found = monitor(other, "credit")

    assert found.performance is not None and found.performance.labelled == 199


def test_requests_are_compared_where_the_source_is_gone(other: Settings) -> None:
    sent(other)
    (other.root / "data.csv").unlink()

    found = monitor(other, "credit")

    assert found.compared.found.rows == 300 and any("no label could be read" in each for each in found.odd)
    assert [each.verdict for each in found.compared.found.columns if each.column == PERFORMANCE] == ["undecided"]


def test_answers_of_another_model_in_the_folder_have_no_prediction_here(other: Settings) -> None:
    segment = Segment(other.store.folder("predictionlog") / "credit")
    line = {"at": datetime.now(UTC).timestamp() - 60, "request": "x", "version": 1, "role": "champion", "consumer": "", "sent": {"size": 5},
            "answers": [{"prediction": 3.5}]}
    segment.append(1, {"size": "integer"}, [json.dumps(line).encode(), b"\n"])
    segment.close()

    found = {each.column: each.verdict for each in monitor(other, "credit").compared.found.columns}

    assert found[PREDICTION] == "undecided" and found["size"] == "watch"


def test_a_clock_that_stood_before_the_first_run_is_told(place: Settings) -> None:
    asked(place, [20_000, 20_001], people(2, seed=7).assign(asked=pd.Timestamp("2026-06-01")), ago=timedelta(days=20_000))
    compact(place, "credit")
    asked(place, [*range(20_002, 20_300)], people(298, seed=7).assign(asked=pd.Timestamp("2026-06-01")))

    found = monitor(place, "credit")

    assert any(each.startswith("the prediction log has 1 day from before the first run, as 197") for each in found.odd)

"""Features are made of a row by the row alone: the same in any batch, order and process."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightgate.datasets import GROUP, ROW, ColumnType, Dataset
from nightgate.definition.model import Definition
from nightgate.errors import DefinitionError
from nightgate.features import engineer, engineer_frame
from nightgate.hashing import row_hashes
from nightgate.snapshots import collect
from tests.making import defined, project

ROWS = pa.table({
    "id": [3, 1, 2], "at": [datetime(2026, 3, 1, 13), datetime(2026, 3, 2), datetime(2026, 3, 3)],
    "born": [datetime(2000, 2, 29), None, datetime(1990, 1, 1)], "n": [1, None, 3], "x": [0.5, float("inf"), None],
    "ok": [True, False, None], "kind": ["a", None, "b"], "note": ["call 2 times", "none", None], "leak": [1, 2, 3],
    "y": ["yes", "no", "yes"]})
TYPES: dict[str, ColumnType] = {
    "id": "integer", "at": "date", "born": "date", "n": "integer", "x": "number", "ok": "boolean", "kind": "text",
    "note": "text", "leak": "integer"}
SHAPE: dict[str, Any] = {"entity": "id", "time": "at", "columns": {"text": ["note"], "exclude": ["leak"]},
                         "evaluation": {"slices": ["kind", "leak"]}}


def snapshot_of(folder: Path, definition: Definition, table: pa.Table = ROWS) -> Dataset:
    pq.write_table(table, folder / "data.parquet")
    return collect(definition, project(folder), as_of=date(2026, 12, 1)).dataset


def engineered(folder: Path, definition: Definition, table: pa.Table = ROWS) -> pd.DataFrame:
    features = engineer(definition, project(folder), snapshot_of(folder, definition, table))
    stored = pq.read_table(features.uri)
    assert tuple(stored.column_names) == features.names
    assert stored.num_rows == features.rows
    frame: pd.DataFrame = stored.to_pandas()
    return frame


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a function that writes the module `own_features` and returns a definition using it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(body: str) -> Definition:
        (tmp_path / "own_features.py").write_text(f"import pandas as pd\n\ndef features(frame):\n    {body}\n")
        sys.modules.pop("own_features", None)
        return defined("data.parquet", **SHAPE, features={"own": "own_features:features"})

    yield written
    sys.modules.pop("own_features", None)


def test_dates_and_text_become_numbers_and_the_rest_stays(tmp_path: Path) -> None:
    frame = engineered(tmp_path, defined("data.parquet", **SHAPE)).set_index("id")

    row = frame.loc[3]
    assert (row["at_hour"], row["at_weekday"], row["at_month"]) == (13, 6, 3)
    assert (row["born_year"], row["born_month"], row["born_weekday"], row["born_hour"]) == (2000, 2, 1, 0)
    assert row["born_days"] == pytest.approx((date(2026, 3, 1) - date(2000, 2, 29)).days + 13 / 24)
    assert (row["note_length"], row["note_words"], row["note_digits"]) == (12, 3, pytest.approx(1 / 12))
    assert frame["x"].tolist()[1] == float("inf")  # a gate's to see
    assert np.isnan(frame["born_days"][1])


def test_excluded_columns_are_gone_and_what_later_stages_need_stays(tmp_path: Path) -> None:
    frame = engineered(tmp_path, defined("data.parquet", **SHAPE))

    assert {"born", "note", "at_year"}.isdisjoint(frame.columns)
    assert {"y", "id", "at", "kind", "leak", ROW, GROUP} <= {*frame.columns}  # `leak` as a slice only
    without = engineered(tmp_path, defined("data.parquet", **{**SHAPE, "evaluation": {}}))
    assert "leak" not in without.columns


def test_types_of_columns_that_pass_stay(tmp_path: Path) -> None:
    definition = defined("data.parquet", **SHAPE)
    snapshot = snapshot_of(tmp_path, definition)

    features = engineer(definition, project(tmp_path), snapshot)

    assert features.types.items() >= {"n": "integer", "x": "number", "ok": "boolean", "kind": "text", "y": "text", "at": "date",
                                      "born_year": "number"}.items()
    assert engineer(definition, project(tmp_path), snapshot) == features


def test_groups_are_entities_and_rows_are_entities_at_a_time(tmp_path: Path) -> None:
    table = pa.concat_tables([ROWS, ROWS.set_column(1, "at", pa.array([datetime(2026, 4, 1)] * 3))])

    frame = engineered(tmp_path, defined("data.parquet", **SHAPE), table)

    assert frame[ROW].nunique() == 6
    assert frame.groupby("id")[GROUP].nunique().tolist() == [1, 1, 1]
    assert frame[GROUP].nunique() == 3


def test_without_an_entity_a_row_is_what_it_holds_but_for_the_target(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 1, 2], "y": ["yes", "no", "yes"]})

    frame = engineered(tmp_path, defined("data.parquet"), table)

    assert frame.groupby("x")[ROW].nunique().tolist() == [1, 1]
    assert frame[ROW].equals(frame[GROUP].rename(ROW))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(picked=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_row_by_row_is_the_same_as_all_at_once_in_any_order(own: Any, picked: list[int]) -> None:
    definition = own("return frame.assign(ratio=frame.x / frame.n, loud=frame.kind.str.upper())")
    frame = ROWS.to_pandas().drop(columns="y").iloc[picked].reset_index(drop=True)

    together = engineer_frame(definition, frame, TYPES)
    alone = pd.concat([engineer_frame(definition, frame.iloc[[number]], TYPES) for number in range(len(frame))])

    pd.testing.assert_frame_equal(together, alone)


@pytest.mark.parametrize("with_own", [False, True])
def test_training_and_serving_make_the_same_features(tmp_path: Path, own: Any, with_own: bool) -> None:
    definition = own("return frame.assign(ratio=frame.x / frame.n)") if with_own else defined("data.parquet", **SHAPE)
    trained = engineered(tmp_path, definition).sort_values("id").reset_index(drop=True)

    rows = ROWS.to_pandas().drop(columns="y").sort_values("id").reset_index(drop=True)
    served = engineer_frame(definition, rows, TYPES)

    assert ("ratio" in trained) == with_own
    for name in served.columns:
        assert trained[name].isna().tolist() == served[name].isna().tolist()
        assert trained[name].dropna().tolist() == served[name].dropna().tolist()


def test_an_own_function_never_sees_the_target_or_what_is_excluded(tmp_path: Path, own: Any) -> None:
    frame = engineered(tmp_path, own("return frame.assign(seen='|'.join(frame.columns))"))

    seen = frame["seen"][0].split("|")
    assert {"y", "leak"}.isdisjoint(seen)
    assert {"id", "at", "n", "kind", "note_length"} <= {*seen}


@pytest.mark.parametrize(("body", "told"), [
    ("return frame['nothing'] / 2", r"own_features\.py, line 4: `return frame\['nothing'\] / 2`: KeyError"),
    ("return 7", "returned int"),
    ("return frame.dropna()", "rows of 3"),
    ("return frame.sort_values('n')", "changed their order"),
    ("return frame.assign(share=frame.n / frame.n.sum())", "looks at other rows: `share`"),
    ("return frame.assign(first=frame.kind.iloc[0])", "looks at other rows: `first`"),
    ("return pd.get_dummies(frame)", "looks at other rows"),
    ("return pd.concat([frame, frame], axis=1)", "twice"),
])
def test_an_own_function_that_cannot_serve_is_told(tmp_path: Path, own: Any, body: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        engineered(tmp_path, own(body))

    assert not list((tmp_path / "store").glob("features/*"))


def test_an_own_function_that_is_not_there_is_told(tmp_path: Path, own: Any) -> None:
    own("return frame")

    for address, told in (("nowhere:features", "cannot be imported"), ("own_features:nothing", "has no `nothing`")):
        with pytest.raises(DefinitionError, match=told):
            engineered(tmp_path, defined("data.parquet", **SHAPE, features={"own": address}))


def test_a_derived_name_that_is_taken_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="`at_hour`"):
        engineered(tmp_path, defined("data.parquet", **SHAPE), ROWS.append_column("at_hour", pa.array([1, 2, 3])))


def test_hashes_are_the_same_in_every_process_and_batch() -> None:
    code = ("import pyarrow as pa; from nightgate.hashing import row_hashes; "
            "print(row_hashes(pa.table({'s': ['a', None], 'n': [1, None], 'x': [0.5, None]})).tolist())")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert found == "[11206014227167815436, 258863698125685209]"


@given(st.lists(st.tuples(st.integers(-5, 5) | st.none(), st.sampled_from(["a", "b", "", None])), min_size=1))
def test_equal_rows_have_equal_hashes_and_others_do_not(rows: list[tuple[int | None, str | None]]) -> None:
    numbers, texts = zip(*rows, strict=True)
    table = pa.table({"n": pa.array(numbers, pa.int64()), "s": pa.array(texts, pa.string())})

    hashes = row_hashes(table).tolist()

    assert len({*hashes}) == len({*rows})
    assert hashes == row_hashes(table.select(["s", "n"])).tolist()
    assert hashes == np.concatenate([row_hashes(table.slice(at, 1)) for at in range(len(rows))]).tolist()
    assert hashes == row_hashes(table.set_column(1, "s", table["s"].dictionary_encode())).tolist()

"""What is private never reaches the disk, and its key is never replaced silently."""

import json
import multiprocessing
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nightgate.errors import DataUnusable, StoreError
from nightgate.privacy import TOKEN_CHARACTERS, fingerprint, masking_key, tokens
from nightgate.schedules import window_of
from nightgate.snapshots import Tally, collect, read_window
from nightgate.spool import Spool
from tests.making import defined, project

AS_OF = date(2026, 1, 1)
SECRETS = ("ada@example.org", "Lovelace")


def write(folder: Path) -> None:
    rows = "ada@example.org,Lovelace,1,a\n,Lovelace,2,b\nada@example.org,Byron,3,a\n"
    (folder / "a.csv").write_text(f"mail,name,x,y\n{rows}")


def test_masked_columns_become_tokens_and_dropped_ones_go(tmp_path: Path) -> None:
    write(tmp_path)

    snapshot = collect(defined("a.csv", privacy={"mask": ["mail"], "drop": ["name"]}), project(tmp_path), as_of=AS_OF)

    stored = {row["x"]: row["mail"] for row in pq.read_table(snapshot.dataset.uri).to_pylist()}
    key = masking_key(project(tmp_path), "credit")
    assert snapshot.dataset.names == ("mail", "x", "y")
    assert stored == {1: tokens(["ada@example.org"], key)[0], 2: None, 3: stored[1]}
    assert len(str(stored[1])) == TOKEN_CHARACTERS


def test_no_private_value_touches_the_disk_even_when_rows_wait_there(tmp_path: Path) -> None:
    write(tmp_path)
    definition = defined("a.csv", privacy={"mask": ["mail", "name"]})

    spool = Spool(tmp_path / "spool", memory=0)
    spool.folder.mkdir()
    read_window(definition, project(tmp_path), window_of(definition, AS_OF), Tally(), spool)
    collect(definition, project(tmp_path), as_of=AS_OF)

    written = [path.read_bytes() for folder in ("spool", "store") for path in (tmp_path / folder).rglob("*.*")]
    assert len(written) == 4  # rows that wait, snapshot, sidecar, fingerprint
    assert not any(secret.encode() in content for secret in SECRETS for content in written)


def test_errors_show_no_private_value(tmp_path: Path) -> None:
    write(tmp_path)

    with pytest.raises(DataUnusable) as caught:
        collect(defined("a.csv", privacy={"mask": ["mail"], "drop": ["name"]}), project(tmp_path), as_of=AS_OF,
                types={"y": "date", "mail": "integer"})

    assert not any(secret in str(caught.value) for secret in SECRETS)


@pytest.mark.parametrize("kind", ["mask", "drop"])
def test_a_private_column_that_is_gone_stops_the_run(tmp_path: Path, kind: str) -> None:
    write(tmp_path)

    with pytest.raises(DataUnusable, match="`phone`, named under"):
        collect(defined("a.csv", privacy={kind: ["phone"]}), project(tmp_path), as_of=AS_OF)


def test_numbers_are_masked_by_their_text() -> None:
    assert tokens(["7"], b"k") == tokens(["7"], b"k") != tokens(["7"], b"l")
    assert tokens(["7", None, "007"], b"k")[1] is None
    assert len({*tokens([str(number) for number in range(1_000)], b"k")}) == 1_000


def test_the_key_file_is_made_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    first = masking_key(project(tmp_path), "credit")

    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert masking_key(project(tmp_path), "credit") == first
    assert masking_key(project(tmp_path), "churn") != first


def test_a_key_that_is_there_is_read_without_writing_beside_it(tmp_path: Path) -> None:
    place = project(tmp_path)
    place.keys.write_text(json.dumps({"credit": "ab" * 32}))

    assert masking_key(place, "credit") == b"\xab" * 32
    assert [path.name for path in tmp_path.glob("keys*")] == ["keys.json"]


def test_many_processes_make_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        keys = pool.starmap(masking_key, [(project(tmp_path), "credit")] * 9)

    assert len({*keys}) == 1


def test_a_lost_or_replaced_key_is_said_and_not_replaced(tmp_path: Path) -> None:
    masking_key(project(tmp_path), "credit")
    path = tmp_path / "keys.json"
    whole = path.read_text()

    path.unlink()
    with pytest.raises(StoreError, match="is gone from"):
        masking_key(project(tmp_path), "credit")
    assert not path.exists()

    path.write_text(json.dumps({"credit": "00" * 32}))
    with pytest.raises(StoreError, match="is another one"):
        masking_key(project(tmp_path), "credit")

    path.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        masking_key(project(tmp_path), "credit")

    path.write_text(whole)
    assert masking_key(project(tmp_path), "credit").hex() in whole


def test_no_key_stands_in_the_store(tmp_path: Path) -> None:
    key = masking_key(project(tmp_path), "credit")

    written = "".join(path.read_text() for path in (tmp_path / "store").rglob("*.json"))

    assert fingerprint(key) in written
    assert key.hex() not in written

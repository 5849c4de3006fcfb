"""The store holds files under their content's name, whole or not at all, on a disk and behind a URL."""

import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightgate.errors import FileMissing, StoreError
from nightgate.store import Store, sha256_of


@pytest.fixture(params=["disk", "file URL", "memory URL"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store({"disk": str(tmp_path / "store"), "file URL": f"file://{tmp_path}/store",
                  "memory URL": f"memory://{uuid.uuid4().hex}"}[request.param])


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / uuid.uuid4().hex
    path.write_bytes(content)
    return path


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_a_file_is_found_under_its_content_and_stays_the_same(store: Store, tmp_path: Path, content: bytes) -> None:
    source = file_of(tmp_path, content)
    expected = sha256_of(source)

    address, digest = store.put_file(source, folder="data", suffix=".bin")
    again = store.put_file(file_of(tmp_path, content), folder="data", suffix=".bin")

    assert again == (address, digest) == (store.address(f"data/{expected}.bin"), expected)
    assert store.read(f"data/{digest}.bin") == content
    assert not source.exists()
    with store.local_copy(address) as path:
        assert path.read_bytes() == content


def test_json_goes_round_and_names_are_sorted(store: Store) -> None:
    for name in ("b", "a"):
        store.write_json(f"records/{name}.json", {"ä": [1, None]})

    assert store.read_json("records/a.json") == {"ä": [1, None]}
    assert store.names("records") == ["a.json", "b.json"]
    assert store.names("nothing") == []


def test_what_is_not_there_is_missing_and_removing_it_is_no_error(store: Store) -> None:
    store.remove("records/a.json")

    assert not store.exists("records/a.json")
    with pytest.raises(FileMissing):
        store.read("records/a.json")


def test_a_folder_is_removed_with_all_below_it(store: Store) -> None:
    store.write("a/b/c", b"1")
    store.write("a/d", b"2")

    store.remove("a")

    assert not store.exists("a/d")
    assert not store.exists("a/b/c")


def test_a_damaged_json_file_is_said(store: Store) -> None:
    store.write("a.json", b'{"half": ')

    with pytest.raises(StoreError, match="not valid JSON"):
        store.read_json("a.json")


def test_a_reader_sees_one_content_or_the_other_never_half(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    store.write("pointer", contents[0])

    def replace() -> None:
        for number in range(60):
            store.write("pointer", contents[number % 2])

    writer = threading.Thread(target=replace)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(store.read("pointer"))
    writer.join()

    assert seen <= {*contents}
    assert [path.name for path in tmp_path.iterdir()] == ["pointer"]


def test_a_file_that_stands_where_a_folder_must_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")

    with pytest.raises(StoreError) as caught:
        Store(str(tmp_path)).write("data/a.json", b"{}")

    assert caught.value.remedy
    assert os.listdir(tmp_path) == ["data"]  # noqa: PTH208


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of its own of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("this user may mount nothing")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_said_and_nothing_is_half_written(small_disk: Path) -> None:
    store = Store(str(small_disk))
    store.write("pointer", b"old")

    for write in (lambda: store.write("pointer", bytes(2 << 20)), lambda: store.write("new", bytes(2 << 20))):
        with pytest.raises(StoreError, match="No space left") as caught:
            write()
        assert "nothing was half written" in caught.value.remedy

    assert store.read("pointer") == b"old" and store.names("") == ["pointer"] and len([*small_disk.iterdir()]) == 1


def test_a_file_of_another_disk_is_moved_whole(small_disk: Path, tmp_path: Path) -> None:
    source = file_of(tmp_path, b"content")

    address, _ = Store(str(small_disk)).put_file(source, folder="data", suffix=".bin")

    assert Path(address).read_bytes() == b"content"
    assert not source.exists() and len([*(small_disk / "data").iterdir()]) == 1


def test_a_read_only_disk_is_said_and_still_read(small_disk: Path) -> None:
    store = Store(str(small_disk))
    store.write("pointer", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    store.demand_readable()
    with pytest.raises(StoreError, match="Read-only") as caught:
        store.demand_writable()

    assert "read-only disk" in caught.value.remedy and store.read("pointer") == b"old"


def test_a_store_that_is_a_file_or_was_never_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(StoreError, match="Not a directory"):
        Store(str(tmp_path / "file")).demand_readable()
    with pytest.raises(FileMissing, match=r"the store .*/gone is gone, or was never written into"):
        Store(str(tmp_path / "gone")).read("pointer")


def test_a_store_that_can_be_written_holds_nothing_of_the_trial(store: Store) -> None:
    store.demand_readable()
    store.demand_writable()

    assert store.names("") == []

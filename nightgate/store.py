"""The store: content-addressed files that never change, and small pointers that are replaced whole.

Any fsspec URL serves. On a local disk a file appears by rename, on an object store by one PUT, so that a kill leaves the
old content or the new one, never half of it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.errors import FileMissing, StoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def found_at(address: str) -> "tuple[AbstractFileSystem, str]":
    """Return the file system of an address, and the path in it; it keeps no listing, since others write there too."""
    from fsspec.core import url_to_fs

    files, path = url_to_fs(address, use_listings_cache=False)
    return files, str(path)


def jsonable(value: Any) -> Any:
    """Return a value as JSON takes it: records as objects, numpy's values as numbers and lists, what is no number or infinite as null."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, inf_nan_mode="null", fallback=lambda each: each.tolist() if hasattr(each, "tolist") else str(each))


@dataclass(frozen=True)
class Store:
    """A folder or bucket by its fsspec URL; keys are relative paths with `/`."""

    url: str

    @property
    def local(self) -> Path | None:
        """The folder of a store on this machine's disk, else None."""
        if self.url.startswith("file://"):
            return Path(self.url.removeprefix("file://"))
        return None if "://" in self.url else Path(self.url)

    def demand_readable(self) -> None:
        """Raise StoreError where something stands on this machine's disk in the store's place that is no folder, or cannot be read."""
        with self._told(""):
            if self.local is not None and self.local.exists():
                os.scandir(self.local).close()

    def demand_writable(self) -> None:
        """Raise StoreError where nothing can be written."""
        key = f".writable.{uuid.uuid4().hex}"  # named as what `doctor` takes away where a kill leaves it
        self.write(key, b"?")
        self.remove(key)

    def address(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}"

    def put_file(self, source: Path, *, folder: str, suffix: str) -> tuple[str, str]:
        """Move a local file into the store under its content hash; return its address and SHA-256.

        The same content is written once. Raises StoreError when the store cannot be written.
        """
        digest = sha256_of(source)
        key = f"{folder}/{digest}{suffix}"
        if self.exists(key):
            source.unlink()
            return self.address(key), digest
        with self._told(key):
            if self.local is None:
                files, path = self._remote(key)
                files.put_file(str(source), path)
                source.unlink()
            else:
                with _whole(self.local / key) as partial:
                    try:
                        os.link(source, partial)
                    except OSError:  # another disk, or one without links
                        shutil.copyfile(source, partial)
                source.unlink()
        return self.address(key), digest

    def write(self, key: str, content: bytes) -> None:
        """Write a small object whole, replacing what was there. Raises StoreError."""
        with self._told(key):
            if self.local is None:
                files, path = self._remote(key)
                files.pipe_file(path, content)
                return
            with _whole(self.local / key) as partial:
                partial.write_bytes(content)

    def write_json(self, key: str, value: Any) -> None:
        self.write(key, json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def read(self, key: str) -> bytes:
        """Return an object's content. Raises FileMissing and StoreError."""
        with self._told(key):
            if self.local is not None:
                return (self.local / key).read_bytes()
            files, path = self._remote(key)
            return bytes(files.cat_file(path))

    def read_json(self, key: str) -> Any:
        """Return a JSON object's value. Raises FileMissing, and StoreError when it is not whole."""
        try:
            return json.loads(self.read(key))
        except ValueError as error:
            raise StoreError(f"{self.address(key)} is not valid JSON: {error}.",
                             remedy="Nightgate writes such files whole; put the copy of a backup in its place.") from None

    def exists(self, key: str) -> bool:
        with self._told(key):
            if self.local is not None:
                return (self.local / key).exists()
            files, path = self._remote(key)
            return bool(files.exists(path))

    def names(self, key: str) -> list[str]:
        """Return the names directly below a key, sorted; none when it is not there. Hidden ones are left out."""
        with self._told(key):
            if self.local is not None:
                folder = self.local / key
                found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            else:
                files, path = self._remote(key)
                found = [name.rstrip("/").rsplit("/", 1)[-1] for name in files.ls(path, detail=False)] \
                    if files.exists(path) else []
        return sorted(name for name in found if not name.startswith("."))

    def files(self, key: str) -> list[str]:
        """Return the keys of all files below a key, sorted."""
        with self._told(key):
            files, path = self._remote(key)
            base = path[:len(path) - len(key)]
            return sorted(str(found)[len(base):] for found in files.find(path)) if files.exists(path) else []

    def size(self, key: str) -> int:
        """Return the bytes of a file, or of all files below a key."""
        with self._told(key):
            files, path = self._remote(key)
            return int(files.du(path))

    def modified(self, key: str) -> float:
        """Return when a file was written, in seconds since 1970."""
        with self._told(key):
            files, path = self._remote(key)
            return float(files.modified(path).timestamp())

    def remove(self, key: str) -> None:
        """Remove an object or a folder with all below it; nothing happens when it is not there."""
        if not self.exists(key):
            return
        files, path = self._remote(key)
        with self._told(key):
            files.rm(path, recursive=True)

    def folder(self, key: str) -> Path:
        """Return a folder on this machine's disk for work in progress, made if needed."""
        own = hashlib.sha256(self.url.encode()).hexdigest()[:16]  # each remote store has a folder of its own
        base = self.local if self.local is not None else Path.home() / ".cache" / "nightgate" / own
        path = base / key
        with self._told(key):
            path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[Any]:
        """Open an object for reading, piece by piece where the store is remote."""
        with self._told(key):
            files, path = self._remote(key)
            with files.open(path, "rb") as file:
                yield file

    def share(self, path: Path, key: str) -> None:
        """Copy a local file under a key, unless it stands there; a kill leaves none or the whole."""
        if self.local is None:
            with self._told(key):
                files, remote = self._remote(key)
                files.put_file(str(path), remote)
        elif self.local / key != path:
            self.write(key, path.read_bytes())

    @contextlib.contextmanager
    def local_copy(self, address: str) -> Iterator[Path]:
        """Give a local path to read an address of this store from; a remote one is copied for the time being."""
        key = self._key(address)
        if self.local is not None:
            path = self.local / key
            if not path.exists():
                raise FileMissing(f"{address} is not in the store.", remedy="Run the model again to make it anew.")
            yield path
            return
        files, remote = self._remote(key)
        copy = self.folder("copies") / f"{uuid.uuid4().hex}-{Path(key).name}"
        try:
            with self._told(key):
                files.get_file(remote, str(copy))
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _key(self, address: str) -> str:
        """Return the key of an address; one from before the store was moved names its content by the last two parts."""
        here = f"{self.url.rstrip('/')}/"
        return address.removeprefix(here) if address.startswith(here) else "/".join(address.rsplit("/", 2)[1:])

    def _remote(self, key: str) -> "tuple[AbstractFileSystem, str]":
        return found_at(self.address(key))

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if self.local is not None and not self.local.exists():
                raise FileMissing(f"{self.address(key)} cannot be there: the store {self.local} is gone, or was never written into.",
                                  remedy="Is its disk there? NIGHTGATE_STORE names it.") from None
            raise FileMissing(f"{self.address(key)} is not in the store.",
                              remedy="`nightgate status` shows what there is.") from None
        except OSError as error:
            remedies = {errno.ENOSPC: "Free some disk space; nothing was half written.",
                        errno.EROFS: "The store is on a read-only disk; set NIGHTGATE_STORE to one that can be written.",
                        errno.EACCES: "This user may not write there; set NIGHTGATE_STORE or change the rights.",
                        errno.ENOTDIR: "A file stands where the store needs a folder."}
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StoreError(f"The store cannot reach {self.address(key)}: {reason}.",
                             remedy=remedies.get(error.errno or 0, "Check NIGHTGATE_STORE and that it can be reached.")
                             ) from error


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a path beside a file's place; what is written there comes into its place for good: content first to the disk, then the name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

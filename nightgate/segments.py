"""Segments of the prediction log: what one process of a service appends to, and holds locked meanwhile."""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = "predictionlog"
LARGEST = 64 * 2**20
"""Bytes of a segment, after which the next is begun."""

BEGUN = "%Y%m%dT%H%M%S"
"""How the name of a segment tells when it was begun, in UTC."""


class Segment:
    """The segment that one process appends to."""

    def __init__(self, folder: Path, *, largest: int = LARGEST) -> None:
        self.folder, self.largest = folder, largest
        self.descriptor, self.size, self.torn = -1, 0, False
        self.headers: set[int] = set()

    def refuse(self, minute: int, status: int, count: int) -> None:
        """Append how many requests of a minute were answered with a status that is no answer. Raises OSError."""
        self._demand_room()
        self._write([json.dumps({"at": minute * 60, "status": status, "refused": count}).encode(), b"\n"])

    def append(self, version: int, raw: Mapping[str, str], parts: Sequence[bytes]) -> None:
        """Append one line, whole or not at all; the first of a version says which columns its rows have. Raises OSError."""
        self._demand_room()
        if version not in self.headers:
            self._write([json.dumps({"version": version, "raw": dict(raw)}).encode(), b"\n"])
            self.headers.add(version)
        self._write(parts)

    def _write(self, parts: Sequence[bytes]) -> None:
        if self.torn:
            parts = [b"\n", *parts]
        wanted = sum(map(len, parts))
        self.torn = True
        if os.writev(self.descriptor, parts) != wanted:
            raise OSError(28, "No space left on device")
        self.torn = False
        self.size += wanted

    def _demand_room(self) -> None:
        if self.descriptor < 0 or self.size >= self.largest:
            self._begin()

    def _begin(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{time.strftime(BEGUN, time.gmtime())}-{uuid.uuid4().hex[:12]}.jsonl"
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        if not os.fstat(self.descriptor).st_nlink:  # compacted away before it was held
            self._begin()
            return
        self.size, self.torn = 0, False
        self.headers.clear()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

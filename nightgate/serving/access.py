"""Access: keys that are kept as hashes, with the models they may ask, an end, and a rate.

A key is `ng_<id>_<secret>` and is shown once. Who has the file cannot ask: a secret of 256 random bits is found from its
SHA-256 by nobody, so that no slow hash is needed.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from nightgate import keyfiles
from nightgate.errors import StoreError, UsageError

ADMIN = "admin"
NO_FILE = (0, 0)


@dataclass(frozen=True)
class Key:
    """Who may ask what. `models` are names, `*` for all, `admin` also for metrics; `expires` is a time in seconds, None for never;
    `rate` is requests a second."""

    id: str
    consumer: str
    sha256: str
    models: tuple[str, ...]
    expires: float | None = None
    rate: float | None = None
    created: float = 0.0


@dataclass
class Bucket:
    """What a consumer may still ask at once: a token a request, refilled by the rate, at most a second's worth."""

    rate: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(self.tokens + max(now - self.at, 0.0) * self.rate, max(self.rate, 1.0))
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


Refusal = Literal["unknown", "expired", "scope", "rate"]


@dataclass
class Access:
    """The keys of a file, read again when it changes. Where there was no file at the start, everybody may ask."""

    path: Path
    workers: int = 1
    keys: Mapping[str, Key] = field(default_factory=dict)
    stamp: tuple[int, int] = NO_FILE
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def follow(self) -> None:
        """Read the file if it has changed. Raises StoreError when it is damaged or gone: the keys before it stay in force."""
        stamp = _stamp(self.path)
        if stamp != self.stamp:
            if stamp == NO_FILE:
                raise StoreError(f"The file of access keys {self.path} is gone; the keys that stood in it stay in force.",
                                 remedy="Put the copy of a backup in its place, or start the service again to be without keys.")
            self.keys = read_keys(self.path)
            self.stamp = stamp

    def key_of(self, secret: str | None) -> Key | None:
        """Return the key whose id stands in a text; whether its secret does is not asked."""
        parts = (secret or "").split("_")
        return self.keys.get(parts[1]) if len(parts) == 3 else None

    def allows(self, secret: str | None, model: str, *, now: float, clock: float) -> Key | Refusal:
        """Return the key that lets a request pass, or why none does. `now` is the wall clock, `clock` one that never goes back."""
        if self.stamp == NO_FILE:
            return OPEN
        key = self.key_of(secret)
        expected = key.sha256 if key is not None else "0" * 64
        if not hmac.compare_digest(hashlib.sha256((secret or "").encode("utf-8", "replace")).hexdigest(), expected) or key is None:
            return "unknown"
        if key.expires is not None and now >= key.expires:
            return "expired"
        if model not in key.models and ADMIN not in key.models and (model == ADMIN or "*" not in key.models):
            return "scope"
        if key.rate is not None:
            rate = key.rate / self.workers
            bucket = self.buckets.setdefault(key.id, Bucket(rate, max(rate, 1.0), clock))
            bucket.rate = rate
            if not bucket.take(clock):
                return "rate"
        return key


OPEN = Key("", "anonymous", "", ("*", ADMIN))


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by their ids, none where there is no file. Raises StoreError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {each["id"]: Key(**{**each, "models": tuple(each["models"])}) for each in found}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError):
        raise StoreError(f"The file of access keys {path} cannot be read or is damaged.",
                         remedy="Put the copy of a backup in its place.") from None


def issue(path: Path, consumer: str, models: tuple[str, ...], *, expires: float | None = None, rate: float | None = None
          ) -> tuple[Key, str]:
    """Make a key; return it and its text, which is shown this once. Raises UsageError for a consumer that has one."""
    with keyfiles.locked(path):
        keys = read_keys(path)
        if any(each.consumer == consumer for each in keys.values()):
            raise UsageError(f"{consumer} has a key.", remedy=f"`nightgate keys rotate {consumer}` makes a new one.")
        return _added(path, keys, Key("", consumer, "", models, expires, rate))


def rotate(path: Path, consumer: str, *, overlap: float, now: float) -> tuple[Key, str]:
    """Make a consumer's next key, valid for as long as the last one was; the ones before it end `overlap` seconds from now.

    Raises UsageError for a consumer that is unknown.
    """
    with keyfiles.locked(path):
        keys = read_keys(path)
        before = _of(keys, consumer)
        ended = {each.id: replace(each, expires=min(each.expires or now + overlap, now + overlap)) for each in before}
        last = before[-1]
        expires = None if last.expires is None else now + last.expires - last.created
        return _added(path, keys | ended, replace(last, expires=expires))


def revoke(path: Path, consumer: str) -> int:
    """Remove a consumer's keys; return how many. Raises UsageError for one that is unknown."""
    with keyfiles.locked(path):
        keys = read_keys(path)
        gone = _of(keys, consumer)
        _write(path, {name: key for name, key in keys.items() if key not in gone})
        return len(gone)


def _of(keys: Mapping[str, Key], consumer: str) -> list[Key]:
    found = sorted((each for each in keys.values() if each.consumer == consumer), key=lambda each: each.created)
    if not found:
        known = ", ".join(sorted({each.consumer for each in keys.values()}))
        raise UsageError(f"{consumer} has no key.", remedy=f"Known: {known or 'nobody'}.")
    return found


def _added(path: Path, keys: Mapping[str, Key], wanted: Key) -> tuple[Key, str]:
    name = secrets.token_hex(6)
    secret = f"ng_{name}_{secrets.token_hex(32)}"
    key = replace(wanted, id=name, sha256=hashlib.sha256(secret.encode()).hexdigest(), created=time.time())
    _write(path, {**keys, name: key})
    return key, secret


def _write(path: Path, keys: Mapping[str, Key]) -> None:
    keyfiles.write(path, [asdict(key) for key in keys.values()])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return NO_FILE
    return found.st_mtime_ns, found.st_ino

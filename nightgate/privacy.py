"""Privacy: columns dropped or replaced by keyed tokens before anything is written, and the key that makes the tokens.

A token is the first 128 bits of HMAC-SHA256 over the value's text, in hex: the same value of a model gives the same
token, every night; without the key nobody can tell the value, nor try values out.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate import keyfiles
from nightgate.errors import DataUnusable, StoreError
from nightgate.settings import Settings
from nightgate.wording import named

if TYPE_CHECKING:
    import pyarrow as pa

    from nightgate.definition.model import Privacy

TOKEN_CHARACTERS = 32


def tokens(values: Iterable[str | None], key: bytes) -> list[str | None]:
    """Return one token per text; a missing value stays missing."""
    return [None if value is None else hmac.digest(key, value.encode(), "sha256").hex()[:TOKEN_CHARACTERS]
            for value in values]


def shielded(chunk: "pa.Table", privacy: "Privacy", key: bytes) -> "pa.Table":
    """Return a tidy chunk without the dropped columns and with tokens in the place of masked values.

    Raises DataUnusable when a named column is not there: it may have come under another name, unmasked.
    """
    import pyarrow as pa

    absent = [name for name in (*privacy.drop, *privacy.mask) if name not in chunk.column_names]
    if absent:
        raise DataUnusable(f"The data lack {named(absent)}, named under [privacy]: under another name such a "
                           "column would be stored as it is.",
                           remedy="Mend the source, or correct [privacy] to the new names.")
    for name in privacy.mask:
        codes = _as_text(chunk[name].combine_chunks())
        masked = pa.array(tokens(codes.dictionary.to_pylist(), key), pa.string())
        chunk = chunk.set_column(chunk.column_names.index(name), name,
                                 pa.DictionaryArray.from_arrays(codes.indices, masked))
    return chunk.drop_columns(list(privacy.drop))


def _as_text(array: "pa.Array") -> "pa.DictionaryArray":
    import pyarrow as pa

    return array if pa.types.is_dictionary(array.type) else array.cast(pa.string()).dictionary_encode()


def masking_key(settings: Settings, model: str) -> bytes:
    """Return a model's key, made on first use in the installation's key file (mode 0600).

    The store remembers each key's fingerprint. Raises StoreError for a key that was lost or is another one: tokens of
    the nights before would no longer match, so it is never replaced silently.
    """
    try:
        keys = _keys(settings.keys)  # replaced whole, so that it is read without a lock: a service may only read it
        if model not in keys:
            keys = _with_key(settings, model)
        known = _remembered(settings, model)
    except OSError as error:
        raise StoreError(f"The key file {settings.keys} cannot be used: {error.strerror}.",
                         remedy="Set NIGHTGATE_KEYS to a file that this user can read and write.") from None
    found = fingerprint(bytes.fromhex(keys[model]))
    if known is None:
        settings.store.write_json(_place(model), {"fingerprint": found})
    elif known != found:
        raise _lost(settings, model, "is another one in")
    return bytes.fromhex(keys[model])


def _with_key(settings: Settings, model: str) -> dict[str, str]:
    """Return the keys with one for a model, made if nobody has made it meanwhile."""
    with keyfiles.locked(settings.keys):
        keys = _keys(settings.keys)
        if model not in keys:
            if _remembered(settings, model) is not None:
                raise _lost(settings, model, "is gone from")
            keys[model] = secrets.token_hex(32)
            keyfiles.write(settings.keys, dict(sorted(keys.items())))
    return keys


def fingerprint(key: bytes) -> str:
    """Return what tells keys apart without giving them away."""
    return hashlib.sha256(b"nightgate key " + key).hexdigest()[:16]


def _place(model: str) -> str:
    return f"keys/{model}.json"


def _remembered(settings: Settings, model: str) -> str | None:
    store = settings.store
    return str(store.read_json(_place(model))["fingerprint"]) if store.exists(_place(model)) else None


def _keys(path: Path) -> dict[str, str]:
    try:
        keys = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {str(model): bytes.fromhex(key).hex() for model, key in keys.items()}
    except (ValueError, AttributeError, TypeError):
        raise StoreError(f"The key file {path} is damaged.", remedy="Put the copy of a backup in its place.") from None


def _lost(settings: Settings, model: str, what: str) -> StoreError:
    return StoreError(f"The key that masks the data of `{model}` {what} {settings.keys}.",
                      remedy="Put the file of a backup in its place. If it is lost for good, remove "
                             f"{settings.store.address(_place(model))}: a new key is made, and no token matches those "
                             "of earlier snapshots.")

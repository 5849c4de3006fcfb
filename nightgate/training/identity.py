"""What makes two fitted models the same: their learnt numbers, not the bytes of a file."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

WITHOUT_MEANING = frozenset({"n_jobs", "verbose", "random_state", "memory", "transformer_weights", "_random_seed", "_rng",
                             "estimators_samples_", "oob_score_", "feature_names_in_", "_in_fit", "monotonic_cst"})
"""Attributes that say how a model was fitted, not what it learnt."""


def model_sha256(model: Any) -> str:
    """Return a hash of everything a fitted estimator learnt, the same before and after a file, on any machine."""
    digest = hashlib.sha256()
    _add(digest, model, {})
    return digest.hexdigest()


def _add(digest: Any, value: Any, seen: dict[int, int]) -> None:
    """Feed a value to the digest in a canonical form; what was met before is named by its place."""
    if isinstance(value, np.ndarray):
        _add_array(digest, value, seen)
    elif isinstance(value, np.generic):
        _add(digest, value.item(), seen)
    elif value is None or isinstance(value, str | bytes | int | float | bool | complex | type):
        digest.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, Mapping):
        digest.update(f"map {len(value)}:".encode())
        for key in sorted(value, key=repr):
            _add(digest, key, seen)
            _add(digest, value[key], seen)
    elif isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        digest.update(f"list {len(items)}:".encode())
        for item in items:
            _add(digest, item, seen)
    elif id(value) in seen:
        digest.update(f"again {seen[id(value)]};".encode())
    else:
        seen[id(value)] = len(seen)
        digest.update(f"{type(value).__module__}.{type(value).__qualname__}:".encode())
        _add(digest, _state(value), seen)


def _add_array(digest: Any, value: "np.ndarray[Any, Any]", seen: dict[int, int]) -> None:
    if value.dtype == object:
        _add(digest, value.tolist(), seen)
    elif value.dtype.names:  # nodes of trees: padding between fields is no number
        for name in value.dtype.names:
            _add_array(digest, value[name], seen)
    else:
        plain = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
        digest.update(f"array {plain.dtype.str} {plain.shape}:".encode() + plain.tobytes())


def _state(value: Any) -> Any:
    """Return what a fitted object holds: its own state for compiled classes, its attributes otherwise."""
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    state = value.__getstate__() if hasattr(value, "__getstate__") else getattr(value, "__dict__", repr(value))
    if isinstance(state, Mapping):
        return {key: item for key, item in state.items() if key not in WITHOUT_MEANING}
    if state is None:
        return repr(type(value))
    return state

"""Hashes of rows: 64 bits, the same in every process, on every machine and in any batch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

MISSING = np.uint64(0x9E3779B97F4A7C15)
"""What a missing value counts as: an arbitrary constant, the golden ratio's first 64 bits."""

_ODD = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def row_hashes(table: pa.Table, seed: int = 0) -> Hashes:
    """Return one hash per row, over all columns in the order of their names.

    Values count, not their place: neither the order of columns nor the other rows matter. Mixing follows the finalizer
    of splitmix64 (Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014).
    """
    state = np.full(table.num_rows, np.uint64(seed) ^ MISSING)
    for name in sorted(table.column_names):
        state ^= _bits(table[name])
        mix(state)
    return state


def mix(state: Hashes) -> None:
    """Spread the bits of each value over all of its bits, in place."""
    for shift, odd in zip((30, 27), _ODD, strict=True):
        state ^= state >> np.uint64(shift)
        state *= odd
    state ^= state >> np.uint64(31)


def _bits(column: pa.ChunkedArray) -> Hashes:
    """Return 64 bits per value, equal for equal values of one column type."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(array.type):
        return _coded(array)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _coded(array.dictionary_encode())
    if pa.types.is_floating(array.type):
        filled = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False) + 0.0  # makes -0.0 the same as 0.0
        bits = filled.view(np.uint64)
    else:
        whole = array.cast(pa.int64()) if pa.types.is_boolean(array.type) else array.view(pa.int64())
        bits = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False).astype(np.uint64, copy=False)
    if array.null_count:
        bits = np.where(array.is_null().to_numpy(zero_copy_only=False), MISSING, bits)
    return np.asarray(bits, dtype=np.uint64)


def _coded(array: pa.DictionaryArray) -> Hashes:
    from pandas.util import hash_array

    distinct = hash_array(array.dictionary.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    table = np.append(distinct, MISSING)
    codes = pc.fill_null(array.indices, len(distinct)).to_numpy(zero_copy_only=False)
    return np.asarray(table[codes], dtype=np.uint64)

"""Headers of CSV files: whether a first line names columns, and what columns are called that nothing names."""

from collections.abc import Sequence


def names_nothing(first: Sequence[str], second: Sequence[str]) -> bool:
    """Say whether a file's first line is no header: a number stands there above a number."""
    return any(_is_number(name) and _is_number(value) for name, value in zip(first, second, strict=False))


def numbered(columns: int) -> list[str]:
    return [f"column_{number}" for number in range(1, columns + 1)]


def _is_number(value: str) -> bool:
    try:
        float(value.strip().replace(",", "."))
    except ValueError:
        return False
    return True

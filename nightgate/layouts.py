"""Layouts: what is stored says how it is laid out, and what another version wrote is refused with what to do, never misread."""

import contextlib
from collections.abc import Iterator

from nightgate.errors import StoreError

NEWER = "A newer Nightgate wrote it: install that one here, or put back the copy that was made before the upgrade."


def demand(what: str, found: object, known: int, *, older: str) -> None:
    """Raise StoreError for a layout that is not the known one; `older` says what to do where it is an earlier one."""
    if found != known:
        newer = isinstance(found, int) and found > known
        raise StoreError(f"{what} has layout {found}; this Nightgate reads {known}.", remedy=NEWER if newer else older)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Raise StoreError where fields are missing or unknown."""
    try:
        yield
    except (TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{what} is not as this Nightgate writes it: {error}.", remedy=NEWER) from None

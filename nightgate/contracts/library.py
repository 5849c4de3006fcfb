"""Great Expectations, imported only when a gate needs it, and without what gates do not use: plots and statistics."""

import importlib
import sys
from types import ModuleType
from typing import Any

UNUSED = ("altair", "scipy.stats")
"""What the library imports for charts and for one kind of test: 1.2 s of its 3.3 s."""


class Later(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import system asks each module for these
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def great_expectations() -> Any:
    """Return the library."""
    if "great_expectations" not in sys.modules:
        for name in UNUSED:
            parent, _, last = name.rpartition(".")
            if name not in sys.modules:
                sys.modules[name] = Later(name)
                if parent:
                    setattr(importlib.import_module(parent), last, sys.modules[name])
    return importlib.import_module("great_expectations")

"""Importing a user's own code by name, with errors that show the user's line."""

import importlib
import traceback
from pathlib import Path
from typing import Any

from nightgate.errors import DefinitionError


def imported(address: str, key: str) -> Any:
    """Return what `package.module:name` or `package.module.name` names; `key` is the place in the definition.

    Raises DefinitionError saying what is not there, or on which line of the user's code the import failed.
    """
    module_name, colon, name = address.partition(":")
    if not colon:
        module_name, _, name = address.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise DefinitionError(f"{key}: `{module_name}` cannot be imported: {users_line(error)}",
                              remedy=f"Write {module_name.replace('.', '/')}.py in the project, install it, or mend it.") from None
    if not hasattr(module, name):
        raise DefinitionError(f"{key}: {module_name} has no `{name}`.", remedy=f"Correct `{key}` in the definition.")
    return getattr(module, name)


def imported_estimator(address: str, key: str) -> type[Any]:
    """Return the estimator class that an address names. Raises DefinitionError for anything else."""
    found = imported(address, key)
    if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise DefinitionError(f"{key}: `{address}` is no estimator: a class with `fit` and `get_params`, as scikit-learn's have.",
                              remedy="Derive it from sklearn.base.BaseEstimator, or name another.")
    return found


def users_line(error: Exception) -> str:
    """Return the last line of the user's code that an error passed, with the error."""
    library = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if "site-packages" not in frame.filename and "importlib" not in frame.filename
              and not frame.filename.startswith(library)]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}: `{frames[-1].line}`: " if frames else ""
    return f"{place}{type(error).__name__}: {str(error)[:300]}"

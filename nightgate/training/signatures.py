"""What an estimator's own signature takes, kept by version so that `nightgate check` need not import scikit-learn."""

import difflib
import importlib.metadata
import inspect
import json
from collections.abc import Mapping
from pathlib import Path

from nightgate.definition.model import Candidate, Task
from nightgate.errors import DefinitionError

SHORT: Mapping[str, Mapping[Task, str]] = {
    "logistic": {"binary": "sklearn.linear_model.LogisticRegression", "multiclass": "sklearn.linear_model.LogisticRegression"},
    "linear": {"regression": "sklearn.linear_model.Ridge"},
    "forest": {"binary": "sklearn.ensemble.RandomForestClassifier", "multiclass": "sklearn.ensemble.RandomForestClassifier",
               "regression": "sklearn.ensemble.RandomForestRegressor"},
    "boosting": {"binary": "sklearn.ensemble.HistGradientBoostingClassifier",
                 "multiclass": "sklearn.ensemble.HistGradientBoostingClassifier",
                 "regression": "sklearn.ensemble.HistGradientBoostingRegressor"}}


def estimator_address(candidate: Candidate, task: Task) -> str:
    """Return the import path of a candidate's class. Raises DefinitionError when the short name does not fit the task."""
    if candidate.estimator not in SHORT:
        return candidate.estimator
    address = SHORT[candidate.estimator].get(task)
    if address is None:
        raise DefinitionError(f"`{candidate.estimator}` is not for a {task} model.",
                              remedy="Use `linear` for numbers, `logistic` for classes; `forest` and `boosting` do both.")
    return address


def unknown_parameters(candidate: Candidate, task: Task, cache: Path) -> list[str]:
    """Return a sentence for each parameter that the estimator does not take. `cache` is a JSON file, made when absent."""
    try:
        address = estimator_address(candidate, task)
        known = _signature(address, cache)
    except DefinitionError as error:
        return [error.message]
    found = []
    for name in (*candidate.parameters, *candidate.search):
        if known and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            found.append(f"`{name}` is no parameter of {address.rpartition('.')[2]}; "
                         + (f"did you mean `{close[0]}`?" if close else f"it takes {', '.join(known)}"))
    return found


def _signature(address: str, cache: Path) -> tuple[str, ...]:
    """Return the parameters' names; empty for a class that takes any."""
    package = address.partition(".")[0]
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    try:
        key = f"{address} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        key = ""  # the project's own code changes without a version
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or another check writes it now
        kept = {}
    if key in kept:
        return tuple(kept[key])
    from nightgate.importing import imported_estimator

    parameters = inspect.signature(imported_estimator(address, "estimator")).parameters.values()
    names = () if any(each.kind is each.VAR_KEYWORD for each in parameters) else tuple(each.name for each in parameters)
    if key:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({**kept, key: names}), encoding="utf-8")
    return names

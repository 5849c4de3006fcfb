"""The policy that all tasks share: a finished stage of a killed run is not repeated when the run is resumed."""

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect.context import TaskRunContext
from prefect.states import Completed

from nightgate.errors import NotNeeded, SourceUnavailable
from nightgate.nights import Night

logging.getLogger("nightgate").setLevel(logging.INFO)  # what the stages say stands in a run's log, whichever process runs it

P = ParamSpec("P")
R = TypeVar("R")


def once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a cache key of task, run and what the stage is about; another run never finds it."""
    night: Night = parameters["night"]
    about = "-".join(str(value) for name, value in sorted(parameters.items()) if name in ("boundary", "name"))
    return f"{context.task.name}-{night.run.model}-{night.run.run}-{night.token}-{about}"


def skipped_when_not_needed(function: Callable[P, R]) -> Callable[P, R]:
    """End a flow as Skipped, which is no failure, where its night has its run already."""
    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except NotNeeded as told:
            return cast("R", Completed(name="Skipped", message=told.message))  # Prefect takes a state for a flow's result

    return run


def may_be_retried(task: Any, run: Any, state: Any) -> bool:
    """Retry only what nobody has to mend: a source that did not answer."""
    try:
        state.result()
    except SourceUnavailable:
        return True
    except Exception:  # every other error has somebody who must act
        return False
    return False

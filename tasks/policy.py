"""The policy that all tasks share: a finished stage of a killed run is not repeated when the run is resumed."""

from typing import Any

from prefect.context import TaskRunContext

from nightgate.errors import SourceUnavailable
from nightgate.nights import Night


def once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a cache key of task, run and what the stage is about; another run never finds it."""
    night: Night = parameters["night"]
    about = "-".join(str(value) for name, value in sorted(parameters.items()) if name in ("boundary", "name"))
    return f"{context.task.name}-{night.run.model}-{night.run.run}-{night.token}-{about}"


def may_be_retried(task: Any, run: Any, state: Any) -> bool:
    """Retry only what nobody has to mend: a source that did not answer."""
    try:
        state.result()
    except SourceUnavailable:
        return True
    except Exception:  # every other error has somebody who must act
        return False
    return False

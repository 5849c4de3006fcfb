"""Operations on Prefect's server, which a process of the project's flows carries out: deploy, pause, resume."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from nightgate.definition.loading import definition_path, load_definition, model_names
from nightgate.errors import SourceUnavailable
from nightgate.settings import Settings

POOL = "nightgate"
NIGHT = "night"
"""Tag of runs that catch up a night: such a run stands for the night that was due."""

AGAIN = "again"
"""Tag of a run that was started again because one before it died."""

ON_DEMAND = "on-demand"
"""The deployment of a flow that other services trigger, with any model."""

RETRAINING_ASKED = "nightgate.retraining.asked"
"""The event by which monitoring asks for a retraining; its payload holds model, reason and report."""

LONGEST = 300
"""Seconds after which a server that has not answered is given up."""


def deploy(place: Settings, pool: str = POOL) -> Mapping[str, Sequence[str]]:
    """Write all models' deployments to the server; return those `deployed` and those `removed` with their models.

    Raises DefinitionError, and SourceUnavailable when the server cannot be asked.
    """
    for name in model_names(place.models):
        load_definition(definition_path(place.models, name))
    return _carried_out(place, "deploy", pool)


def pause(place: Settings, models: Sequence[str], *, paused: bool) -> Mapping[str, Sequence[str]]:
    """Pause or resume models' nights; return the deployments `changed` and the models `unknown` to the server.

    Raises SourceUnavailable when the server cannot be asked.
    """
    return _carried_out(place, "pause" if paused else "resume", *models)


def forget(place: Settings, model: str) -> Mapping[str, Sequence[str]]:
    """Remove a model's nights from the server; return the deployments `removed`. Raises SourceUnavailable."""
    return _carried_out(place, "forget", model)


def mend(place: Settings) -> Mapping[str, Sequence[str]]:
    """Mark runs that run nowhere and start them again once; return the names of those `mended`. Raises SourceUnavailable."""
    return _carried_out(place, "mend")


def _carried_out(place: Settings, *words: str) -> Mapping[str, Sequence[str]]:
    try:
        ended = subprocess.run([sys.executable, "-m", "flows.deploying", *words], cwd=place.root, capture_output=True, text=True,
                               timeout=LONGEST, check=False)
        told = ended.stderr
    except subprocess.TimeoutExpired:
        ended, told = None, f"no answer in {LONGEST} seconds"
    if ended is None or ended.returncode:
        last = (told.strip().splitlines() or ["no reason given"])[-1][:300]
        raise SourceUnavailable(f"Prefect's server cannot be asked to {words[0]}: {last}",
                                remedy="Start one with `nightgate up`, or set PREFECT_API_URL to where it is.")
    answer: Mapping[str, Sequence[str]] = json.loads(ended.stdout.splitlines()[-1])
    return answer

"""Operations on Prefect's server, which a process of the project's flows carries out: deploy, pause, resume; and what is deployed there.

What was written to the server last stands, as a hash, in a deployment's description: so it is seen where somebody has changed one by
hand in Prefect's pages.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from nightgate.client import ask
from nightgate.errors import SourceUnavailable, UsageError
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

OWNER = "Nightgate, project "
PAGE = 200


def demand_server(api: str) -> None:
    """Raise UsageError for a server that refuses the password or is of another version than this Prefect can talk to, and
    SourceUnavailable for one that does not answer, at once."""
    theirs, ours = str(ask("GET", "/admin/version", api=api, waits=())), version("prefect")
    (their_major, their_minor), (major, minor) = (tuple(int(part) for part in each.split(".")[:2]) for each in (theirs, ours))
    if their_major != major or their_minor < minor:
        raise UsageError(f"Prefect's server at {api} is of version {theirs}, and this is Prefect {ours}: it must be as new.",
                         remedy=f"Install Prefect {ours} where the server runs, or name another with PREFECT_API_URL.")


@dataclass(frozen=True)
class Deployed:
    """A deployment of this project on the server, such as `retraining/credit`; `by_hand`: somebody has changed it there."""

    name: str
    paused: bool
    by_hand: bool


def deployed(place: Settings, api: str, *, waits: Sequence[float] | None = None) -> Iterator[Deployed]:
    """Yield the deployments of this project that a server has, asked again after `waits`. Raises UsageError and SourceUnavailable."""
    for offset in range(0, 1_000_000, PAGE):
        page = ask("POST", "/deployments/filter", {"limit": PAGE, "offset": offset}, api=api, waits=waits)
        for each in page:
            description = each["description"] or ""
            if description.partition("\n")[0] == owner(place):
                flow = each["entrypoint"].rpartition(".")[2]
                yield Deployed(f"{flow}/{each['name']}", each["paused"], not description.endswith(content_of(each)))
        if len(page) < PAGE:
            return


def by_hand(name: str) -> str:
    """Say that a deployment is left as somebody has changed it."""
    return f"{name} was changed by hand in Prefect's pages and stays so; deleted there, it is written anew as the definition says."


def no_nights(why: str) -> str:
    """Say what becomes of a model whose definition cannot be read, of which `why` tells."""
    return f"{why}\nUntil it is mended nothing of that model is changed, and it has no nights of `nightgate up`."


def owner(place: Settings) -> str:
    """Return what tells this project's deployments from another's on the same server: the first line of their descriptions."""
    return f"{OWNER}{place.root}"


def content_of(deployment: Mapping[str, Any]) -> str:
    """Return a hash of what a person may change of a deployment, as Prefect's API tells it, but for its pause."""
    nights = [[each["schedule"].get("cron"), each["schedule"].get("timezone"), each["active"]] for each in deployment["schedules"] or []]
    told = [nights, deployment["parameters"], deployment["work_pool_name"], deployment["job_variables"] or {}]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def deploy(place: Settings, pool: str = POOL) -> Mapping[str, Any]:
    """Write all models' deployments to the server; return those `deployed`, `changed by hand` and so left, `removed` with their models,
    and the models whose definition is `broken`, with why. Raises SourceUnavailable when the server cannot be asked, and UsageError when it
    refuses.
    """
    return _carried_out(place, "deploy", pool)


def pause(place: Settings, models: Sequence[str], *, paused: bool) -> Mapping[str, Any]:
    """Pause or resume models' nights; return the deployments `changed` and the models `unknown` to the server.

    Raises SourceUnavailable when the server cannot be asked.
    """
    return _carried_out(place, "pause" if paused else "resume", *models)


def forget(place: Settings, model: str) -> Mapping[str, Any]:
    """Remove a model's nights from the server; return the deployments `removed`. Raises SourceUnavailable."""
    return _carried_out(place, "forget", model)


def mend(place: Settings) -> Mapping[str, Any]:
    """Mark runs that run nowhere and start them again once; return the names of those `mended`. Raises SourceUnavailable."""
    return _carried_out(place, "mend")


def _carried_out(place: Settings, *words: str) -> Mapping[str, Any]:
    if api := os.environ.get("PREFECT_API_URL"):
        demand_server(api)
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
    answer: Mapping[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer

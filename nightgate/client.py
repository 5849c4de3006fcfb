"""A client for other services: trigger a flow through Prefect's API, wait for the decision, read it.

It needs nothing but Python's own library, and repeats what may be repeated: a trigger carries a key, so that asking twice starts
one run.
"""

import base64
import contextlib
import json
import os
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from nightgate.errors import SourceUnavailable, UsageError

WAITS = (0.2, 0.5, 1.0, *[2.0] * 50)
"""Seconds between tries, each half as long or as long again by chance. A server that restarts is back within half a minute; one that
keeps its tables in SQLite answers 503 to writers that met, so that of twenty at once one may need ten tries and more."""

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Triggered:
    """A run that was asked for: Prefect's id, and the key under which asking again gives the same one."""

    run_id: str
    key: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `state` is Prefect's; `verdict`, `reason`, `run`, `champion` are the run record's, None where it has none."""

    state: str
    message: str
    verdict: str | None = None
    reason: str | None = None
    run: int | None = None
    champion: int | None = None


def trigger(model: str, *, as_of: date | None = None, reason: str = "", dry_run: bool = False, overrides: Mapping[str, str] | None = None,
            flow: str = "retraining", key: str | None = None, api: str | None = None, auth: str | None = None) -> Triggered:
    """Ask for a retraining; the same `key` never starts a second run.

    `api` is PREFECT_API_URL and `auth` PREFECT_API_AUTH_STRING where they are left out. Raises UsageError for what the server refuses
    (an unknown model, a wrong password), and SourceUnavailable when it does not answer.
    """
    key = key or str(uuid.uuid4())
    parameters: dict[str, Any] = {"model": model, "reason": reason, "dry_run": dry_run, "overrides": dict(overrides or {}),
                                  "as_of": None if as_of is None else as_of.isoformat()}
    deployment = ask("GET", f"/deployments/name/{flow}/on-demand", api=api, auth=auth)["id"]
    made = ask("POST", f"/deployments/{deployment}/create_flow_run",
               {"parameters": parameters, "idempotency_key": key, "state": {"type": "SCHEDULED"}}, api=api, auth=auth)
    return Triggered(made["id"], key)


def outcome(run: Triggered | str, *, api: str | None = None, auth: str | None = None) -> Outcome | None:
    """Return how a run ended, None while it has not. Raises as `trigger` does."""
    run_id = run if isinstance(run, str) else run.run_id
    state = ask("GET", f"/flow_runs/{run_id}", api=api, auth=auth)["state"]
    if state["type"] not in FINAL:
        return None
    found = ask("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}, "key": {"like_": "%-verdict"}}},
                api=api, auth=auth)
    told: dict[str, Any] = json.loads(found[0]["data"])[0] if found else {}
    return Outcome(state["name"], state["message"] or "", *(told.get(name) for name in ("verdict", "reason", "run", "champion")))


def wait(run: Triggered | str, *, seconds: float = 3_600, poll: float = 2.0, api: str | None = None, auth: str | None = None) -> Outcome:
    """Wait until a run has ended. Raises SourceUnavailable after `seconds`, and as `trigger` does."""
    until = time.monotonic() + seconds
    while (found := outcome(run, api=api, auth=auth)) is None:
        if time.monotonic() > until:
            raise SourceUnavailable(f"The run has not ended within {seconds:g} s.", remedy="Wait longer, or look at it in Prefect's pages.")
        time.sleep(poll)
    return found


def ask(method: str, path: str, body: Any = None, *, api: str | None = None, auth: str | None = None,
        waits: Sequence[float] | None = None) -> Any:
    """Return what a route of Prefect's API answers; what may succeed later (no connection, 429, 5xx) is asked again after `waits`, seconds,
    which are WAITS where they are left out.

    Raises UsageError and SourceUnavailable as `trigger` does.
    """
    api = (api or os.environ.get("PREFECT_API_URL") or "http://127.0.0.1:4200/api").rstrip("/")
    auth = auth or os.environ.get("PREFECT_API_AUTH_STRING")
    headers = {"Content-Type": "application/json"}
    if auth:
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
    request = urllib.request.Request(api + path, None if body is None else json.dumps(body).encode(), headers, method=method)
    for wait in (*(WAITS if waits is None else waits), 0.0):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code != 429 and error.code < 500:
                raise _refused(error, path) from None
            why = f"{error.code} {error.reason}"
        except (OSError, json.JSONDecodeError) as error:
            why = str(getattr(error, "reason", error))
        time.sleep(wait * random.uniform(0.5, 1.5))
    raise SourceUnavailable(f"Prefect's server at {api} does not answer: {why}.", remedy="Is `nightgate up` running there?")


def _refused(error: urllib.error.HTTPError, path: str) -> UsageError:
    detail = ""
    with contextlib.suppress(ValueError, AttributeError):
        detail = json.load(error).get("detail") or ""
    remedies = {401: "Set PREFECT_API_AUTH_STRING to what the server was started with.",
                404: "`nightgate deploy` or `nightgate up` writes the deployments."}
    return UsageError(f"Prefect's server refuses {path}: {error.code} {str(detail)[:500] or error.reason}.",
                      remedy=remedies.get(error.code, "Mend what it names."))

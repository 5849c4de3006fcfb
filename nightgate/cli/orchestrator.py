"""The few lines of the command line that know Prefect: how a flow is started in this process."""

import logging
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from nightgate.alerts import Cause
from nightgate.cli.everything import running_here
from nightgate.errors import ServerUnavailable, SourceUnavailable
from nightgate.settings import Settings

DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "600",  # marking what only waits its turn locks runs out of SQLite for a minute
    "PREFECT_LOGGING_EXTRA_LOGGERS": "nightgate",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
    "DO_NOT_TRACK": "1",
}
"""What Prefect reads from the environment, where it does not stand there."""


def own_tables(place: Settings) -> Path | None:
    """Return the folder of the tables of this project's own Prefect server, None where the environment names a database."""
    if {"PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"} & os.environ.keys():
        return None
    return (place.store.local or place.root / ".nightgate") / "prefect"


def prepare(place: Settings) -> None:
    """Set what Prefect reads from the environment when it is imported; what is set already stays."""
    if (folder := own_tables(place)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
    results = place.store.folder("results") if place.store.local else place.root / ".nightgate" / "results"
    defaults = {**DEFAULTS, "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(results)}
    if (running := running_here(place)) is not None:
        defaults["PREFECT_API_URL"] = f"{running['address']}/api"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("nightgate", "nightgate_begun"):
        logging.getLogger(name).setLevel(logging.INFO)


def retrain(place: Settings, model: str, *, as_of: date | None, overrides: Mapping[str, str], reason: str) -> dict[str, Any]:
    """Run the retraining flow of one model here and now; return its record.

    Raises what the flow raises, StoreError, ServerUnavailable, and UsageError for a server that refuses.
    """
    place.store.demand_writable()
    prepare(place)
    if api := os.environ.get("PREFECT_API_URL"):
        from nightgate.operations import demand_server

        try:
            demand_server(api)
        except SourceUnavailable as error:
            raise ServerUnavailable(error.message, remedy="`nightgate up` starts one; without PREFECT_API_URL a run has its own.") from None
    import httpx

    from flows import embedded
    from flows.retraining import retraining

    try:
        embedded.start()
        with embedded.without_heartbeat():
            return dict(retraining(model, as_of=as_of, overrides=dict(overrides), reason=reason))
    except httpx.TransportError as error:
        raise ServerUnavailable(f"Prefect's server no longer answers: {error}. The champion of {model} serves as before.",
                                remedy=f"`nightgate run {model}` runs that night again.") from error


def look(place: Settings) -> tuple[list[Cause], list[Cause]]:
    """Return all causes for alarm, and those that were told now where NIGHTGATE_ALERTS says.

    Raises UsageError for a channel that is none.
    """
    prepare(place)
    from flows.alerting import watch

    return watch(place)


def ui_address(place: Settings) -> str | None:
    """Return where a running server shows its pages, or None when there is none."""
    address = os.environ.get("PREFECT_API_URL") or ((running := running_here(place)) and f"{running['address']}/api")
    return address.removesuffix("/api") if address else None

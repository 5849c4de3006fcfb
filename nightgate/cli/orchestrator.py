"""The few lines of the command line that know Prefect: how a flow is started in this process."""

import logging
import os
from collections.abc import Mapping
from datetime import date
from typing import Any

from nightgate.settings import Settings


def prepare(place: Settings) -> None:
    """Set what Prefect reads from the environment when it is imported; what is set already stays."""
    results = place.store.folder("results") if place.store.local else place.root / ".nightgate" / "results"
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(results),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "nightgate",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("nightgate", "nightgate_begun"):
        logging.getLogger(name).setLevel(logging.INFO)


def retrain(place: Settings, model: str, *, as_of: date | None, overrides: Mapping[str, str], reason: str) -> dict[str, Any]:
    """Run the retraining flow of one model here and now; return its record. Raises what the flow raises."""
    prepare(place)
    from flows.retraining import retraining

    return dict(retraining(model, as_of=as_of, overrides=dict(overrides), reason=reason))


def ui_address() -> str | None:
    """Return where a running server shows its pages, or None when there is none."""
    address = os.environ.get("PREFECT_API_URL")
    return None if address is None else address.removesuffix("/api")

"""Fixtures that all tests may use."""

import os

import pytest
from hypothesis import settings

from tests.servers import empty_server, postgresql, prefect_api, redis

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")

__all__ = ["empty_server", "postgresql", "prefect_api", "redis"]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith(("NIGHTGATE_", "MLFLOW_"))]:
        monkeypatch.delenv(name)

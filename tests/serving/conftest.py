"""What the tests of the service share."""

import pytest

from nightgate.settings import Settings
from tests.projects import people, project, run_plainly


@pytest.fixture(scope="session")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project with two releases, of which the first serves; a test that changes it takes a copy."""
    made = project(tmp_path_factory.mktemp("released"), people(2_000))
    assert run_plainly(made) is not None and run_plainly(made) is not None
    return made

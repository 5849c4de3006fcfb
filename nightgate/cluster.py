"""A Dask cluster: work goes to its workers as addresses and comes back as small results.

Workers run in the project's folder, or a copy of it, with the packages of whoever asks them; the scheduler needs only the packages.
"""

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nightgate.addresses import shown
from nightgate.errors import SourceUnavailable, UsageError
from nightgate.nights import PACKAGES, code_version
from nightgate.settings import importable, project_root

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

ANSWER_SECONDS = 20
"""Within which a scheduler answers."""

WORKERLESS_SECONDS = 120
"""How long a cluster may have no worker: machines are replaced within that time."""


@dataclass(frozen=True)
class Cluster:
    """Workers that were found to have the same packages. `code`: a hash of the project's own code, which they must have too."""

    address: str
    client: "Client"
    code: str

    @property
    def workers(self) -> int:
        return len(self.client.nthreads())

    def map(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
        """Call a function once for each of `arguments`, on whatever worker is free; what a dead worker had is done again by another.

        Raises what the function raises, and SourceUnavailable when the cluster is lost.
        """
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            futures = [self.client.submit(_at_work, self.code, function, *each, pure=False) for each in arguments]
            self._wait_for(futures)
            return list(self.client.gather(futures))
        except KilledWorker as error:
            raise SourceUnavailable(f"One piece of work has ended {error.allowed_failures + 1} workers of {shown(self.address)}.",
                                    remedy="Their log says why; most often their memory is too small.") from None
        except (CancelledError, CommClosedError):
            raise SourceUnavailable(f"The Dask cluster {shown(self.address)} was lost while it worked.",
                                    remedy="Start its scheduler and workers; the run goes on with what had not finished.") from None

    def _wait_for(self, futures: "list[Future]") -> None:
        from distributed import wait

        while True:
            try:
                with self.client.as_current():
                    wait(futures, timeout=WORKERLESS_SECONDS / 4)
            except TimeoutError:
                _demand_worker(self.client, self.address)
            else:
                return


@contextlib.contextmanager
def connected(address: str, root: Path) -> Iterator[Cluster]:
    """Give the cluster of a scheduler's address. Raises SourceUnavailable where nobody answers, UsageError where versions are others."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(f"compute.dask is set ({shown(address)}), and Dask is not installed.",
                         remedy="pip install 'nightgate[dask]', here and where its scheduler and workers run.") from None
    try:
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SourceUnavailable(f"The Dask scheduler {shown(address)} does not answer: {error}.",
                                remedy="Start it (`dask scheduler`), or correct compute.dask.") from None
    with client:
        _demand_worker(client, address)
        _demand_alike(client, address)
        yield Cluster(address, client, code_version(root))


def _demand_worker(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERLESS_SECONDS)
    except TimeoutError:
        raise SourceUnavailable(f"The Dask scheduler {shown(address)} has no worker.",
                                remedy=f"Start some in the project's folder: `dask worker {shown(address)}`.") from None


def _demand_alike(client: "Client", address: str) -> None:
    """Raise UsageError for a scheduler or worker with other packages, whose numbers would be others."""
    told: Any = client.get_versions(packages=list(PACKAGES))
    here = {"python": platform.python_version_tuple()[:2], **{name: version(name) for name in PACKAGES}}
    for who, answer in [("Its scheduler", told["scheduler"]), *((f"Worker {name}", answer) for name, answer in told["workers"].items())]:
        there = {**answer["packages"], "python": tuple(answer["packages"]["python"].split(".")[:2])}
        if other := [f"{name} {_said(there.get(name))}, here {_said(here[name])}" for name in here if there.get(name) != here[name]]:
            raise UsageError(f"The Dask cluster {shown(address)} is no copy of this installation. {who}: {'; '.join(other)}.",
                             remedy="Install the same packages there: requirements.lock names them.")


def _said(version: Any) -> str:
    return ".".join(version) if isinstance(version, tuple) else version or "none"


def _at_work(code: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function on a worker, which must have the project's own code as it is where the run is."""
    root = project_root()
    importable(root)
    if code_version(root) != code:
        raise UsageError(f"A Dask worker has other code than the run in {root / 'models'}.",
                         remedy="Bring it the same files and start it again.")
    return function(*arguments)

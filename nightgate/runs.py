"""Runs of a model: their numbers, and the lease that keeps two of them from running at once.

Both live in the registry's database, because a file lock does not reach other machines.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError

from nightgate import layouts
from nightgate.errors import ModelBusy, StoreError
from nightgate.processes import is_gone, mark

LEASE_SECONDS = 60.0
"""A lease that was not renewed for this long is free: its holder is dead or cut off."""

RENEWAL_SECONDS = 10.0
LAYOUT = 1
"""Version of these tables; a newer one is refused."""

_tables = sa.MetaData()
_layout = sa.Table("nightgate_layout", _tables, sa.Column("version", sa.Integer, primary_key=True))
_runs = sa.Table("nightgate_runs", _tables, sa.Column("model", sa.String(63), primary_key=True),
                 sa.Column("run", sa.Integer, primary_key=True, autoincrement=False), sa.Column("run_id", sa.String(64), nullable=False),
                 sa.Column("key", sa.String(64), nullable=False), sa.Column("verdict", sa.String(16)))
_leases = sa.Table("nightgate_leases", _tables, sa.Column("model", sa.String(63), primary_key=True), sa.Column("run", sa.Integer),
                   sa.Column("run_id", sa.String(64), nullable=False), sa.Column("holder", sa.String(255), nullable=False),
                   sa.Column("renewed", sa.Float, nullable=False))


@dataclass(frozen=True)
class Run:
    """One numbered run of a model. `key` says what it is a run of: definition, date and overrides."""

    model: str
    run: int
    run_id: str
    resumed: bool = False


@contextlib.contextmanager
def lease(registry: str, model: str, *, run_id: str, key: str, after: int = 0, needed: Callable[[], None] = lambda: None) -> Iterator[Run]:
    """Hold a model for one run, renewing the lease in the background until the block ends.

    A run of the same `key` that died before it had a verdict is resumed under its own number. Numbers up to `after` are
    taken, whatever the registry knows. `needed` is asked while the model is held and before a number is taken; it raises where
    the run is not. Raises ModelBusy with the run that holds the model, and StoreError.
    """
    with hold(registry, model, holder_id=run_id) as engine:
        needed()
        yield _numbered(engine, model, run_id, key, after)


@contextlib.contextmanager
def hold(registry: str, model: str, *, holder_id: str) -> Iterator[sa.Engine]:
    """Hold a model without a run, as a rollback does, until the block ends. Raises ModelBusy and StoreError."""
    with _engine(registry) as engine:
        _take(engine, model, holder_id)
        ended = threading.Event()
        renewal = threading.Thread(target=_renew, args=(engine, model, holder_id, ended), daemon=True, name="lease")
        renewal.start()
        try:
            yield engine
        finally:
            ended.set()
            renewal.join()
            with contextlib.suppress(StoreError), _told(registry), engine.begin() as connection:  # a lease runs out by itself, too
                connection.execute(sa.delete(_leases).where(_leases.c.model == model, _leases.c.run_id == holder_id))


def conclude(registry: str, run: Run, verdict: str) -> None:
    """Write down that a run has its verdict: it will not be resumed."""
    with _engine(registry) as engine, _told(registry), engine.begin() as connection:
        connection.execute(sa.update(_runs).where(_runs.c.model == run.model, _runs.c.run == run.run).values(verdict=verdict))


def still_held(registry: str, run: Run) -> bool:
    """Say whether the lease is still this run's; asked right before the pointer moves."""
    with _engine(registry) as engine, _told(registry), engine.begin() as connection:
        holder = connection.execute(sa.select(_leases.c.run_id).where(_leases.c.model == run.model)).scalar()
    return bool(holder == run.run_id)


def holder_of(registry: str, model: str) -> tuple[int | None, str] | None:
    """Return number and id of the run that holds a model now, or None."""
    with _engine(registry) as engine, _told(registry), engine.begin() as connection:
        row = connection.execute(sa.select(_leases).where(_leases.c.model == model)).first()
        if row is None or _is_free(connection, row.holder, row.renewed):
            return None
    return row.run, row.run_id


def forget(registry: str, model: str) -> None:
    """Remove a model's numbers; raise ModelBusy while a run holds it."""
    if (held := holder_of(registry, model)) is not None:
        raise _busy(model, *held)
    with _engine(registry) as engine, _told(registry), engine.begin() as connection:
        connection.execute(sa.delete(_runs).where(_runs.c.model == model))


def _take(engine: sa.Engine, model: str, run_id: str) -> None:
    with _told(str(engine.url)), engine.begin() as connection:
        row = connection.execute(sa.select(_leases).where(_leases.c.model == model)).first()
        if row is not None:
            if not _is_free(connection, row.holder, row.renewed):
                raise _busy(model, row.run, row.run_id)
            connection.execute(sa.delete(_leases).where(_leases.c.model == model, _leases.c.renewed == row.renewed))
        try:
            connection.execute(sa.insert(_leases).values(model=model, run=None, run_id=run_id, holder=mark(),
                                                      renewed=_now(connection)))
        except IntegrityError:
            raise _busy(model, None, "which took it just now") from None


def _numbered(engine: sa.Engine, model: str, run_id: str, key: str, after: int) -> Run:
    """Return the run's number: that of a dead run of the same key, else the next one."""
    mine = (_leases.c.model == model) & (_leases.c.run_id == run_id)
    with _told(str(engine.url)), engine.begin() as connection:
        last = connection.execute(sa.select(_runs).where(_runs.c.model == model).order_by(_runs.c.run.desc())).first()
        resumed = last is not None and last.verdict is None and last.key == key
        number = last.run if resumed and last is not None else max(0 if last is None else last.run, after) + 1
        connection.execute(sa.update(_leases).where(mine).values(run=number))
        if resumed:
            connection.execute(sa.update(_runs).where(_runs.c.model == model, _runs.c.run == number).values(run_id=run_id))
        else:
            connection.execute(sa.insert(_runs).values(model=model, run=number, run_id=run_id, key=key))
    return Run(model, number, run_id, resumed)


def _renew(engine: sa.Engine, model: str, run_id: str, ended: threading.Event) -> None:
    mine = (_leases.c.model == model) & (_leases.c.run_id == run_id)
    while not ended.wait(RENEWAL_SECONDS):
        # An outage shorter than the lease does no harm; a longer one is found by `still_held` before the promotion.
        with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
            connection.execute(sa.update(_leases).where(mine).values(renewed=_now(connection)))


def _busy(model: str, run: int | None, run_id: str) -> ModelBusy:
    holder = f"Run {run} ({run_id})" if run is not None else f"A change ({run_id})"
    return ModelBusy(f"{holder} holds {model} at this moment.",
                     remedy=f"Wait for it: `nightgate status {model}` tells when it is over.",
                     details={"run": run, "run_id": run_id})


def _is_free(connection: sa.Connection, holder: str, renewed: float) -> bool:
    """Say whether a lease has run out, or its process on this very machine is dead; one renewed in the future, before the clock was
    put back, has run out as well, since whoever lives renews it by the new time."""
    return abs(_now(connection) - renewed) > LEASE_SECONDS or is_gone(holder)


def _now(connection: sa.Connection) -> float:
    """Return the database's own clock in seconds: machines' clocks differ."""
    clock = "(julianday('now') - 2440587.5) * 86400.0" if connection.dialect.name == "sqlite" else "extract(epoch from clock_timestamp())"
    return float(connection.execute(sa.select(sa.literal_column(clock))).scalar_one())


@contextlib.contextmanager
def _engine(registry: str) -> Iterator[sa.Engine]:
    with _told(registry):
        if registry.startswith("sqlite:///"):
            Path(registry.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(registry)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _patient)
        sa.event.listen(engine, "begin", _exclusive)
    try:
        with _told(registry):
            _open(engine)
        yield engine
    finally:
        engine.dispose()


def _patient(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, below, not the driver's late one
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")


def _exclusive(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _open(engine: sa.Engine) -> None:
    """Create the tables once; refuse those of a newer version."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0x4E67)))  # creators queue up
        _tables.create_all(connection)
        version = connection.execute(sa.select(_layout.c.version)).scalar()
        if version is None:
            connection.execute(sa.insert(_layout).values(version=LAYOUT))
    if version is not None:
        layouts.demand("The registry", version, LAYOUT, older="No release wrote it: put back the copy of a backup.")


@contextlib.contextmanager
def _told(registry: str) -> Iterator[None]:
    from sqlalchemy.engine import make_url

    try:
        yield
    except (DatabaseError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        place = make_url(registry).render_as_string(hide_password=True)
        raise StoreError(f"The registry {place} cannot be used: {reason}.",
                         remedy="Check NIGHTGATE_REGISTRY, its server, its rights and the disk.") from None

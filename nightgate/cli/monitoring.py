"""Commands of monitoring: drift, backtest, simulate."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import UsageError
from nightgate.reports.document import Document, Facts, Heading, Part, Table
from nightgate.settings import settings
from nightgate.wording import counted, interval, named

if TYPE_CHECKING:
    from nightgate.backtesting import Backtest
    from nightgate.drift.comparing import Compared
    from nightgate.drift.reference import Reference


def add(commands: Commands) -> None:
    """Declare the commands."""
    look = commands.add("drift", drift, "Compare what a model sees now with what it was trained on, or any files with each other.",
                        "nightgate drift reference.parquet current.parquet --time day --every day --html drift.html",
                        begins="Reading the data …")
    look.add_argument("data", nargs="+", help="a model, or a reference file and current ones")
    look.add_argument("--time", help="column of the files that tells the time: the reference's wobble is learnt from it")
    look.add_argument("--every", choices=("day", "week", "month"), default="day", help="how long a current file is, as a rule")
    look.add_argument("--importance", type=Path, metavar="F", help='how much columns matter: {"income": 0.3} or lines income,0.3')
    look.add_argument("--html", type=Path, metavar="F", help="write a report, too")
    past = commands.add("backtest", replay, "Replay a model's own history night by night, and show what would have happened.",
                        "nightgate backtest credit --nights 60", begins="Replaying the nights; each retraining takes its time …")
    stream = commands.add("simulate", simulate, "The same on a stream that drifts for all but the first third of the nights, through the "
                          "real service, its prediction log and monitoring, on an accelerated clock.",
                          "nightgate simulate credit_applications --nights 30 --drift shift",
                          begins="Simulating the nights; each retraining takes its time …")
    stream.add_argument("--drift", choices=("none", "shift", "concept", "category"), default="shift")
    for each in (past, stream):
        each.add_argument("model")
        each.add_argument("--nights", type=int, default=30)
        each.add_argument("--schedule", action="append", metavar="S",
                          help="never, weekly, nightly, 'on drift' or 'every 3 nights', may be repeated; when absent all but the last, "
                               "and without nightly in a simulation")


def drift(arguments: argparse.Namespace) -> Answer:
    """Compare, and answer 3 when a column raises an alarm, or there are no rows to tell by."""
    from nightgate.reports.drift import table_of, verdict_of

    reference, compared, odd = _of_model(arguments) if len(arguments.data) == 1 else (*_of_files(arguments), ())
    found = [each.found for each in compared]
    alarms = sum(each.alarm for each in found)
    if arguments.html is not None:
        _write(arguments.html, reference, compared)
    parts: list[Part] = [part for each in found for part in (Heading(each.data), verdict_of(each), table_of(each))]
    parts += [Facts([("noticed", each) for each in odd])] if odd else []
    bad = alarms or not all(each.rows for each in found)
    return Answer({"files": [each.as_json() for each in found]},
                  Document("Drift", f"{counted(alarms, 'alarm')} in {counted(len(found), 'comparison')}", parts), 3 if bad else 0)


def replay(arguments: argparse.Namespace) -> Answer:
    """Replay a model's history."""
    from nightgate.backtesting import SCHEDULES, backtest

    _demand_nights(arguments.nights)
    found = backtest(settings(), arguments.model, nights=arguments.nights, schedules=arguments.schedule or SCHEDULES)
    return Answer(found, _told(found))


def simulate(arguments: argparse.Namespace) -> Answer:
    """Simulate a stream that drifts, and show the last schedule night by night."""
    from nightgate.simulating import SCHEDULES, simulate

    _demand_nights(arguments.nights)
    found = simulate(settings(), arguments.model, nights=arguments.nights, drift=arguments.drift, schedules=arguments.schedule or SCHEDULES)
    last, told = found.outcomes[-1], _told(found)
    rows = [[each.day, f"{each.version or '–'}", f"{each.answers:,}", f"{each.refused:,}", named(each.alarms, 3), each.retraining]
            for each in last.nights]
    columns = [f"retrained {last.schedule}", "served by run", "answered", "refused", "alarms", "retraining"]
    return Answer(found, replace(told, parts=[Table(columns, rows, frozenset(columns[1:4])), *told.parts]))


def _demand_nights(nights: int) -> None:
    if nights < 1:
        raise UsageError(f"--nights {nights} replays nothing.", remedy="Name at least 1.")


def _told(found: "Backtest") -> Document:
    rows = [[each.schedule, f"{each.retrainings}", f"{each.promotions}", f"{each.stops}", f"{len(each.alarms)}", f"{each.answers:,}",
             "–" if each.loss is None else interval(each.loss)]
            for each in found.outcomes]
    columns = ["retrained", "retrainings", "promotions", "stops", "alarms", "answers", found.metric]
    noticed = [(each.schedule, told) for each in found.outcomes for told in (*each.alarms, *each.failed)]
    parts: list[Part] = [Table(columns, rows, frozenset(columns[1:-1])), *([Facts(noticed)] if noticed else [])]
    when = f"{found.nights[0]} to {found.nights[-1]}" + (f": {found.told}" if found.told else "")
    return Document(f"{found.model}, {counted(len(found.nights), 'night')}", when, parts)


def _of_files(arguments: argparse.Namespace) -> "tuple[Reference, list[Compared]]":
    from nightgate.drift.comparing import compare_files

    paths = [Path(name) for name in arguments.data]
    return compare_files(paths[0], paths[1:], time=arguments.time, every=arguments.every, importances=arguments.importance)


def _of_model(arguments: argparse.Namespace) -> "tuple[Reference, list[Compared], Sequence[str]]":
    from nightgate.monitoring import monitor

    if arguments.time is not None or arguments.importance is not None:
        raise UsageError("A model knows its own event time and importances.", remedy="Leave --time and --importance out.")
    found = monitor(settings(), arguments.data[0])
    return found.reference, [found.compared], found.odd


def _write(path: Path, reference: "Reference", compared: "list[Compared]") -> None:
    from nightgate.reports.drift import parts_of
    from nightgate.reports.html import html

    parts = [part for each in compared for part in parts_of(each.found, reference, each.current)]
    try:
        path.write_text(html(Document("Drift", ", ".join(each.found.data for each in compared), parts)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", remedy="Name another file with --html.") from None

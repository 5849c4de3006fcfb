"""Commands that keep an installation in order: clean, watch, metrics."""

import argparse
import time

from nightgate.cli.parsing import Answer, Commands
from nightgate.reports.document import Document, Paragraph, Part, Table
from nightgate.settings import settings
from nightgate.wording import counted


def add(commands: Commands) -> None:
    """Declare the commands."""
    old = commands.add("clean", clean, "Remove runs, releases and files that no rule keeps.", "nightgate clean --dry-run",
                       begins="Looking at every run …")
    old.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    look = commands.add("watch", watch, "Tell failures, missing verdicts, old champions and full disks where NIGHTGATE_ALERTS says.",
                        "nightgate watch --every 600", begins="Looking at every model …")
    look.add_argument("--every", type=int, metavar="SECONDS", help="again and again, until Ctrl-C; once when absent")
    commands.add("metrics", metrics, "Print the state of all models as Prometheus reads it.", "nightgate metrics > nightgate.prom")


def clean(arguments: argparse.Namespace) -> Answer:
    """Remove what is not kept."""
    from nightgate import retention

    found = retention.clean(settings(), dry_run=arguments.dry_run)
    size = sum(each.size for each in found)
    rows = [[each.key, each.why, f"{each.size:,}"] for each in found]
    parts: list[Part] = [Table(["what", "why", "bytes"], rows, frozenset({"bytes"}))] if rows else []
    told = f"{counted(len(found), 'thing')}, {size / 2**20:,.1f} MiB {'would go' if arguments.dry_run else 'removed'}"
    value = {"dry_run": arguments.dry_run, "bytes": size,
             "removed": [{"key": each.key, "why": each.why, "bytes": each.size} for each in found]}
    return Answer(value, Document("Clean", told, parts))


def watch(arguments: argparse.Namespace) -> Answer:
    """Look once, or until Ctrl-C; 1 when something is wrong."""
    from nightgate.cli.orchestrator import look

    place = settings()
    found, new = look(place)
    while arguments.every:
        for each in new:
            print(each.message, flush=True)
        time.sleep(arguments.every)
        found, new = look(place)
    value = {"causes": [{"key": each.key, "message": each.message, "new": each in new} for each in found]}
    parts: list[Part] = [Paragraph(each.message) for each in found]
    return Answer(value, Document("Watch", f"{counted(len(found), 'cause')}, {len(new)} told now", parts), 1 if found else 0)


def metrics(_: argparse.Namespace) -> Answer:
    """Print the gauges."""
    from nightgate.gauges import metrics as gauges

    text = gauges(settings())
    return Answer({"metrics": text}, text.rstrip())

"""Commands that keep an installation in order: clean, watch, metrics, doctor, replay."""

import argparse
import os
import time

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import DefinitionError, UsageError
from nightgate.reports.document import Callout, Document, Heading, Paragraph, Part, Table
from nightgate.settings import settings
from nightgate.wording import counted


def add(commands: Commands) -> None:
    """Declare the commands."""
    old = commands.add("clean", clean, "Remove runs, releases and files that no rule keeps.", "nightgate clean --dry-run",
                       begins="Looking at every run …")
    old.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    look = commands.add("watch", watch, "Tell failures, missing verdicts, old champions and full disks where NIGHTGATE_ALERTS says.",
                        "nightgate watch --every 600", begins="Looking at every model …")
    look.add_argument("--every", type=seconds, metavar="SECONDS", help="again and again, until Ctrl-C; once when absent")
    commands.add("replay", replay, "Run a past night again, aside, and prove that it comes out the same.",
                         "nightgate replay credit 12", begins="Running that night again …", of_run=True)
    commands.add("doctor", doctor, "Find what is inconsistent, mend what can be mended, and say so.", "nightgate doctor",
                 begins="Looking at every model …")
    commands.add("metrics", metrics, "Print the state of all models as Prometheus reads it.", "nightgate metrics > nightgate.prom")


def clean(arguments: argparse.Namespace) -> Answer:
    """Remove what is not kept."""
    from nightgate import retention
    from nightgate.definition.loading import definitions_of

    place = settings()
    definitions, broken = definitions_of(place.models)
    found = retention.clean(place, definitions.values(), dry_run=arguments.dry_run)
    size = sum(each.bytes for each in found)
    rows = [[each.key, each.why, f"{each.bytes:,}"] for each in found]
    parts: list[Part] = [Table(["what", "why", "bytes"], rows, frozenset({"bytes"}))] if rows else []
    parts += [Paragraph(f"No run of {name} goes: whether a legal hold names it is not known. {why}") for name, why in broken.items()]
    told = f"{counted(len(found), 'thing')}, {size / 2**20:,.1f} MiB {'would go' if arguments.dry_run else 'removed'}"
    return Answer({"dry_run": arguments.dry_run, "bytes": size, "removed": found, "broken": broken}, Document("Clean", told, parts),
                  DefinitionError.exit_code if broken else 0)


def seconds(text: str) -> int:
    """Read seconds between two looks. Raises UsageError for what is none."""
    if not (text.isdecimal() and int(text) > 0):
        raise UsageError(f"`{text}` is no number of seconds.", remedy="A whole number from 1, as in `--every 600`.")
    return int(text)


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


def replay(arguments: argparse.Namespace) -> Answer:
    """Replay and compare; 0 when it came out the same, else 1."""
    from nightgate import replaying

    found = replaying.replay(settings(), arguments.model, arguments.run)
    parts: list[Part] = [Callout("the same" if found.same else "not the same",
                                 f"Run {found.run} of {found.model} came out {'as it did' if found.same else 'otherwise'}.",
                                 "good" if found.same else "bad")]
    for title, differences in (("What differs", found.differs), ("What has changed since", found.changed)):
        if differences:
            parts += [Heading(title), Table(["", "then", "now"], [[each.what, each.then[:60], each.now[:60]] for each in differences])]
    return Answer(found.as_json(), Document(f"Replay of {found.model} {found.run}", "", parts), 0 if found.same else 1)


def doctor(_: argparse.Namespace) -> Answer:
    """Examine and mend; 1 when something is left for a person."""
    from nightgate.cli.orchestrator import prepare
    from nightgate.doctor import Finding, examine
    from nightgate.operations import mend

    place = settings()
    found = list(examine(place))
    prepare(place)
    if os.environ.get("PREFECT_API_URL"):
        found += [Finding(None, f"Flow run {name} ran nowhere: it is marked as Crashed, and started again once.", True)
                  for name in mend(place)["mended"]]
    left = sum(not each.mended for each in found)
    parts = [Paragraph(f"{'mended' if each.mended else 'LEFT'}  {each.model or 'installation'}: {each.told}") for each in found]
    told = "nothing was wrong" if not found else f"{len(found) - left} mended, {left} left to you"
    return Answer({"findings": found, "left": left}, Document("Doctor", told, parts), 1 if left else 0)

"""Commands that prove and mend: replay, doctor."""

import argparse
import os

from nightgate.cli.parsing import Answer, Commands
from nightgate.reports.document import Callout, Document, Heading, Paragraph, Part, Table
from nightgate.settings import settings


def add(commands: Commands) -> None:
    """Declare the commands."""
    again = commands.add("replay", replay, "Run a past night again, aside, and prove that it comes out the same.",
                         "nightgate replay credit 12", begins="Running that night again …")
    again.add_argument("model")
    again.add_argument("run", nargs="?", help="number or Prefect's run id; the last one when absent")
    commands.add("doctor", doctor, "Find what is inconsistent, mend what can be mended, and say so.", "nightgate doctor",
                 begins="Looking at every model …")


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
    value = {"findings": [{"model": each.model, "told": each.told, "mended": each.mended} for each in found], "left": left}
    told = "nothing was wrong" if not found else f"{len(found) - left} mended, {left} left to you"
    return Answer(value, Document("Doctor", told, parts), 1 if left else 0)

"""Commands of serving: serve, score, canary, keys, log."""

import argparse
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.cli.parsing import Answer, Commands, amount, night, port
from nightgate.errors import UsageError
from nightgate.reports.document import Document, Table
from nightgate.settings import settings
from nightgate.wording import counted

if TYPE_CHECKING:
    from nightgate.serving.access import Key

DAY = 86_400.0


def add(commands: Commands) -> None:
    """Declare the commands."""
    answer = commands.add("serve", serve, "Answer predictions over HTTP.", "nightgate serve --models credit --port 8000")
    answer.add_argument("--models", help="names, separated by commas; all that have a release when absent")
    answer.add_argument("--host", default="127.0.0.1")
    answer.add_argument("--port", type=partial(port, least=0), default=8000)
    answer.add_argument("--workers", type=int, default=1, help="processes that share the port")
    answer.add_argument("--cert", type=Path, help="certificate, for TLS")
    answer.add_argument("--cert-key", type=Path, help="its private key")
    answer.add_argument("--allow-code", action="store_true", help="serve releases that run code of their own, in processes apart")
    table = commands.add("score", score, "Score a table with the champion.",
                         "nightgate score credit --input new.csv --output scored.parquet", begins="Reading the data …")
    table.add_argument("model")
    table.add_argument("--input", required=True, help="file, folder or URL")
    table.add_argument("--output", required=True, help="Parquet file, folder ending in / (a file a window), or DATABASE-URL#TABLE")
    table.add_argument("--window", help="what the rows are of, and replace when scored again; the input's name when absent")
    table.add_argument("--as-of", type=night, metavar="DATE", help="the night that ends the table, from which its freshness is told; "
                       "the window where that is a date, else today")
    table.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler whose workers reach the store")
    tried = commands.add("canary", canary, "Try another version on live traffic, or show how it does beside the champion.",
                         "nightgate canary credit --share 10")
    tried.add_argument("model")
    tried.add_argument("--run", type=int, help="the version; the newest that does not serve when absent")
    tried.add_argument("--share", type=float, metavar="PER_CENT", help="requests that it answers")
    tried.add_argument("--shadow", action="store_true", help="it answers none, beside the champion, for the log alone")
    tried.add_argument("--stop", action="store_true")
    key = commands.add("keys", keys, "Make, list, rotate and revoke keys: `new` makes those that sign, `issue` one for a consumer.",
                       "nightgate keys issue shop --models credit --days 90")
    key.add_argument("action", choices=["new", "issue", "list", "rotate", "revoke"])
    key.add_argument("consumer", nargs="?", help="who asks; told apart by this name in metrics and log")
    key.add_argument("--models", default="*", help="names, separated by commas; `admin` also reads metrics; all models when absent")
    key.add_argument("--days", type=partial(amount, least=0.001, most=36_500), help="until it expires")
    key.add_argument("--rate", type=partial(amount, least=0.001, most=1e6), help="requests a second")
    key.add_argument("--overlap", type=partial(amount, least=0, most=8_760), default=24.0, metavar="HOURS",
                     help="how long the old one stays valid when rotated")
    kept = commands.add("log", log, "Turn what was answered into Parquet files by day.", "nightgate log credit")
    kept.add_argument("models", nargs="+", metavar="MODEL")


def serve(arguments: argparse.Namespace) -> Answer:
    """Serve predictions until Ctrl-C."""
    from nightgate.serving.running import Serving, listener, run

    names = arguments.models.split(",") if arguments.models else None
    files = [path for path in (arguments.cert, arguments.cert_key) if path is not None]
    if len(files) == 1 or not all(path.is_file() for path in files):
        raise UsageError("TLS needs a certificate and its key, both files.", remedy="Name both: --cert FILE --cert-key FILE.")
    if arguments.workers < 1:
        raise UsageError(f"{arguments.workers} processes cannot serve.", remedy="Name one or more with --workers.")
    serving = Serving(arguments.host, arguments.port, arguments.workers, names, arguments.cert, arguments.cert_key,
                      arguments.allow_code)
    scheme = "https" if arguments.cert else "http"
    with listener(arguments.host, arguments.port) as listening:
        address = f"{scheme}://{arguments.host}:{listening.getsockname()[1]}"
        run(settings(), serving, listening, told=lambda service: print(
            *(f"{address}/models/{name}/predict" for name in service.following.champions), f"{address}/docs", sep="\n", file=sys.stderr,
            flush=True))
    return Answer({"models": names, "ended": True}, "")


def score(arguments: argparse.Namespace) -> Answer:
    """Score a table."""
    from nightgate.definition.loading import definition_path
    from nightgate.scoring.batch import score as score_table

    place = settings()
    definition_path(place.models, arguments.model)
    output = arguments.output if "://" in arguments.output else str(Path(arguments.output).resolve()) + "/" * arguments.output.endswith("/")
    made = score_table(place, arguments.model, source=arguments.input, output=output, window=arguments.window,
                       as_of=arguments.as_of, dask=arguments.dask)
    return Answer({"model": arguments.model, **vars(made)}, f"{counted(made.rows, 'row')} scored by run {made.version}: {made.output}")


def canary(arguments: argparse.Namespace) -> Answer:
    """Begin, end or show a trial."""
    from nightgate.serving.following import begin_trial, end_trial, read_trial

    place, model = settings(), arguments.model
    if arguments.stop:
        end_trial(place.store, model)
        return Answer({"model": model, "trial": None}, f"{model}: nothing is tried any more.")
    if arguments.share is not None or arguments.shadow:
        trial = begin_trial(place, model, version=arguments.run, mode="shadow" if arguments.shadow else "canary",
                            share=100.0 if arguments.shadow else arguments.share, since=datetime.now(UTC).isoformat(timespec="seconds"))
        told = "answers beside the champion, for the log alone" if arguments.shadow else f"answers {trial.share:g} % of the requests"
        return Answer({"model": model, "version": trial.version, "mode": trial.mode, "share": trial.share},
                      f"{model}: run {trial.version} {told}, within a second.")
    found = read_trial(place.store, model)
    if found is None:
        raise UsageError(f"Nothing is tried beside the champion of {model}.", remedy=f"`nightgate canary {model} --share 10` begins.")
    from nightgate.serving.trials import compared

    sides = compared(place, model, found)
    rows = [[each.role, str(each.version or "–"), f"{each.requests:,}", f"{each.rows:,}", "–" if each.mean is None else f"{each.mean:.6g}"]
            for each in sides.sides]
    numbers = ("requests", "rows", "mean prediction")
    return Answer(sides, Document(f"{model}: {found.mode} since {found.since}", sides.sentence,
                                            [Table(["role", "version", *numbers], rows, frozenset(numbers))]))


def keys(arguments: argparse.Namespace) -> Answer:
    """Make and change keys."""
    place = settings()
    if arguments.action == "new":
        from nightgate.releases import sign_releases
        from nightgate.signing import new_keys

        private, public = new_keys(place)
        count = sign_releases(place)
        return Answer({"signing_key": str(private), "public_key": str(public), "signed": count},
                      f"{counted(count, 'release')} signed. All are signed with {private} from now on, and must be, where {public} is.\n"
                      "Back the first up, and give it to nobody.")
    from nightgate.definition.loading import definition_path
    from nightgate.serving import access

    if arguments.action == "list":
        return _listed(sorted(access.read_keys(place.access).values(), key=lambda key: key.created))
    if not arguments.consumer:
        raise UsageError(f"`keys {arguments.action}` needs a consumer.", remedy=f"Write it as in `nightgate keys {arguments.action} shop`.")
    if arguments.action == "revoke":
        count = access.revoke(place.access, arguments.consumer)
        return Answer({"consumer": arguments.consumer, "revoked": count}, f"{arguments.consumer} may ask no more, within a second.")
    if arguments.action == "rotate":
        key, secret = access.rotate(place.access, arguments.consumer, overlap=arguments.overlap * 3_600, now=time.time())
    else:
        models = tuple(name.strip() for name in arguments.models.split(","))
        if not all(models):
            raise UsageError(f"`{arguments.models}` names no model somewhere.", remedy="Write it as in `--models credit,churn`.")
        for name in {*models} - {"*", access.ADMIN, *place.store.names("releases")}:
            definition_path(place.models, name)
        expires = None if arguments.days is None else time.time() + arguments.days * DAY
        key, secret = access.issue(place.access, arguments.consumer, models, expires=expires, rate=arguments.rate)
    value = {"consumer": key.consumer, "id": key.id, "key": secret, "models": list(key.models), "expires": _moment(key.expires)}
    return Answer(value, f"{secret}\nThis is the key of {key.consumer}; it is shown this once and kept as a hash.")


def _listed(found: "list[Key]") -> Answer:
    value = [{"consumer": key.consumer, "id": key.id, "models": list(key.models), "expires": _moment(key.expires), "rate": key.rate}
             for key in found]
    rows = [[key.consumer, key.id, ", ".join(key.models), _moment(key.expires) or "never", f"{key.rate or '–'}"] for key in found]
    table = Table(["consumer", "id", "models", "expires", "rate"], rows)
    return Answer({"keys": value}, Document("Access keys", counted(len(found), "key"), [table]))


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def log(arguments: argparse.Namespace) -> Answer:
    """Compact the prediction log of models."""
    from nightgate.predictionlog import compact

    place = settings()
    made = {name: compact(place, name) for name in arguments.models}
    return Answer(made, "\n".join(f"{name}: {counted(each.rows, 'row')} of {counted(each.segments, 'segment')} in "
                                   f"{counted(len(each.files), 'file')}"
                                   f"{f', {each.torn} torn lines left out' if each.torn else ''}." for name, each in made.items()))



"""The page of one night of monitoring: the verdict, the causes and their distributions, history, performance."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from nightgate.drift.performance import BLIND
from nightgate.episodes import CLEAN, Watched
from nightgate.monitoring import Monitored
from nightgate.reports.document import Callout, Document, Facts, Heading, Paragraph, Part, Plot, Series, Side
from nightgate.reports.drift import distributions, table_of, verdict_of
from nightgate.wording import counted, figure, interval

HISTORY = 60
"""Nights that are drawn."""

MANY_REFUSED = 0.01
"""Share of requests that are not answered from which the verdict says so."""

DRAWN = 4
"""Columns whose history is drawn."""


def document(monitored: Monitored, night: Watched, before: Sequence[Watched]) -> Document:
    """Make the report of a night and those before it."""
    nights = [*before, night][-HISTORY:]
    parts = [*_verdict(monitored, night), *_causes(monitored), *_performance(monitored, nights), *_requests(nights),
             *_history(night, nights), Heading("Every column"), table_of(monitored.compared.found)]
    return Document(f"{night.model}, {night.as_of}", f"Champion {night.version} on {counted(night.rows, 'row')} of {monitored.told}", parts)


def _verdict(monitored: Monitored, night: Watched) -> Iterator[Part]:
    callout, refused = verdict_of(monitored.compared.found), _share(night) or 0.0
    if refused > MANY_REFUSED:
        callout = Callout(callout.title, f"{callout.text} {refused:.1%} of the last night's requests were not answered: the columns show "
                          "what was let in.", "bad" if callout.tone == "bad" else "neutral")
    if night.open_since is not None:
        more = "The alarm was raised tonight." if night.opened else f"The alarm is open since {night.open_since}."
        callout = Callout(callout.title, f"{callout.text} {more} It closes after {CLEAN} clean nights.", "bad")
    yield callout
    if monitored.odd:
        yield Facts([("noticed", each) for each in monitored.odd])
    if night.asks:
        yield Paragraph(f"A retraining was asked for, because of {night.reason}. Its challenger serves only if it is shown to be better.")


def _causes(monitored: Monitored) -> Iterator[Part]:
    pictures = distributions(monitored.compared.found, monitored.reference, monitored.compared.current)
    if pictures.parts:
        yield Heading("What changed most, by importance")
        yield pictures


def _performance(monitored: Monitored, nights: Sequence[Watched]) -> Iterator[Part]:
    done = monitored.performance
    if done is None:
        return
    yield Heading("Performance")
    realised = "not enough labels yet" if done.realised is None else interval(done.realised)
    yield Facts([("promised at training", f"{done.metric} {interval(done.promised)}"),
                 ("realised", f"{realised}, {done.labelled:,} rows with labels"),
                 ("estimated", "cannot be told" if done.estimated is None else figure(done.estimated))])
    yield Paragraph(BLIND)
    lines = (_line("estimated", nights, lambda each: each.performance.get("estimated")),
             _line("realised", nights, lambda each: (each.performance.get("realised") or {}).get("value")))
    series = [line for line in lines if line.points]
    if series and len(nights) > 1:
        yield Side([Plot(f"{done.metric} over time", "nights ago", done.metric, series, "each night's window"),
                    Plot("rows seen", "nights ago", "rows", [_line("rows", nights, lambda each: each.rows)], "each night's window")])


def _requests(nights: Sequence[Watched]) -> Iterator[Part]:
    """Yield how many requests were answered and refused, and by which status; nothing where nobody has asked."""
    now = nights[-1].requests
    if not now:
        return
    whole, refused = sum(now.values()), {code: count for code, count in now.items() if code != "answered"}
    told = ", ".join(f"{count:,} with {code} ({count / whole:.1%})" for code, count in refused.items() if whole) or "none"
    yield Heading("Requests of the last night")
    yield Facts([("answered", f"{now['answered']:,}"), ("refused", told)])
    if len(nights) > 1:
        shares = [_line(name, nights, partial(_share, first=first)) for name, first in (("refused, 4xx", "4"), ("failed, 5xx", "5"))]
        yield Side([Plot("requests", "nights ago", "requests", [_line("requests", nights, _volume)], "answered or not, night by night"),
                    Plot("not answered", "nights ago", "share of the requests", shares, "night by night")])


def _volume(night: Watched) -> float | None:
    return float(sum(night.requests.values())) if night.requests else None


def _share(night: Watched, *, first: str = "") -> float | None:
    """Return the share of a night's requests that were not answered, by the first digit of their status."""
    whole = sum(night.requests.values())
    return sum(count for code, count in night.requests.items() if code != "answered" and code.startswith(first)) / whole if whole else None


def _history(night: Watched, nights: Sequence[Watched]) -> Iterator[Part]:
    if len(nights) < 2:
        return
    nearest = sorted(night.columns, key=lambda name: -_ratio(night, name))[:DRAWN]
    yield Heading("Distance against its limit, night by night")
    yield Side([_of_column(name, night, nights) for name in nearest])


def _of_column(name: str, night: Watched, nights: Sequence[Watched]) -> Plot:
    lines = [_line(what, nights, partial(_found, name=name, what=what)) for what in ("distance", "limit")]
    return Plot(name, "nights ago", "distance", lines, night.columns[name]["why"])


def _found(night: Watched, *, name: str, what: str) -> float | None:
    return None if name not in night.columns else float(night.columns[name][what])


def _line(name: str, nights: Sequence[Watched], value: Callable[[Watched], float | None]) -> Series:
    found = [(number, value(each)) for number, each in enumerate(nights, 1 - len(nights))]
    return Series(name, [(float(number), float(each)) for number, each in found if each is not None])


def _ratio(night: Watched, name: str) -> float:
    found = night.columns[name]
    return float(found["distance"]) / float(found["limit"]) if found["limit"] else float(found["distance"])

"""Charts as SVG: no script, no font of their own, colours from the page, so that they follow light, dark and print."""

import math
from collections.abc import Sequence
from functools import partial
from html import escape

from nightgate.reports.document import Bars, Plot, Series

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44
ROW = 22
"""Pixels a bar takes."""

LABEL = 150
TICKS = 5


def plot(chart: Plot) -> str:
    """Return a chart of points over two axes."""
    points = [point for series in chart.series for point in series.points]
    xs = _scale([x for x, _ in points], unit=chart.unit)
    ys = _scale([y for _, y in points], unit=chart.unit)
    if chart.diagonal and not chart.unit:
        xs = ys = (min(xs[0], ys[0]), max(xs[1], ys[1]))
    parts = [*_axes(chart, xs, ys)]
    if chart.diagonal:
        parts.append(f'<line class="rule" x1="{_x(xs[0], xs)}" y1="{_y(ys[0], ys)}" x2="{_x(xs[1], xs)}" '
                     f'y2="{_y(ys[1], ys)}"/>')
    parts += [_series(series, number, xs, ys) for number, series in enumerate(chart.series)]
    if len(chart.series) > 1:
        parts += [f'<text class="key s{number}" x="{WIDTH - RIGHT - 6}" y="{HEIGHT - BOTTOM - 10 - 16 * number}" '
                  f'text-anchor="end">{escape(series.name)}</text>' for number, series in enumerate(chart.series)]
    return _svg(chart.title, chart.told, HEIGHT, parts)


def bars(chart: Bars) -> str:
    """Return a chart of horizontal bars."""
    height = TOP + ROW * len(chart.values) + 28
    scale = _scale([*chart.values, 0.0])
    parts = []
    for tick in _ticks(*scale):
        x = _bar_x(tick, scale)
        parts.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{height - 24}"/>'
                     f'<text x="{x}" y="{height - 8}" text-anchor="middle">{_number(tick)}</text>')
    for number, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        y = TOP + ROW * number
        zero, end = _bar_x(0.0, scale), _bar_x(value, scale)
        shown = label if len(label) < 23 else label[:21] + "…"
        parts.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(shown)}<title>{escape(label)}</title>'
                     f'</text><rect class="bar" x="{min(zero, end)}" y="{y + 4}" width="{abs(end - zero):.1f}" '
                     f'height="{ROW - 8}"><title>{escape(label)}: {value:.4g}</title></rect>')
    return _svg(chart.title, chart.told, height, parts)


def _svg(title: str, told: str, height: int, parts: Sequence[str]) -> str:
    return (f'<svg role="img" aria-label="{escape(title)}: {escape(told)}" viewBox="0 0 {WIDTH} {height}">'
            + "".join(parts) + "</svg>")


def _series(series: Series, number: int, xs: tuple[float, float], ys: tuple[float, float]) -> str:
    places = [(_x(x, xs), _y(y, ys)) for x, y in series.points]
    if series.style == "dots":
        return "".join(f'<circle class="dot s{number}" cx="{x}" cy="{y}" r="2.5"/>' for x, y in places)
    line = " ".join(f"{x},{y}" for x, y in places)
    marks = "".join(f'<circle class="dot s{number}" cx="{x}" cy="{y}" r="3"/>' for x, y in places) \
        if len(places) <= 20 else ""
    return f'<polyline class="line s{number}" points="{line}"/>{marks}'


def _axes(chart: Plot, xs: tuple[float, float], ys: tuple[float, float]) -> list[str]:
    parts = [f'<line class="grid" x1="{_x(tick, xs)}" y1="{TOP}" x2="{_x(tick, xs)}" y2="{HEIGHT - BOTTOM}"/>'
             f'<text x="{_x(tick, xs)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(tick)}</text>'
             for tick in _ticks(*xs)]
    parts += [f'<line class="grid" x1="{LEFT}" y1="{_y(tick, ys)}" x2="{WIDTH - RIGHT}" y2="{_y(tick, ys)}"/>'
              f'<text x="{LEFT - 6}" y="{_y(tick, ys) + 4}" text-anchor="end">{_number(tick)}</text>' for tick in _ticks(*ys)]
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
                 f'{escape(chart.x)}</text><text class="axis" x="12" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
                 f'transform="rotate(-90 12 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(chart.y)}</text>')
    return parts


def _scale(values: Sequence[float], *, unit: bool = False) -> tuple[float, float]:
    if unit:
        return 0.0, 1.0
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between the ends."""
    raw = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.3g}"
    return f"{value:.4g}"


def _placed(value: float, scale: tuple[float, float], start: float, end: float) -> float:
    """Return where a value of a scale stands between two places of the drawing."""
    return round(start + (value - scale[0]) / (scale[1] - scale[0]) * (end - start), 1)


_x = partial(_placed, start=LEFT, end=WIDTH - RIGHT)
_y = partial(_placed, start=HEIGHT - BOTTOM, end=TOP)
_bar_x = partial(_placed, start=LABEL, end=WIDTH - RIGHT - 14)

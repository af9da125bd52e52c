"""Draw hit rate and saved seconds against bytes, as an SVG that every browser shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 460, 300
_LEFT, _TOP, _GAP = 70, 56, 80
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart."""
_LEGEND_LINE: Final = 20
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")

Line = Sequence[tuple[float, float]]
"""Points of bytes and a value."""


def plot(title: str, panels: Mapping[str, Mapping[str, Line]]) -> str:
    """Return an SVG with a panel for each quantity, and in it a line for each name; bytes run logarithmically."""
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 70 + _LEGEND_LINE * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for number, (quantity, lines) in enumerate(panels.items()):
        parts += _panel(_LEFT + number * (_WIDTH + _GAP), quantity, lines, names)
    parts += _legend(names)
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, quantity: str, lines: Mapping[str, Line], names: Sequence[str]) -> Iterator[str]:
    points = [point for line in lines.values() for point in line]
    low, high = (math.log10(max(edge(x for x, _ in points), 1)) for edge in (min, max))
    step = _step(max((y for _, y in points), default=0) or 1)
    top = step * math.ceil(max((y for _, y in points), default=0) / step) or step

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(max(x, 1)) - low) / (high - low) if high > low else 0.5
        return left + along * _WIDTH, _TOP + _HEIGHT * (1 - y / top)

    yield f'<text x="{left}" y="{_TOP - 6}">{escape(quantity)}</text>'
    for tick in range(round(top / step) + 1):
        _, y = place(10**low, tick * step)
        yield f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * step:g}</text>'
    for x_bytes in sorted({x for x, _ in points}):
        x, _ = place(x_bytes, 0)
        yield f'<text transform="translate({x:.1f},{_TOP + _HEIGHT + 16}) rotate(30)">{_size(x_bytes)}</text>'
    for name, line in lines.items():
        colour = _colour(names, name)
        placed = [place(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed)


def _legend(names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        y = _TOP + _HEIGHT + 70 + number * _LEGEND_LINE
        yield f'<rect x="{_LEFT}" y="{y - 5}" width="24" height="3" fill="{_colour(names, name)}"/>'
        yield f'<text x="{_LEFT + 32}" y="{y}">{escape(name)}</text>'


def _colour(names: Sequence[str], name: str) -> str:
    return _COLOURS[names.index(name) % len(_COLOURS)]


def _step(highest: float) -> float:
    """Return a round distance of grid lines, for about five of them."""
    magnitude = 10.0 ** math.floor(math.log10(highest / 5))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if highest / (factor * magnitude) <= 6)  # noqa: PLR2004


def _size(value: float) -> str:
    power = min(int(math.log10(max(value, 1)) // 3), len(_UNITS) - 1)
    return f"{value / 1000**power:.3g} {_UNITS[power]}"

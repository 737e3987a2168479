"""Charts as SVG text: lines over iterations, and dots beside published values.

Colours come from the page's style sheet (classes ``c0`` to ``c9``), so that a chart follows the
reader's light or dark scheme. Text has its natural size at 420 pixels of width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mmseg_uda.experiments.history import Points

COLORS = 10
WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 60, 22, 12, 38
LABEL_WIDTH, LABEL_LETTERS, LETTER_WIDTH = 180, 22, 7


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        label: For the legend.
        color: Index of its colour.
        points: (x, y) pairs.
        dashed: For what stands apart.
    """

    label: str
    color: int
    points: Points
    dashed: bool = False


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, title: str) -> str:
    """Returns an SVG element; '' when no line has a point.

    Args:
        lines: The curves; one with few points gets markers.
        x_label: Below the horizontal axis.
        y_label: Beside the vertical axis.
        title: For readers who hear the page.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    x_ticks = ticks(0, max(x for x, _ in points), 5)
    y_ticks = ticks(min(0, *(y for _, y in points)), max(y for _, y in points), 5)
    x_span, y_span = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * _share(x, x_span),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(y, y_span),
        )

    parts = _frame(title)
    for value in y_ticks:
        _, y = at(x_span[0], value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" {_y(y)}/>')
        parts.append(_text(LEFT - 6, y + 4, number(value), "end"))
    for value in x_ticks:
        x, _ = at(value, y_span[0])
        parts.append(_text(x, HEIGHT - BOTTOM + 16, number(value), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "middle", "label"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="label" text-anchor="middle" transform="translate(12 {middle:.0f}) '
        f'rotate(-90)">{escape(y_label)}</text>'
    )
    for line in lines:
        parts += _curve(line, [at(x, y) for x, y in line.points])
    return "".join([*parts, "</svg>"])


def dot_chart(
    rows: Sequence[tuple[str, int, Sequence[float], float | None]], x_label: str, title: str
) -> str:
    """Returns an SVG element with one line of dots per row; '' when there is no value.

    Args:
        rows: Name, colour, values of the seeds, and the published value if there is one.
        x_label: Below the axis.
        title: For readers who hear the page.
    """
    values = [v for _, _, seeds, published in rows for v in (*seeds, published) if v is not None]
    if not values:
        return ""
    step = 26
    height = TOP + step * len(rows) + BOTTOM
    x_ticks = ticks(min(values), max(values), 5)
    span = (x_ticks[0], x_ticks[-1])

    def at(value: float) -> float:
        return LABEL_WIDTH + (WIDTH - LABEL_WIDTH - RIGHT - 6) * _share(value, span)

    parts = _frame(title, height)
    for value in x_ticks:
        x = at(value)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
        parts.append(_text(x, height - BOTTOM + 16, number(value), "middle"))
    parts.append(_text((LABEL_WIDTH + WIDTH - RIGHT) / 2, height - 4, x_label, "middle", "label"))
    for i, (name, color, seeds, published) in enumerate(rows):
        y = TOP + step * (i + 0.5)
        short = name if len(name) <= LABEL_LETTERS else name[: LABEL_LETTERS - 1] + "…"
        parts.append(f"<g><title>{escape(name)}</title>")
        parts.append(_text(LABEL_WIDTH - 8, y + 4, short, "end") + "</g>")
        if published is not None:
            x = at(published)
            parts.append(
                f'<path class="published" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z">'
                f"<title>reported: {published:g}</title></path>"
            )
        for value in seeds:
            parts.append(
                f'<circle class="dot c{color % COLORS}" cx="{at(value):.1f}" cy="{y:.1f}" r="4.5">'
                f"<title>{escape(name)}: {value:.1f}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def gain_chart(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]], title: str
) -> str:
    """Returns an SVG element with a bar up or down for each row and column; '' without values.

    Args:
        columns: Names.
        rows: Name, and a difference per column.
        title: For readers who hear the page.
    """
    values = [abs(v) for _, cells in rows for v in cells if v is not None]
    if not values:
        return ""
    most = max(*values, 1.0)
    step, bar, half = 34, 18, 26
    longest = max(len(name) for name, _ in rows)
    left, head = max(LABEL_WIDTH + 60, LETTER_WIDTH * longest + 16), 92
    # The slanted name of the last column needs room on its right.
    width, height = left + step * len(columns) + 50, head + (2 * half + 26) * len(rows)
    parts = [
        f'<svg class="chart gains" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
    ]
    for k, name in enumerate(columns):
        x = left + step * (k + 0.5) + 4
        parts.append(
            f'<text class="tick" transform="translate({x:.0f} {head - 8}) rotate(-60)">'
            f"{escape(name)}</text>"
        )
    for i, (name, cells) in enumerate(rows):
        zero = head + (2 * half + 26) * i + half + 13
        line = f'x1="{left}" x2="{width}" y1="{zero}" y2="{zero}"'
        parts.append(f'<line class="grid" {line}/>')
        parts.append(_text(left - 8, zero + 4, name, "end"))
        for k, value in enumerate(cells):
            if value is None:
                continue
            size = half * abs(value) / most
            x, top = left + step * k + (step - bar) / 2, zero - size if value > 0 else zero
            kind = "gain" if value > 0 else "loss"
            text = f"{escape(name)}, {escape(columns[k])}: {value:+.1f}"
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{bar}" '
                f'height="{max(size, 0.5):.1f}"><title>{text}</title></rect>'
            )
            end = zero - size - 3 if value > 0 else zero + size + 11
            parts.append(_text(x + bar / 2, end, f"{value:+.0f}", "middle", "bar"))
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers that enclose [low, high], some ``about`` of them."""
    if high <= low:
        high = low + 1
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's text: 40k, 1200, 0.25."""
    if abs(value) >= 10_000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _curve(line: Line, places: Sequence[tuple[float, float]]) -> list[str]:
    color = f"c{line.color % COLORS}"
    dashed = " dashed" if line.dashed else ""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    last = f"{line.points[-1][1]:.4g}" if line.points else "–"
    title = f"<title>{escape(line.label)}: {last} at the end</title>"
    parts = [f'<path class="line {color}{dashed}" d="{path}">{title}</path>'] if places else []
    if len(places) <= 20:
        for (x, y), (step, value) in zip(places, line.points, strict=True):
            text = f"{escape(line.label)}: {value:.4g} at {step:g}"
            parts.append(
                f'<circle class="dot {color}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
                f"<title>{text}</title></circle>"
            )
    return parts


def _frame(title: str, height: float = HEIGHT) -> list[str]:
    return [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
    ]


def _share(value: float, span: tuple[float, float]) -> float:
    return (value - span[0]) / (span[1] - span[0])


def _y(y: float) -> str:
    return f'y1="{y:.1f}" y2="{y:.1f}"'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )

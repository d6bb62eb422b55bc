"""The table at the end of a run: one row per method, one column per number."""

import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

MISSING = "\u2013"  # an en dash
WIDTH = 100  # columns of a terminal
GAP = "  "
HEADING_WIDTH = 12


@dataclass(frozen=True)
class Row:
    """A method and what was measured of it: one number per metric, or a list with one per seed."""

    name: str
    metrics: dict[str, float | list[float]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """What stands in a column instead of a number."""


@dataclass(frozen=True)
class Column:
    """A metric to show, under `heading` or else its own key.

    With `percent` the value is a share in [0, 1] shown times 100 with one decimal; without, it keeps three
    digits.
    """

    key: str
    heading: str = ""
    percent: bool = True

    @property
    def title(self) -> str:
        """The words at the head of the column."""
        return self.heading or self.key.replace("_", " ").replace("/", " ")


def table(rows: Sequence[Row], columns: Sequence[str | Column], markdown: bool = False) -> str:
    """Return rows and columns as aligned text of at most 100 columns where they fit, or as a markdown table.

    A column given as a string is a percentage. Several seeds are shown as mean ± sample standard deviation;
    their number stands below the table when all agree, else in each cell. What was not measured is shown as
    a dash, never as an error: the table comes after the training.
    """
    shown = [Column(column) if isinstance(column, str) else column for column in columns]
    seeds = {
        len(value)
        for row in rows
        for column in shown
        if isinstance(value := row.metrics.get(column.key), list) and len(value) > 1
    }
    cells = [
        [
            row.name,
            *(
                row.words.get(column.key) or _cell(row.metrics.get(column.key), column.percent, len(seeds) > 1)
                for column in shown
            ),
        ]
        for row in rows
    ]
    titles = ["", *(column.title for column in shown)]
    lines = _markdown(titles, cells) if markdown else _text(titles, cells)
    note = _note(any(column.percent for column in shown), all(column.percent for column in shown), seeds)
    return "\n".join(lines + ([""] if markdown and note else []) + ([note] if note else []))


def _cell(value: float | list[float] | None, percent: bool, state_n: bool) -> str:
    if value is None or value == []:
        return MISSING
    values = [float(v) * (100 if percent else 1) for v in (value if isinstance(value, list) else [value])]
    mean = statistics.fmean(values)
    if len(values) == 1:
        return _number(mean, percent)
    spread = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    text = f"{_number(mean, percent)} ± {_number(spread, percent)}"
    return f"{text} (n={len(values)})" if state_n else text


def _number(value: float, percent: bool) -> str:
    if percent or not math.isfinite(value):
        return f"{value:.1f}"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = 2 - (math.floor(math.log10(abs(value))) if value else 0)
    return f"{value:,.{max(0, min(digits, 6))}f}"


def _note(some_percent: bool, all_percent: bool, seeds: set[int]) -> str:
    parts = []
    if some_percent:
        parts.append("in percent" if all_percent else "shares in percent")
    if seeds:
        count = f" over {next(iter(seeds))} seeds" if len(seeds) == 1 else " over n seeds"
        parts.append("mean ± sample standard deviation" + count)
    return ", ".join(parts)


def _text(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Headings wrap to the width of their values; names wrap when the table would pass WIDTH."""
    values = [max([0, *(len(row[i]) for row in cells)]) for i in range(1, len(titles))]
    heads = [
        textwrap.wrap(title, max(HEADING_WIDTH, width), break_long_words=False) or [""]
        for title, width in zip(titles[1:], values, strict=True)
    ]
    widths = [max(width, *map(len, head)) for width, head in zip(values, heads, strict=True)]
    room = WIDTH - sum(widths) - len(GAP) * len(widths)
    names = [textwrap.wrap(row[0], max(16, room), subsequent_indent="  ") or [""] for row in cells]
    first = max([0, *(len(line) for name in names for line in name)])

    depth = max([1, *map(len, heads)])
    lines = []
    for level in range(depth):
        parts = [" " * first]
        for head, width in zip(heads, widths, strict=True):
            offset = level - (depth - len(head))  # headings stand on the rule below them
            parts.append((head[offset] if offset >= 0 else "").rjust(width))
        lines.append(GAP.join(parts).rstrip())
    lines.append("-" * (first + sum(widths) + len(GAP) * len(widths)))
    for name, row in zip(names, cells, strict=True):
        numbers = GAP.join(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))
        lines.extend(line.ljust(first) for line in name)
        lines[-1] = (lines[-1] + GAP + numbers).rstrip()
    return lines


def _markdown(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    def line(parts: Sequence[str]) -> str:
        return "| " + " | ".join(part.replace("|", "\\|") for part in parts) + " |"

    return [line(titles), "|---" + "|---:" * (len(titles) - 1) + "|", *map(line, cells)]

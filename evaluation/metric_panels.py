"""Everything that a run logged, one small panel for each number."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.figures import BLUE, COLOURS, figure, finish, tidy, wrap

_ACROSS = 4
_UNSAID = ("step", "lr", "rows_per_second")


def metric_panels(
    metrics_path: str | Path,
    path: str | Path,
    first: Sequence[str] = ("loss", "knn"),
    words: Mapping[str, str] | None = None,
    title: str = "",
    credit: str = "",
) -> list[str]:
    """Draw every number in the JSON lines of metrics_path by step, in training and as "eval/..." beside it, and return
    their names. Learning rate and speed are left out.

    first: names to begin with, where there are such; words: {name: what to call it}.
    Raises ValueError where there is none.
    """
    curves = _read(Path(metrics_path))
    if not curves:
        raise ValueError(f"{Path(metrics_path).name}: no line holds a number; train for one logged step first.")
    names = [name for name in first if name in curves] + sorted(curves.keys() - set(first))
    rows = -(-len(names) // _ACROSS)
    drawing = figure(2.7 * min(len(names), _ACROSS), 0.4 + 1.9 * rows)
    panels = drawing.subplots(rows, min(len(names), _ACROSS), squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for (kind, curve), colour in zip(sorted(curves[name].items(), reverse=True), (BLUE, COLOURS[1]), strict=False):
            at = sorted(curve)
            axes.plot(at, [curve[step] for step in at], color=colour, linewidth=1.2, label=kind, marker=_mark(at))
        if len(curves[name]) > 1:
            axes.legend(frameon=False, fontsize=7)
        words_of = (words or {}).get(name, name.replace("_", " "))
        axes.set_title(wrap(words_of, 30, 2), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.ticklabel_format(useOffset=False, axis="y")
        tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    finish(drawing, path, title, credit)
    return names


def _mark(at: Sequence[int]) -> str:
    return "." if len(at) <= 10 else ""


def _read(path: Path) -> dict[str, dict[str, dict[int, float]]]:
    """{name: {"training" or "held out": {step: value}}}; a line that a kill cut short, which may
    leave a number or less, is skipped."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(entry, dict) or not _number(entry.get("step")):
            continue
        for name, value in entry.items():
            if name not in _UNSAID and _number(value):
                kind = "held out" if name.startswith("eval/") else "training"
                found.setdefault(name.removeprefix("eval/"), {}).setdefault(kind, {})[entry["step"]] = value
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Pictures of a run: its loss curve, the similarity of held-out pairs, the nearest images of a query."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from evaluation.arrays import matrix
from evaluation.figures import BLUE, COLOURS, GREEN, INK, Pixels, figure, finish, plain, show, tidy, wrap

WITH_PICTURES = 16  # pairs up to which a similarity matrix shows them
SMOOTHING = 50  # the smoothed loss averages over a 50th of the run


def loss_curve(
    metrics_path: str | Path,
    path: str | Path,
    chance: float | None = None,
    title: str = "",
    credit: str = "",
    asked: str = "held-out images",
) -> None:
    """Draw the training loss, raw and smoothed, with "eval/loss" beside it, and on a second panel every other metric
    named "eval/...".

    metrics_path: JSON lines such as {"step": 10, "loss": 5.1} and {"step": 100, "eval/text_to_image_r1":
    0.2}. Where a resumed run wrote a step twice, the later line counts; an unfinished last line is skipped.
    chance: the loss of guessing, log N for a contrastive loss over N, drawn as a dashed line.
    asked: what the "eval/..." metrics were measured on, in words.
    Raises ValueError for a line that is not JSON or a file without a loss.
    """
    loss, evaluations = _read_metrics(Path(metrics_path))
    held_out = evaluations.pop("eval/loss", {})
    drawing = figure(8, 6 if evaluations else 3.8)
    panels = drawing.subplots(2 if evaluations else 1, 1, squeeze=False, sharex=True)[:, 0]
    steps, values = np.array(sorted(loss)), np.array([loss[step] for step in sorted(loss)])
    top = panels[0]
    top.plot(steps, values, color=BLUE, alpha=0.4, linewidth=0.8, label="each logged step")
    top.plot(steps, _smooth(values), color=BLUE, linewidth=1.8, label="moving average")
    if held_out:
        at = sorted(held_out)
        top.plot(at, [held_out[step] for step in at], color=COLOURS[1], marker=".", label=asked)
    if chance is not None:
        top.axhline(chance, color=INK, linestyle="--", linewidth=1, label=f"guessing, {chance:.2f}")
    top.set_ylabel("training loss")
    tidy(top)
    top.legend(frameon=False, fontsize=9)

    if evaluations:
        bottom = panels[1]
        for number, (name, curve) in enumerate(evaluations.items()):
            at = sorted(curve)
            colour, style = COLOURS[number % len(COLOURS)], ("-", "--", ":")[number // len(COLOURS) % 3]
            label = name.removeprefix("eval/").replace("_", " ")
            bottom.plot(at, [curve[step] for step in at], style, color=colour, marker=".", label=label)
        bottom.set_ylabel(asked)
        tidy(bottom)
        bottom.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    panels[-1].set_xlabel("step")
    finish(drawing, path, title, credit)


def similarity_matrix(
    similarity: ArrayLike,
    path: str | Path,
    images: Sequence[Pixels] | None = None,
    captions: Sequence[str] | None = None,
    title: str = "",
    credit: str = "",
    across: str = "image",
) -> None:
    """Draw the cosines of n held-out pairs, (n, n): row i is caption i, column j is image j.

    Up to 16 pairs stand with their captions at the left, images (h, w, 3) uint8 on top and the number in each cell;
    more are a plain heat map. `across` says what the columns are where no image shows it. Raises ValueError when
    `similarity` is not square or the lengths differ.
    """
    values = matrix(similarity, "similarity")
    n = len(values)
    if values.shape != (n, n):
        raise ValueError(f"similarity_matrix: shape {values.shape} is not square; pass n by n cosines.")
    for name, given in (("images", images), ("captions", captions)):
        if given is not None and len(given) != n:
            raise ValueError(f"similarity_matrix: {len(given)} {name} for {n} pairs; pass one per pair.")
    small = n <= WITH_PICTURES
    side = max(3.2, 0.55 * n) if small else 5.5
    # Without images on top the cells grow to the full height, and what is left beside them shrinks.
    beside = 1.6 if captions is None or not small else 3.5 if images is not None else 4.2
    drawing = figure(side + beside, side + 1)
    axes = drawing.add_subplot()
    drawn = axes.imshow(values, cmap="viridis", interpolation="nearest" if n <= 500 else "auto")
    drawing.colorbar(drawn, ax=axes, shrink=0.7, label="cosine")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(across if images is None or not small else "")
    axes.set_ylabel("caption" if captions is None or not small else "")
    if small:
        _write_cells(axes, values)
        if captions is not None:
            axes.set_yticks(range(n), [wrap(caption, 25, 3) for caption in captions], fontsize=9)
            plain(axes.get_yticklabels())
            axes.tick_params(axis="y", length=0)
        for column, image in enumerate(images or []):
            inset = axes.inset_axes((column - 0.45, -1.5, 0.9, 0.9), transform=axes.transData)
            inset.imshow(image, interpolation="lanczos")
            inset.set_axis_off()
    finish(drawing, path, title, credit)


def neighbour_sheet(
    queries: Sequence[str] | Sequence[Pixels],
    images: Sequence[Sequence[Pixels]],
    correct: Sequence[Sequence[bool]],
    path: str | Path,
    title: str = "",
    credit: str = "",
) -> None:
    """Draw one row per query, a text or an image, with its nearest images, nearest first; a green frame marks a right
    one.

    images, (h, w, 3) uint8, and correct hold one sequence per query, of equal lengths (five reads well).
    Raises ValueError when they do not.
    """
    if len(queries) == 0 or len(queries) != len(images) or len(queries) != len(correct):
        raise ValueError(
            f"neighbour_sheet: {len(queries)} queries, {len(images)} rows of images and {len(correct)} "
            "of marks; pass one of each per query, and at least one query."
        )
    width = max(len(row) for row in images)
    first = 2.3 if isinstance(queries[0], str) else 1.15
    drawing = figure(first + 0.1 + 0.95 * width, 0.6 + 0.95 * len(queries))
    grid = drawing.add_gridspec(len(queries), width + 1, width_ratios=[first] + [0.95] * width)
    for number, (query, row, marks) in enumerate(zip(queries, images, correct, strict=True)):
        if len(row) != len(marks):
            raise ValueError(f"neighbour_sheet: query {number} has {len(row)} images but {len(marks)} marks.")
        asked = drawing.add_subplot(grid[number, 0])
        if isinstance(query, str):
            asked.set_axis_off()
            asked.text(0, 0.5, wrap(query, 26, 4), va="center", fontsize=10, color=INK, parse_math=False)
        else:
            asked.set_anchor("W")  # the wider column leaves room between what is asked and what is found
            show(asked, query, INK, 2)
        for place, (image, right) in enumerate(zip(row, marks, strict=True)):
            axes = drawing.add_subplot(grid[number, place + 1])
            show(axes, image, GREEN if right else "#dddddd", 4 if right else 1)
    finish(drawing, path, title, credit)


def _read_metrics(path: Path) -> tuple[dict[int, float], dict[str, dict[int, float]]]:
    """Loss by step, and by name each evaluation metric by step."""
    loss: dict[int, float] = {}
    evaluations: dict[str, dict[int, float]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # a killed run leaves half a line
                break
            raise ValueError(f"{path.name}: line {number} is not JSON; remove it or mend it.") from error
        if "loss" in entry:
            loss[entry["step"]] = entry["loss"]
        for name, value in entry.items():
            if name.startswith("eval/") and isinstance(value, int | float):
                evaluations.setdefault(name, {})[entry["step"]] = value
    if not loss:
        raise ValueError(f'{path.name}: no line holds a "loss"; train for at least one logged step first.')
    return loss, evaluations


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred moving average that leaves values out where they are not finite, same length."""
    window = np.ones(2 * (len(values) // (2 * SMOOTHING)) + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0.0), window, mode="same")
    count = np.convolve(finite.astype(np.float64), window, mode="same")
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full_like(total, math.nan), where=count > 0.5)
    return mean


def _write_cells(axes: Axes, values: NDArray[np.float64]) -> None:
    middle = (values.min() + values.max()) / 2
    for (row, column), value in np.ndenumerate(values):
        text = f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)  # + 0.0 turns -0.0 into 0.0
        colour = "white" if value < middle else "black"
        weight = "bold" if row == column else "normal"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour, fontweight=weight)

"""Who looks at whom in a sentence: the attention of every head."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from evaluation.figures import FAINT, INK, figure, finish

_COLUMNS = 4
_MOST = 16  # heads that a picture has room for


def attention_map(
    attention: ArrayLike, tokens: Sequence[str], path: str | Path, title: str = "", credit: str = ""
) -> None:
    """Draw the attention of up to 16 heads, (heads, t, t): row i is how token i spreads its attention, which sums to 1.

    Colours run from 0 to the largest share that any head gives to one token. Raises ValueError for another shape, for
    more heads, and for rows that do not sum to 1.
    """
    shares = np.asarray(attention, dtype=np.float64)
    if shares.ndim != 3 or shares.shape[1:] != (len(tokens), len(tokens)) or not 1 <= len(shares) <= _MOST:
        raise ValueError(
            f"attention_map: shape {shares.shape} is not that of 1 to {_MOST} heads over {len(tokens)} tokens, "
            f"(heads, {len(tokens)}, {len(tokens)})."
        )
    if not np.allclose(shares.sum(axis=2), 1, atol=1e-2):
        raise ValueError("attention_map: the rows do not sum to 1; pass the weights after the softmax.")
    heads, size = len(shares), len(tokens)
    columns = min(_COLUMNS, heads)
    rows = math.ceil(heads / columns)
    side = max(2.4, 0.13 * size + 0.9)
    drawing = figure(columns * side + 1.2, rows * side + 0.8)
    drawing.set_layout_engine("compressed")  # the panels are squares
    panels = drawing.subplots(rows, columns, squeeze=False)
    letters = 7 if size <= 24 else 5
    for number, axes in enumerate(panels.flat):
        if number >= heads:
            axes.set_axis_off()
            continue
        image = axes.imshow(shares[number], vmin=0, vmax=shares.max(), cmap="Blues", interpolation="nearest")
        axes.set_title(f"head {number + 1}", fontsize=9, color=INK)
        axes.set_xticks(range(size), tokens, rotation=90, fontsize=letters, parse_math=False)
        axes.set_yticks(
            range(size), tokens if number % columns == 0 else [""] * size, fontsize=letters, parse_math=False
        )
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_color("#dddddd")
    bar = drawing.colorbar(image, ax=panels, fraction=0.03, pad=0.01)
    bar.set_label("share of attention", fontsize=8, color=FAINT)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    finish(drawing, path, title, credit)

"""Which character is heard when: the probabilities of a CTC model under the spectrogram of what was said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import matrix
from evaluation.figures import INK, figure, finish, plain, wrap

_SEEN = 0.02  # of the probability somewhere: characters below it everywhere get no row


def posteriorgram(
    power: ArrayLike,
    probabilities: ArrayLike,
    names: Sequence[str],
    seconds: float,
    path: str | Path,
    said: str = "",
    heard: str = "",
    credit: str = "",
) -> None:
    """Draw a spectrogram and below it how likely each character is at each moment, a row for each that is ever likely.

    power: (f, bands), logarithms. probabilities: (g, c) over the same time, without padding. names: of the c
    characters, the first being CTC's blank, which says nothing. said and heard are written above. Raises ValueError
    where names and probabilities do not agree.
    """
    sound, shares = matrix(power, "power"), matrix(probabilities, "probabilities")
    if shares.shape[1] != len(names):
        raise ValueError(f"posteriorgram: {len(names)} names for {shares.shape[1]} characters; pass one for each.")
    shown = [place for place in range(len(names)) if place == 0 or shares[:, place].max() > _SEEN]
    drawing = figure(min(14.0, max(7.0, 2.2 * seconds)), 2.4 + 0.17 * len(shown))
    top, bottom = drawing.subplots(2, 1, sharex=True, height_ratios=[1.4, 0.17 * len(shown)])
    extent = (0.0, seconds)
    top.imshow(sound.T, origin="lower", aspect="auto", cmap="magma", extent=(*extent, 0, 1), interpolation="bilinear")
    top.set_yticks([])
    top.set_ylabel("mel bands", fontsize=9)
    words = [f"{name}: {wrap(text, 110, 2)}" for name, text in (("said", said), ("heard", heard)) if said or heard]
    top.set_title("\n".join(words), fontsize=9, color=INK, loc="left", parse_math=False)
    rows = shares[:, shown].T  # (shown, g)
    image = bottom.imshow(
        rows, aspect="auto", cmap="viridis", vmin=0, vmax=1, extent=(*extent, len(shown), 0), interpolation="nearest"
    )
    bottom.set_yticks(np.arange(len(shown)) + 0.5, [names[place] for place in shown], fontsize=7)
    plain(bottom.get_yticklabels())
    bottom.tick_params(axis="y", length=0)
    bottom.set_xlabel("seconds")
    drawing.colorbar(image, ax=[top, bottom], shrink=0.6, label="probability")
    finish(drawing, path, "", credit)

"""Solar cells photographed by the light they give off (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 1807.02894).

The package elpv-dataset carries them: 2,624 grey photographs of 300 x 300 pixels, cut from 44 modules.
"""

from itertools import groupby

import numpy as np
from PIL import Image

from modalities.packages import package_folder
from modalities.pictures.rows import Rows, labelled_pixels

LICENCE = "cc-by-nc-sa-4.0"
CREDIT = "ELPV dataset by ZAE Bayern (Buerhop-Lutz et al. 2018; Deitsch et al. 2019), CC BY-NC-SA 4.0."
CLASSES = ["mono, sound", "mono, defective", "poly, sound", "poly, defective"]
_BLOCK = 60  # cells; most modules have 60 or 72


def read_solar(side: int) -> tuple[Rows, list[str]]:
    """All cells at `side` x `side`; label = kind of wafer, and whether a defect is likelier than not.

    Cells of one module look alike and stand together in the list, but no module is named. A row's `base` is its block
    of 60 neighbours of one wafer kind, so that a split by it leaves few modules on both sides.
    """
    folder = package_folder("elpv_dataset", "solar", "pip install -e '.[solar]' (91 MB)") / "data"
    cells = [line.split() for line in (folder / "labels.csv").read_text().splitlines() if line]  # path, defect, wafer
    pixels = np.empty((len(cells), side, side, 3), np.uint8)
    for place, (path, _, _) in enumerate(cells):
        with Image.open(folder / path) as image:
            pixels[place] = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))[..., None]
    labels = [2 * (wafer == "poly") + (float(defect) > 0.5) for _, defect, wafer in cells]
    bases: list[int] = []
    for _, run in groupby(wafer for _, _, wafer in cells):
        first = bases[-1] + 1 if bases else 0
        bases += [first + place // _BLOCK for place, _ in enumerate(run)]
    return labelled_pixels(pixels, labels, np.array(bases, dtype=np.int64)), CLASSES

"""Handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998), which scikit-learn carries.

Writers are not named, so the split is by digit, and most writers are on both sides of it.
"""

import numpy as np
from PIL import Image

from modalities.packages import package_folder
from modalities.pictures.rows import Rows, labelled_pixels

LICENCE = "cc-by-4.0"
CREDIT = (
    "Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, CC BY "
    "4.0; from scikit-learn."
)


def read_digits(side: int) -> tuple[Rows, list[str]]:
    """1,797 digits, white on black, enlarged to `side` x `side`; label = the digit."""
    table = np.loadtxt(package_folder("sklearn", "digits") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    grey = np.round(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)  # (n, 8, 8)
    large = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC).convert("RGB") for one in grey]
    rows = labelled_pixels(np.stack([np.asarray(one) for one in large]), table[:, 64].astype(int).tolist())
    return rows, [str(digit) for digit in range(10)]

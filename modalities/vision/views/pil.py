"""The crop of `make_views` on one Pillow image, for the collators of callers with large pictures: these then travel as
small ones. No collator here does it: `ImageCollate` keeps squares of one size, out of which any number of views is cut.

Pillow reads the pixels under the box alone: from 512 to 224 px it needs half of the CPU time of the batched form, in
workers beside the training process. At 96 px and below the batched form on the training device is the faster one.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modalities.vision.views.pipeline import ViewConfig, view_boxes


def crop_with_pil(image: Image.Image, seed: Tensor, cfg: ViewConfig, stream: int = 0) -> Tensor:
    """The box that `make_views` would cut out of this image, resized but not mirrored: uint8 (3, side, side).

    `make_views` with `min_area=1` then makes the rest of the view (mirror, colour, blur), with the same draws.

    Args:
        image: RGB, of any size.
        seed: int64, ().
        cfg: of the view that is to come out.
        stream: of that view.
    """
    height, width = torch.tensor(image.height), torch.tensor(image.width)
    left, top, right, bottom = view_boxes(seed[None], height, width, cfg, stream)[0].tolist()
    how = Image.Resampling.BICUBIC if cfg.bicubic else Image.Resampling.BILINEAR
    # In single precision an edge may end up a hair outside, which Pillow refuses.
    box = (max(left, 0.0), max(top, 0.0), min(right, float(image.width)), min(bottom, float(image.height)))
    small = image.resize((cfg.side, cfg.side), how, box=box)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)

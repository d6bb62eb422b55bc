"""Embeddings of whole data sets, as arrays, from the pixels and tokens that a user of the checkpoint would see."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.pairs import Rows
from modalities.media import decode

Floats = npt.NDArray[np.float32]


def pixel_batches(collate: PairCollate, rows: Rows, chunk: int = 256) -> Iterator[Tensor]:
    """The images of `rows` as the published image processor prepares them: (<= chunk, 3, h, w) each."""
    for start in range(0, len(rows), chunk):
        some = rows.__getitems__(list(range(start, min(start + chunk, len(rows)))))
        yield collate.pixels([decode(row["image"], row["id"]) for row in some])


def thumbnails(rows: Rows, side: int) -> npt.NDArray[np.uint8]:
    """The images of `rows` squeezed to squares: (n, side, side, 3)."""
    images = (decode(row["image"], row["id"]) for row in rows)
    return np.stack([np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in images])


@torch.inference_mode()
def encode_images(task: Clip, collate: PairCollate, rows: Rows) -> Floats:
    """Projected image embeddings, (n, d), not normalised."""
    device = task.encoder.device
    features = [task.encode({"pixel_values": pixels.to(device)})["image"] for pixels in pixel_batches(collate, rows)]
    return torch.cat(features).float().cpu().numpy()


@torch.inference_mode()
def encode_texts(task: Clip, collate: PairCollate, texts: Sequence[str], chunk: int = 512) -> Floats:
    """Projected text embeddings, (n, d), not normalised."""
    parts = []
    for start in range(0, len(texts), chunk):
        tokens = collate.text(texts[start : start + chunk])
        parts.append(task.encode({name: tensor.to(task.encoder.device) for name, tensor in tokens.items()})["text"])
    return torch.cat(parts).float().cpu().numpy()

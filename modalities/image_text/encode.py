"""Embeddings of whole data sets, as arrays, from the pixels and tokens that a user of the checkpoint would see."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.pictures.batches import pixel_batches
from modalities.pictures.rows import Rows

Floats = npt.NDArray[np.float32]


@torch.inference_mode()
def encode_images(task: Clip, collate: PairCollate, rows: Rows) -> Floats:
    """Projected image embeddings, (n, d), not normalised."""
    device = task.encoder.device
    batches = pixel_batches(rows, collate.image_processor)
    features = [task.encode({"pixel_values": pixels.to(device)})["image"] for pixels in batches]
    return torch.cat(features).float().cpu().numpy()


@torch.inference_mode()
def encode_texts(task: Clip, collate: PairCollate, texts: Sequence[str], chunk: int = 512) -> Floats:
    """Projected text embeddings, (n, d), not normalised."""
    parts = []
    for start in range(0, len(texts), chunk):
        tokens = collate.text(texts[start : start + chunk])
        parts.append(task.encode({name: tensor.to(task.encoder.device) for name, tensor in tokens.items()})["text"])
    return torch.cat(parts).float().cpu().numpy()

"""Pictures cut into segments without labels: k-means of the features of their places, over all pictures together."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, ViTModel

from modalities.vision.backbones import feature_map
from modalities.vision.joint.kmeans import random_rows, spherical_kmeans

_STARTS, _ROUNDS = 4, 20


@torch.no_grad()
def place_features(encoder: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Features of places, (n, h, w, d): of a ViT's patches in the last layer, of a convolutional net's maps in the last
    stage but one, for the last one has very few places.

    pixels (n, channels, height, width) of any size that patches tile.
    """
    if isinstance(encoder, ViTModel):
        return feature_map(encoder, pixels).permute(0, 2, 3, 1)
    stage: Tensor = encoder(pixels, output_hidden_states=True).hidden_states[-2]  # (n, d, h, w)
    return stage.permute(0, 2, 3, 1)


@torch.no_grad()
def segments(encoder: PreTrainedModel, pixels: Tensor, count: int, seed: int = 0) -> Tensor:
    """The segment of every place, (n, h, w) int64 in 0 .. count - 1; equal numbers mean the same in all pictures.

    Features are compared by their cosine, less the mean of all places: most of a ViT's is common to them. Of four
    starts the one that fits best counts. Number 0 is the largest segment.

    Raises:
        ValueError: if there are more segments than places.
    """
    features = place_features(encoder, pixels)  # (n, h, w, d)
    rows = features.flatten(0, 2).double()
    if count > len(rows):
        raise ValueError(f"{len(rows)} places cannot be cut into {count} segments; take fewer, or larger pictures.")
    rows = F.normalize(rows - rows.mean(0), dim=1)  # (n * h * w, d)
    found = [spherical_kmeans(rows, random_rows(rows, count, seed + start), _ROUNDS) for start in range(_STARTS)]
    fits = [float((rows * one.centroids[one.labels]).sum()) for one in found]
    labels = found[max(range(_STARTS), key=fits.__getitem__)].labels
    order = torch.bincount(labels, minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[labels].view(features.shape[:3])

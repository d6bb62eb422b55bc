"""Two ResNets as one stock ResNet of both widths, in which they do not touch."""

import copy

import torch
from torch import Tensor
from transformers import ResNetModel

from modalities.vision.batch_norm import with_global_statistics
from modalities.vision.colour_mixing import Matrix, fold

_STEM = "embedder.embedder.convolution.weight"


def side_by_side(first: ResNetModel, first_sees: Matrix, second: ResNetModel, second_sees: Matrix) -> ResNetModel:
    """One ResNet for RGB images whose features are those of `first`, then those of `second`, at every stage.

    Every kernel but the first is block-diagonal, with zeros where one network would see the other, and everything that
    has one number for each channel is put end to end. Shapes must be equal but for the channels that go in.

    Args:
        first, second: ResNets for mixed channels.
        first_sees, second_sees: how their channels are mixed from RGB.
    """
    left, right = first.state_dict(), second.state_dict()
    assert left.keys() == right.keys(), "the two networks differ in depth"
    config = copy.deepcopy(first.config)
    config.num_channels = 3
    config.embedding_size *= 2
    config.hidden_sizes = [2 * width for width in config.hidden_sizes]
    with torch.device("meta"):  # nothing is drawn, so no random number elsewhere changes
        joined = ResNetModel(config)
    state = {name: _joined(left[name], right[name]) for name in left if name != _STEM}
    state[_STEM] = torch.cat([fold(left[_STEM], first_sees), fold(right[_STEM], second_sees)])
    joined.load_state_dict(state, assign=True)
    return with_global_statistics(joined.train(first.training))


def _joined(left: Tensor, right: Tensor) -> Tensor:
    if left.ndim == 0:  # how many batches a norm has seen
        return left.clone()
    if left.ndim == 1:
        return torch.cat([left, right])
    above = torch.cat([left, torch.zeros_like(left)], 1)  # (d, 2k, h, w)
    below = torch.cat([torch.zeros_like(right), right], 1)
    return torch.cat([above, below])

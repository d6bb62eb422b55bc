"""SmoothGrad: Smilkov et al. 2017, arXiv 1706.03825, of all features at once."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from modalities.vision.backbones import pooled

_SAMPLES, _NOISE = 8, 0.1  # noisy copies of each image, and the noise as a share of the range of pixels
_CELL = 4  # pixels that are averaged


def saliency(encoder: PreTrainedModel, pixels: Tensor) -> Tensor:
    """How much each place moves the features: the gradient of their squared length by the pixels, (n, h / 4, w / 4).

    pixels (n, 3, h, w) in [-1, 1]. The mean over noisy copies, the same noise each time: a single gradient is grainy.
    """
    noise = torch.Generator().manual_seed(0)
    total = torch.zeros(len(pixels), *pixels.shape[2:])
    for _ in range(_SAMPLES):
        jittered = pixels + 2 * _NOISE * torch.randn(pixels.shape, generator=noise)
        jittered = jittered.to(encoder.device).requires_grad_()
        features = pooled(encoder, jittered)  # (n, d)
        (gradient,) = torch.autograd.grad(features.square().sum(), jittered)
        total += gradient.abs().sum(1).cpu()
    return F.avg_pool2d(total[:, None] / _SAMPLES, _CELL)[:, 0]

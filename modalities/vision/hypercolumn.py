"""Dense predictions from all stages of an encoder at once: Hariharan et al. 2015, arXiv 1411.5752."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, ResNetModel

from modalities.vision.backbones import feature_map, width_of


class Hypercolumn(nn.Module):
    """Numbers for every place of a fine grid, from what the coarse and the fine maps of an encoder say of it.

    Each stage of a ResNet (of a ViT: the last layer) is projected, enlarged to the grid and added; so the late stages
    need not carry edges, and say what is there instead.

    Args:
        encoder: whose maps are read; not kept.
        width: channels of the sum.
        out: numbers for each place.
    """

    def __init__(self, encoder: PreTrainedModel, width: int, out: int) -> None:
        super().__init__()
        widths = encoder.config.hidden_sizes if isinstance(encoder, ResNetModel) else [width_of(encoder)]
        self.projections = nn.ModuleList([nn.Conv2d(d, width, 1, bias=False) for d in widths])
        self.norm = nn.GroupNorm(1, width)
        self.mix = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.mixed_norm = nn.GroupNorm(1, width)
        self.out = nn.Linear(width, out)

    def forward(self, encoder: PreTrainedModel, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """pixels (n, channels, height, width) -> (n, h, w, out) for a grid (h, w)."""
        if isinstance(encoder, ResNetModel):
            maps = encoder(pixels, output_hidden_states=True).hidden_states[1:]
        else:
            maps = (feature_map(encoder, pixels),)
        sizes = [F.interpolate(p(m), size=grid, mode="bilinear") for p, m in zip(self.projections, maps, strict=True)]
        x = F.relu(self.norm(sum(sizes)))  # (n, width, h, w)
        x = F.relu(self.mixed_norm(self.mix(x)))
        return self.out(x.movedim(1, -1))

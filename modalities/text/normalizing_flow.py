"""A normalising flow over vectors: Glow (Kingma and Dhariwal 2018, arXiv 1807.03039) without its pictures.

Saved models ship this file, so it imports nothing of the project that wrote it.
"""

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

_MIRRORS = 4  # in each block


class NormalizingFlowConfig(PretrainedConfig):
    """Shape of the flow."""

    model_type = "normalizing_flow"

    def __init__(self, width: int = 128, blocks: int = 8, hidden: int = 128, **rest: object) -> None:
        self.width, self.blocks, self.hidden = width, blocks, hidden
        super().__init__(**rest)  # type: ignore[arg-type]


class NormalizingFlow(PreTrainedModel):
    """Invertible map between vectors and a standard normal distribution, with the logarithm of its determinant.

    Each block scales and shifts every dimension, mirrors the vectors at learnt planes, swaps the halves, and lets one
    half say how the other is scaled and shifted (affine coupling). Glow learns a whole matrix instead of the mirrors,
    whose determinants need no computing: each is -1. All is computed in the precision of the weights, autocast or not,
    so that the inverse is one and the determinant is that of what was done.
    """

    config_class = NormalizingFlowConfig
    base_model_prefix = "flow"

    def __init__(self, config: NormalizingFlowConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config.width, config.hidden) for _ in range(config.blocks))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Blocks come as they are made: they mirror and swap alone, for their last layers are 0."""

    def forward(self, vectors: Tensor) -> dict[str, Tensor]:
        """vectors (n, d) -> {"vectors": (n, d), "log_determinant": (n,)}."""
        z = vectors.to(self.dtype)
        total = z.new_zeros(len(z))
        with torch.autocast(z.device.type, enabled=False):
            for block in self.blocks:
                z, change = block(z)
                total = total + change
        return {"vectors": z, "log_determinant": total}

    def inverse(self, z: Tensor) -> Tensor:
        """What `forward` made z of, (n, d)."""
        x = z.to(self.dtype)
        with torch.autocast(x.device.type, enabled=False):
            for block in reversed(self.blocks):
                x = block.inverse(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.mirrors = nn.Parameter(torch.randn(_MIRRORS, width))
        self.seen = width // 2
        last = nn.Linear(hidden, 2 * (width - self.seen))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.coupling = nn.Sequential(nn.Linear(self.seen, hidden), nn.GELU(), last)

    def _scale_shift(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """How the other half is scaled, as a logarithm between -1 and 1, and shifted."""
        log_scale, shift = self.coupling(seen).chunk(2, dim=1)
        return log_scale.tanh(), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = (x + self.shift) * self.log_scale.exp()  # (n, d)
        for normal in self.mirrors:
            x = _mirror(x, normal)
        x = x.flip(1)
        seen, other = x[:, : self.seen], x[:, self.seen :]
        log_scale, shift = self._scale_shift(seen)
        z = torch.cat([seen, (other + shift) * log_scale.exp()], 1)
        return z, self.log_scale.sum() + log_scale.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        seen, other = z[:, : self.seen], z[:, self.seen :]
        log_scale, shift = self._scale_shift(seen)
        x = torch.cat([seen, other * (-log_scale).exp() - shift], 1)
        x = x.flip(1)
        for normal in self.mirrors.flip(0):
            x = _mirror(x, normal)
        return x * (-self.log_scale).exp() - self.shift


def _mirror(x: Tensor, normal: Tensor) -> Tensor:
    """Reflect (n, d) at the plane with this normal (d,)."""
    return x - 2 * (x @ normal)[:, None] * normal / normal.square().sum()


NormalizingFlowConfig.register_for_auto_class()
NormalizingFlow.register_for_auto_class("AutoModel")

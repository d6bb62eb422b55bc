"""The network that tells real pictures from made ones, and the two losses between it and the one that makes them:
Goodfellow et al. 2014, arXiv 1406.2661; judging place by place, as Isola et al. 2017, arXiv 1611.07004."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from objectives.precision import widen


class Discriminator(nn.Module):
    """Pictures (n, channels, side, side) -> logits (n, side / 8, side / 8), positive for real.

    Each logit sees some 22 pixels each way, and tells sharp from blurred long before one for a whole picture would.
    Group norms: with batch norms a picture's logits would depend on the rest of the batch, and real and made ones
    would be told apart by that alone.

    Args:
        channels: of the pictures. width: channels of the first stage, doubled in each of the other two.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(2, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(2, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, channels, side, side) -> (n, side / 8, side / 8)."""
        return widen(self.layers(pictures)).squeeze(1)


def adversarial_losses(discriminator: Discriminator, real: Tensor, made: Tensor, where: Tensor) -> dict[str, Tensor]:
    """Both players' losses in one forward pass, each with a gradient for its own player only.

    So one optimizer trains both: the sum of the two losses gives every weight exactly the gradient that alternating
    between two optimizers at the same weights would. That is before clipping: `train.clip_norm` bounds the gradient of
    both players together, so that one with a large gradient shortens the other's step as well.

    Args:
        real, made: (n, channels, h, w) in the same range; `made` carries the maker's graph.
        where: bool (n, 1, h, w), which pixels of `made` were made. A logit counts by how many of them it stands on.

    Returns:
        {"discriminator": how badly real and made are told apart, "maker": how badly the discriminator is fooled (the
        form that does not saturate), "accuracy": share of both that the discriminator tells right}. Each is the mean
        over rows of a row's weighted mean over places.
    """
    on_real, on_made = discriminator(torch.cat([real, made.detach()])).chunk(2)  # (n, h', w') each
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    judged = functional_call(discriminator, frozen, (made,))  # (n, h', w')
    weight = F.adaptive_avg_pool2d(where.to(judged), judged.shape[1:]).squeeze(1)  # (n, h', w')
    weight = weight / weight.sum((1, 2), keepdim=True) / len(weight)
    right = ((on_real > 0).to(weight) + (on_made < 0).to(weight)) / 2
    return {
        "discriminator": (weight * (F.softplus(-on_real) + F.softplus(on_made))).sum() / 2,
        "maker": (weight * F.softplus(-judged)).sum(),
        "accuracy": (weight * right).sum(),
    }

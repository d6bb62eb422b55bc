"""What heads are made of, and that none of their weights is without use."""

import pytest
import torch
from torch import nn

from modalities.vision.joint.heads import LastNorm, Norm, mlp


def kinds(head: nn.Sequential) -> list[str]:
    short = {"GlobalBatchNorm1d": "batch", "LayerNorm": "layer", "ReLU": "relu"}
    return [
        short.get(type(part).__name__, "linear+" if getattr(part, "bias", None) is not None else "linear")
        for part in head
    ]


@pytest.mark.parametrize(
    ("norm", "last_norm", "last_bias", "wanted"),
    [
        (True, "none", True, "linear batch relu linear+"),
        ("batch", "plain", True, "linear batch relu linear batch"),
        ("layer", "none", True, "linear+ layer relu linear+"),
        (False, "none", False, "linear+ relu linear"),
        ("none", "affine", True, "linear+ relu linear batch"),
    ],
)
def test_heads_are_as_asked(norm: bool | Norm, last_norm: LastNorm, last_bias: bool, wanted: str) -> None:
    head = mlp([4, 6, 3], norm=norm, last_norm=last_norm, last_bias=last_bias)
    assert kinds(head) == wanted.split() and head(torch.randn(5, 4)).shape == (5, 3)
    if last_norm != "none":
        assert (head[-1].weight is None) == (last_norm == "plain")


def test_a_shift_that_no_loss_sees_has_no_bias() -> None:
    """The broken twin has one, whose gradient is rounding."""
    for last_bias in (False, True):
        torch.manual_seed(0)
        head = mlp([4, 6, 3], last_bias=last_bias).double()
        z = head(torch.randn(8, 4, dtype=torch.float64))
        (z - z.mean(0)).pow(3).sum().backward()
        idle = [name for name, p in head.named_parameters() if p.grad is None or float(p.grad.abs().max()) < 1e-12]
        assert idle == (["3.bias"] if last_bias else [])

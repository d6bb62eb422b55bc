"""Optimisers and the split of parameters into decayed and undecayed ones."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainers.config import TrainConfig


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in groups: matrices and kernels are decayed, everything with at most one dimension (biases,
    norms, logit scales) is not. Shared parameters appear once. Parameters that are sharded over processes and ones that
    are not go apart, for the fused kernels take either kind. Each group has the "lr_scale" of its parameters: what
    `module.lr_scales` ({name of a submodule or parameter: factor on the learning rate}) gives them, or 1; and "steady",
    whether they are among `module.steady` (names as before), whose learning rate follows no schedule."""
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError(f"{type(module).__name__} has no trainable parameter: every one has requires_grad=False.")
    scales: dict[str, float] = getattr(module, "lr_scales", {})
    for part in scales:
        assert any(_is_in(name, part) for name in trainable), f"lr_scales names {part!r}, where nothing is trained"
    steady: tuple[str, ...] = getattr(module, "steady", ())
    for part in steady:
        assert any(_is_in(name, part) for name in trainable), f"steady names {part!r}, where nothing is trained"
    groups: dict[tuple[float, bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        own = [scale for part, scale in scales.items() if _is_in(name, part)] or [1.0]
        assert len(own) == 1, f"lr_scales gives {name} {len(own)} factors"
        is_steady = any(_is_in(name, part) for part in steady)
        key = (own[0], parameter.ndim <= 1, isinstance(parameter, DTensor), is_steady)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": groups[key],
            "weight_decay": 0.0 if key[1] else weight_decay,
            "lr_scale": key[0],
            "steady": key[3],
            "decayed": not key[1],
        }
        for key in sorted(groups, key=lambda key: (-key[0], *key[1:]))
    ]


def _is_in(name: str, part: str) -> bool:
    return f"{name}.".startswith(f"{part}.")


def build_optimizer(module: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer that `cfg` names, over `parameter_groups`, at the peak learning rate."""
    groups = parameter_groups(module, cfg.weight_decay)
    optimizer: torch.optim.Optimizer
    if cfg.optimizer == "lars":
        optimizer = LARS(groups, lr=cfg.lr, momentum=cfg.momentum)
    else:
        optimizer = torch.optim.AdamW(groups, lr=cfg.lr, betas=(cfg.momentum, cfg.beta2), eps=1e-6, fused=True)
    schedule(optimizer, cfg.lr, cfg.lr, cfg.weight_decay)
    return optimizer


def schedule(optimizer: torch.optim.Optimizer, rate: float, peak: float, decay: float) -> None:
    """Give every group the learning rate `rate`, or `peak` where it is steady, times its own factor; and those that are
    decayed the weight decay `decay`."""
    for group in optimizer.param_groups:
        group["lr"] = (peak if group["steady"] else rate) * group["lr_scale"]
        group["weight_decay"] = decay if group["decayed"] else 0.0


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling: You, Gitman and Ginsburg 2017, arXiv 1708.03888.

    Each matrix's step is scaled by trust * |w| / |g + decay * w|, before momentum, as SimCLR (arXiv 2002.05709)
    uses it; parameters with at most one dimension take plain momentum steps.

    Args:
        params: parameters or groups; a group's `weight_decay` defaults to 0.
        lr: learning rate. momentum: of the scaled gradients. trust: the coefficient (0.001 in the paper).
    """

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.9, trust: float = 1e-3, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        step = weight.grad.add(weight, alpha=group["weight_decay"])  # type: ignore[union-attr]
        if weight.ndim > 1:
            size, slope = weight.norm(), step.norm()
            # A zero weight or gradient has no ratio; the paper's rule then leaves the step as it is.
            ratio = torch.where((size > 0) & (slope > 0), group["trust"] * size / slope, torch.ones_like(size))
            step = step * ratio
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(group["momentum"]).add_(step)
        weight.add_(state["momentum"], alpha=-group["lr"])

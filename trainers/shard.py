"""Parameters, gradients and optimizer state split over the processes (FSDP2: Zhao et al. 2023, arXiv 2304.11277)."""

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

# Methods that are called on a task from outside `forward` and use its weights.
_ENTRANCES = ("embed", "loss_from", "encode", "logits")


def shard(task: nn.Module, accelerator: Accelerator) -> None:
    """Split `task` in place: each block that `transformers` names as indivisible by itself, then the rest.

    Parameters without dimensions (logit scales) cannot be split; they stay whole on every process, and their gradients
    are averaged by `GradientStep`.
    """
    if accelerator.num_processes == 1:
        raise ValueError("train.shard splits weights over processes and there is one; start several, or leave it out.")
    task.to(accelerator.device)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    whole = {parameter for parameter in task.parameters() if parameter.ndim == 0}
    blocks = {name for module in task.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    for module in reversed(list(task.modules())):  # inner ones first
        if type(module).__name__ in blocks and module is not task:
            fully_shard(module, mesh=mesh, ignored_params=whole)
    fully_shard(task, mesh=mesh, ignored_params=whole)
    for name in _ENTRANCES:
        if hasattr(task, name):
            register_fsdp_forward_method(task, name)


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Norm of the whole gradient before it is scaled down to at most `largest`, split or not."""
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    split = [p for p in with_gradient if isinstance(p.grad, DTensor)]
    whole = [p for p in with_gradient if not isinstance(p.grad, DTensor)]
    gradients = [[parameter.grad for parameter in part if parameter.grad is not None] for part in (split, whole)]
    norms = [torch.nn.utils.get_total_norm(part) for part in gradients if part]
    norms = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    for part in (split, whole):
        if part:
            torch.nn.utils.clip_grads_with_norm_(part, largest, norm)
    return norm

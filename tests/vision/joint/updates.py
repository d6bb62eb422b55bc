"""Several updates, and all that a task is after them: for comparing two processes with one, right and wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from modalities.task import Batch, Task

Numbers = dict[str, Tensor]


def several_updates(task: Task, model: Callable[[Batch], Numbers], batches: Sequence[Batch]) -> Numbers:
    """Loss and every gradient of each update, and whatever the task is after the last."""
    optimizer = torch.optim.SGD(task.parameters(), lr=0.05)
    found = {}
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        loss = model(batch)["loss"]
        loss.backward()
        found[f"loss {step}"] = loss.detach().clone()
        if dist.is_initialized():
            dist.all_reduce(found[f"loss {step}"])
            found[f"loss {step}"] /= dist.get_world_size()
        found |= {f"{name} {step}": p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
        optimizer.step()
        task.after_step((step + 1) / len(batches))
    return found | {name: value.clone() for name, value in task.state_dict().items()}


@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """(owner, name, value): each owner has that value by that name inside."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in changes:
            patch.setattr(owner, name, value)
        yield

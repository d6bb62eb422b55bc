"""Small tasks and data for the trainers: torch only, every kind of state a method can have, quick to start."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives.gather import gather, rank

Batch = dict[str, Tensor]
INPUT, WIDTH = 6, 8


class Rows:
    """Map-style data: row i is drawn from i."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"id": row}


class Stream:
    """A plain iterable without a length: the same rows, read from the start each time."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ({"id": row} for row in range(self.rows))


def collate(rows: list[dict[str, Any]], seeds: np.ndarray) -> Batch:
    """{"x" (n, 6), "y" (n, 6), "id" (n,)}: two noisy views of each row."""
    views = []
    for row, seed in zip(rows, seeds, strict=True):
        centre = np.random.default_rng(row["id"]).normal(size=INPUT)
        views.append(centre + 0.1 * np.random.default_rng(seed).normal(size=(2, INPUT)))
    both = torch.from_numpy(np.stack(views))  # (n, 2, 6)
    return {"x": both[:, 0], "y": both[:, 1], "id": torch.tensor([row["id"] for row in rows])}


class Single(nn.Module):
    """An uncoupled task with tied weights, dropout, a teacher, a buffer that no state_dict holds, and an idle weight.

    Buffers enter the loss, so that losing one of them shows in the very next loss.
    """

    coupled = False

    def __init__(self, dropout: float = 0.2, idle: bool = True, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.encoder = nn.Linear(INPUT, WIDTH)
        self.decoder = nn.Linear(WIDTH, INPUT)
        self.decoder.weight = nn.Parameter(self.decoder.weight.detach().clone())
        self.twin = nn.Linear(INPUT, WIDTH, bias=False)
        self.twin.weight = self.encoder.weight
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)
        if idle:
            self.idle = nn.Parameter(torch.ones(3, 2))
        self.register_buffer("teacher", torch.zeros(WIDTH, INPUT))
        self.register_buffer("drift", torch.zeros(()), persistent=False)
        self.updates: int = 0
        self.to(dtype)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x = batch["x"].to(self.norm.weight)
        hidden = self.dropout(self.norm(torch.tanh(self.encoder(x) + self.twin(x))))
        taught = F.linear(x, self.teacher)
        loss = F.mse_loss(self.decoder(hidden), x) + 0.1 * F.mse_loss(hidden, taught) + 0.01 * self.drift
        rows = (batch["id"].double() + 1).square().mean()  # tells which rows the step saw
        return {"loss": loss, "rows": rows}

    def after_step(self, progress: float) -> None:
        assert self.training
        self.updates += 1
        self.teacher.lerp_(self.encoder.weight.detach(), 0.5)
        self.drift.add_(progress)


class Counted(nn.Module):
    """An uncoupled task whose loss is a mean over the tokens of its rows; row i has 1 + i % 5 of them."""

    coupled = False

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(INPUT, WIDTH)
        self.head = nn.Linear(WIDTH, INPUT)
        self.double()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        tokens = 1 + batch["id"] % 5  # (n,)
        each = (self.head(torch.tanh(self.encoder(batch["x"]))) - batch["y"]).square().mean(1)  # (n,)
        return {"loss": (each * tokens).sum() / tokens.sum(), "count": tokens.sum(), "first": each[0]}

    def after_step(self, progress: float) -> None: ...


class Paired(nn.Module):
    """A coupled task in two halves, with dropout and a temperature that only `loss_from` uses."""

    coupled = True

    def __init__(self, dropout: float = 0.0, dtype: torch.dtype = torch.float64, width: int = WIDTH) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(INPUT, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, WIDTH))
        self.two = nn.Sequential(nn.Linear(INPUT, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, WIDTH))
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.to(dtype)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        dtype = self.log_scale.dtype
        return self.one(batch["x"].to(dtype)), self.two(batch["y"].to(dtype)), batch["id"]

    def loss_from(self, one: Tensor, two: Tensor, ids: Tensor) -> dict[str, Tensor]:
        assert not ids.requires_grad
        one, two = F.normalize(one, dim=1), F.normalize(two, dim=1)
        logits = self.log_scale.exp() * one @ gather(two).T  # (n, n over all processes)
        own = torch.arange(len(one)) + rank() * len(one)
        return {"loss": F.cross_entropy(logits, own), "rows": (ids.double() + 1).square().mean()}

    def after_step(self, progress: float) -> None:
        self.log_scale.data.clamp_(0.0, 4.0)


class Paced(nn.Module):
    """Two weights with a constant gradient of 1, so that AdamW moves each by its learning rate; one learns at a tenth.

    `places` keeps where they were after every update.
    """

    coupled = False

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.fast, self.slow = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.lr_scales = {"slow": 0.1}
        self.register_buffer("places", torch.zeros(updates + 1, 2))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.double()
        self.places[0] = self.now()

    def now(self) -> Tensor:
        return torch.stack([self.fast.weight.detach(), self.slow.weight.detach()]).flatten()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.fast.weight.sum() + self.slow.weight.sum() + 0 * batch["x"].sum()}

    def after_step(self, progress: float) -> None:
        self.updates += 1
        self.places[self.updates] = self.now()


class Hooked(nn.Module):
    """Three weights of 1 with a constant gradient of 1: one is paced by the schedule, one is steady, and one rests in
    the part `rest` of the run. From `ill_from` on it calls itself ill. `places` keeps where the weights were."""

    coupled = False
    steady = ("held",)

    def __init__(self, updates: int, rest: tuple[float, float] = (0.2, 0.6), ill_from: float = 2.0) -> None:
        super().__init__()
        self.paced, self.held, self.rested = (nn.Linear(1, 1, bias=False) for _ in range(3))
        for weight in self.parameters():
            nn.init.ones_(weight)
        self.rest, self.ill_from = rest, ill_from
        self.register_buffer("places", torch.ones(updates + 1, 3))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.double()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weights = torch.cat([weight.flatten() for weight in self.parameters()])
        return {"loss": weights.sum() + 0 * batch["x"].sum(), "rank": batch["x"].new_tensor(float(rank()))}

    def resting(self, progress: float) -> Iterator[nn.Parameter]:
        return iter(list(self.rested.parameters()) if self.rest[0] <= progress < self.rest[1] else [])

    def diagnose(self, scalars: dict[str, float], progress: float) -> str:
        return f"all is one on rank {scalars['rank']}; lower train.lr." if progress >= self.ill_from else ""

    def after_step(self, progress: float) -> None:
        self.updates += 1
        self.places[self.updates] = torch.cat([weight.detach().flatten() for weight in self.parameters()])


class Zeroed(Hooked):
    """Hooked's broken twin: where a weight is to rest, it gets a gradient of zero instead of none."""

    def resting(self, progress: float) -> Iterator[nn.Parameter]:
        for weight in super().resting(progress):
            assert weight.grad is not None
            weight.grad.zero_()
        return iter([])


class SelfMade(nn.Module):
    """A task with its own step: one table, of which a step moves the rows of its batch towards their views. Its weights
    and its buffer begin as the number of the process, as those of a task do that is built without a common seed."""

    coupled = False

    def __init__(self, rows: int = 40, diverge: bool = False) -> None:
        super().__init__()
        first = float(os.environ.get("RANK", "0"))
        self.table = nn.Parameter(torch.full((rows, INPUT), first, dtype=torch.float64))
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first", torch.tensor(first))
        self.diverge = diverge

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise AssertionError("fit must not call the forward of a task that has a step of its own")

    def update(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        assert self.training
        ids, aims = gather(batch["id"]), gather(batch["x"])
        apart = self.table.data[ids] - aims  # (n over all processes, 6)
        self.table.data.index_add_(0, ids, apart, alpha=-rate)
        loss = apart.square().mean()
        rows = (batch["id"].double() + 1).square().mean()
        return {"loss": loss * torch.inf if self.diverge else loss, "rows": rows}

    def after_step(self, progress: float) -> None:
        self.progress.fill_(progress)


def state_of(task: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer, persistent or not."""
    return {n: t.detach().clone() for n, t in (*task.named_parameters(), *task.named_buffers())}


def metrics_of(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the speed, which no two runs share."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["rows_per_second"]
    return lines


def gradients_of(task: nn.Module) -> dict[str, Tensor]:
    """Gradients by name; parameters without one are left out."""
    return {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


def distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Largest difference of any element; both must have the same names."""
    assert left.keys() == right.keys() and left
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)

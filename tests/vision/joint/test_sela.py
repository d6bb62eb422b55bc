from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import as_signed
from modalities.task import Batch
from modalities.vision.joint.sela import SeLa, SeLaConfig
from tests.reference import assignment as reference
from tests.vision.joint.files import TINY_VIEWS, VIT, pictures
from trainers.config import TrainConfig
from trainers.loop import fit

ROWS = 12
CONFIG = SeLaConfig(clusters=3, heads=2, times=3, rows=ROWS)


def build(kind: type[SeLa] = SeLa) -> SeLa:
    torch.manual_seed(0)
    return kind(VIT, TINY_VIEWS, CONFIG).double()


def collate(rows: Sequence[int], seeds: Any) -> Batch:
    index = torch.tensor(list(rows))
    return {"images": pictures()["images"][index % 8], "seeds": as_signed(seeds), "index": index}


def step(task: SeLa, index: Sequence[int], features: Tensor, progress: float) -> None:
    """An update that embeds both views of these pictures as `features`."""
    task.loss_from(features, features, torch.tensor(index))
    task.after_step(progress)


def noise(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_labels_are_balanced_and_random_at_first() -> None:
    labels = build().labels
    assert all(torch.bincount(of_head).tolist() == [4, 4, 4] for of_head in labels)
    assert not torch.equal(labels[0], labels[1])
    assert build().labels.equal(labels)
    assert not torch.equal(labels[0], torch.arange(ROWS) % 3)


def test_the_loss_is_cross_entropy_of_each_heads_own_labels() -> None:
    task, batch = build(), pictures()
    f1, f2, index = task.embed(batch)
    wanted = []
    for f in (f1, f2):
        for head in range(2):
            logits = f @ task.heads.weight[3 * head : 3 * head + 3].T + task.heads.bias[3 * head : 3 * head + 3]
            wanted.append(F.cross_entropy(logits, task.labels[head, index]))
    assert task(batch)["loss"].item() == pytest.approx(torch.stack(wanted).mean().item(), abs=1e-12)
    moved = batch | {"index": batch["index"].roll(1)}  # the broken twin: labels by place in the batch
    assert abs(task(moved)["loss"] - task(batch)["loss"]) > 1e-6


def test_what_is_remembered_is_the_latest_of_each_picture() -> None:
    task = build()
    task.loss_from(noise(4), noise(4, 1), torch.tensor([7, 2, 9, 2]))
    assert not task.met.any() and not task.bank.any()  # a forward pass alone moves nothing
    task.after_step(0.1)
    mean = (noise(4) + noise(4, 1)) / 2
    assert task.met.nonzero().flatten().tolist() == [2, 7, 9]
    assert torch.equal(task.bank[[7, 9, 2]], mean[[0, 2, 3]])  # of the one that came twice the later
    step(task, [7, 2], noise(2, 2), 0.2)
    assert torch.equal(task.bank[[7, 2]], noise(2, 2)) and torch.equal(task.bank[9], mean[2])
    task.after_step(0.3)  # a skipped step brings nothing
    task.eval().loss_from(noise(2, 3), noise(2, 3), torch.tensor([0, 1]))
    task.after_step(0.31)
    assert int(task.met.sum()) == 3


def test_labels_are_the_optimal_transport_of_what_is_remembered() -> None:
    task, before = build(), build().labels
    step(task, range(9), noise(9), 0.32)
    assert torch.equal(task.labels, before)  # it is not yet time
    step(task, range(9), noise(9), 0.34)
    assert int(task.drawn_up) == 1
    logits = task.heads(noise(9)).unflatten(1, (2, 3))
    for head in range(2):
        log_p = logits[:, head].log_softmax(dim=1)
        shares = torch.tensor(reference.sinkhorn(log_p.tolist(), 1 / 25, 300))
        assert torch.equal(task.labels[head, :9], shares.argmax(dim=1))
        assert not torch.equal(task.labels[head, :9], log_p.argmax(dim=1))  # the broken twin: labels as predicted
        assert torch.bincount(task.labels[head, :9], minlength=3).min() >= 2
    assert torch.equal(task.labels[:, 9:], before[:, 9:])  # of pictures that were not met yet
    kept = task.labels.clone()
    step(task, range(9), noise(9, 1), 0.6)
    assert torch.equal(task.labels, kept)
    task.after_step(0.7)
    assert not torch.equal(task.labels, kept) and int(task.drawn_up) == 2


def test_pictures_of_two_kinds_get_labels_by_their_kind() -> None:
    """Left to itself, a net that sees two kinds of pictures labels them so; labels stay balanced."""
    torch.manual_seed(0)
    task = SeLa(VIT, TINY_VIEWS, SeLaConfig(clusters=2, heads=1, times=3, rows=ROWS)).double()
    kinds = torch.arange(ROWS) % 2
    step(task, range(ROWS), noise(2)[kinds] + 0.1 * noise(ROWS, 1), 0.5)
    found = task.labels[0] == task.labels[0, 0]
    assert torch.equal(found, kinds == 0)


def run(folder: Path, task: SeLa, **options: Any) -> dict[str, Tensor]:
    options = {"batch_size": 4, "steps": 6, "lr": 0.01, "tracker": "none"} | options
    done = fit(task, range(ROWS), collate, TrainConfig(out=folder, **options))
    return {name: value.clone() for name, value in done.state_dict().items()}


def test_micro_batches_remember_and_learn_what_whole_batches_do(tmp_path: Path) -> None:
    whole, parts = (run(tmp_path / str(size), build(), micro_batch=size) for size in (0, 2))
    assert whole["met"].all() and torch.equal(whole["labels"], parts["labels"])
    assert all((parts[name] - value).abs().max() < 1e-10 for name, value in whole.items() if value.is_floating_point())


def test_options_that_cannot_work_are_refused() -> None:
    for options, name in (
        ({"clusters": 1}, "clusters 1"),
        ({"heads": 0}, "heads 0"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"rows": -2}, "rows -2"),
    ):
        with pytest.raises(ValueError, match=f"task.{name}"):
            SeLaConfig(**options)
    with pytest.raises(ValueError, match=r"task.clusters 8 cannot get equal shares of task.rows 7"):
        SeLa(VIT, TINY_VIEWS, SeLaConfig(clusters=8, rows=7))

"""DINO: what its teacher sees and says, what moves when and what rests."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModel

from modalities.task import Batch
from modalities.vision.backbones import pooled
from modalities.vision.class_token import class_attention, whole
from modalities.vision.joint import dino as module
from modalities.vision.joint.dino import DINO, DINOConfig
from modalities.vision.joint.health import verdict
from modalities.vision.joint.teacher import follow
from tests.reference import distillation as reference
from tests.vision.joint.files import MULTI, RESNET, ROWS, TINY_VIEWS, VIT, pictures
from tests.vision.joint.on_two import found_on_two
from trainers import checkpoint
from trainers.config import TrainConfig
from trainers.loop import fit
from trainers.stop import Collapsed

CFG = DINOConfig(answers=12, hidden=16, bottleneck=8, momentum=0.8, teacher_temperature=0.07)
VIEWS = replace(TINY_VIEWS, small_count=2)


def build(kind: type[DINO] = DINO, cfg: DINOConfig = CFG) -> DINO:
    torch.manual_seed(0)
    return kind(VIT, VIEWS, cfg).double().train()


def state(task: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in task.state_dict().items()}


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys() and left
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)


@torch.no_grad()
def test_the_loss_is_that_of_the_loops_on_scores_of_all_views() -> None:
    task, batch = build(), pictures()
    task.centre.copy_(torch.linspace(-0.1, 0.1, 12))
    student, teacher = task.embed(batch)
    assert student.shape == (ROWS, 4, 8) and teacher.shape == (ROWS, 2, 8)
    said = [reference.cosine_scores(student[:, v].tolist(), task.head.directions.tolist()) for v in range(4)]
    taught = [reference.cosine_scores(teacher[:, t].tolist(), task.head.directions.tolist()) for t in range(2)]
    wanted = reference.dino(said, taught, task.centre.tolist(), 0.1, float(task.teacher_temperature))
    assert float(task(batch)["loss"]) == pytest.approx(wanted, abs=1e-12)
    # The teacher begins as the student: on the same view they say the same.
    assert torch.equal(student[:, :2], teacher) and not torch.allclose(student[:, 2], teacher[:, 0])


def test_views_of_one_size_share_a_forward_pass() -> None:
    task, seen = build(), []
    for name in ("encoder", "teacher"):
        part = getattr(task, name)
        part.register_forward_pre_hook(
            lambda _, args, kw, name=name: seen.append((name, tuple((*args, *kw.values())[0].shape[::3]))),
            with_kwargs=True,
        )
    task(pictures())
    assert seen == [("encoder", (2 * ROWS, 16)), ("encoder", (2 * ROWS, 8)), ("teacher", (2 * ROWS, 16))]


def test_the_head_of_a_vit_takes_its_class_token_and_a_resnet_the_mean() -> None:
    task = build()
    pixels = task.large(pictures())
    tokens = task.encoder(pixels).last_hidden_state
    assert torch.equal(whole(task.encoder, pixels), tokens[:, 0])
    assert not torch.allclose(whole(task.encoder, pixels), pooled(task.encoder, pixels))
    resnet = DINO(RESNET, MULTI, CFG)
    pixels = resnet.large(pictures())
    assert torch.allclose(whole(resnet.encoder, pixels), pooled(resnet.encoder, pixels), atol=1e-5)
    assert class_attention(resnet.encoder, pixels) is None


@torch.no_grad()
def test_a_step_moves_centre_teacher_and_temperature_once_and_a_skipped_one_nothing() -> None:
    task, batch = build(), pictures()
    before = state(task)
    task.head.directions.add_(0.1)
    task.encoder.embeddings.cls_token.add_(1.0)
    task(batch)
    task(batch)  # the first one was skipped
    task.eval()(batch)
    moved = {name for name, value in state(task).items() if not torch.equal(value, before[name])}
    assert moved == {"head.directions", "encoder.embeddings.cls_token"}
    task.train()(batch)
    taught = task.teacher_head.scores(task.embed(batch)[1]).mean((0, 1))  # of the teacher as it was in the step
    task.after_step(0.15)
    assert torch.allclose(task.centre, 0.1 * taught, atol=1e-12)
    assert float(task.teacher_temperature) == pytest.approx(0.055)
    momentum = module.cosine_momentum(0.8, 0.15)
    gap = task.encoder.embeddings.cls_token - task.teacher.embeddings.cls_token
    assert torch.allclose(gap, torch.full_like(gap, momentum), atol=1e-12)
    centre = task.centre.clone()
    task.after_step(0.3)  # without a forward pass there is nothing to add
    assert torch.equal(task.centre, centre) and float(task.teacher_temperature) == pytest.approx(0.07)
    without = build(cfg=replace(CFG, temperature_warmup=0.0))
    assert float(without.teacher_temperature) == pytest.approx(0.07)


def test_the_teacher_gets_no_gradient_and_its_batch_norms_see_its_own_batches() -> None:
    torch.manual_seed(0)
    task = DINO(RESNET, MULTI, CFG).train()
    task(pictures())["loss"].backward()
    assert all(p.grad is None for part in (task.teacher, task.teacher_head) for p in part.parameters())
    norms = [[m for m in e.modules() if isinstance(m, nn.BatchNorm2d)] for e in (task.teacher, task.encoder)]
    assert all(norm.training for norm in norms[0])
    counts = [{int(norm.num_batches_tracked) for norm in of} for of in norms]  # type: ignore[arg-type]
    assert counts == [{1}, {2}]


def test_lengths_of_directions_do_not_matter() -> None:
    task = build()
    z = torch.randn(3, 8, dtype=torch.float64)
    scores = task.head.scores(z)
    with torch.no_grad():
        task.head.directions.mul_(torch.rand(12, 1).double() + 0.5)
    assert torch.allclose(task.head.scores(z), scores, atol=1e-12)
    with torch.no_grad():
        task.head.directions.add_(0.5)
    assert not torch.allclose(task.head.scores(z), scores, atol=1e-3)


def test_what_is_published_is_the_teacher_and_can_be_trained_on(tmp_path: Path) -> None:
    task = build().float()
    with torch.no_grad():
        task.teacher.embeddings.cls_token.add_(1.0)
        task.teacher.layernorm.bias.add_(0.5)
    task.save(tmp_path)
    pixels = torch.rand(2, 3, 16, 16)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(pooled(loaded, pixels), pooled(task.teacher.eval(), pixels), atol=1e-6)
    assert not torch.allclose(pooled(loaded, pixels), pooled(task.encoder.eval(), pixels), atol=1e-3)
    published = task.export()
    assert all(weight.requires_grad for weight in published.parameters())
    assert not any(weight.requires_grad for weight in task.teacher.parameters())


class Zeroed(DINO):
    """A broken twin: where the gradient should be absent, it is zero, and the weight still decays."""

    def resting(self, progress: float) -> Sequence[nn.Parameter]:
        for weight in super().resting(progress):
            assert weight.grad is not None
            weight.grad.zero_()
        return ()


class EveryMicroBatch(DINO):
    """A broken twin: the teacher follows whenever views are embedded."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        follow(self.teacher, self.encoder, 0.99)
        return super().embed(batch)


class Rows:
    """Row i is i."""

    def __len__(self) -> int:
        return 4 * ROWS

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"id": row}


def collate(rows: Sequence[dict[str, Any]], seeds: np.ndarray) -> Batch:
    every = torch.cat([pictures()["images"].roll(turn, 1).roll(5 * turn, 3) for turn in range(4)])
    places = [row["id"] for row in rows]
    return {"images": every[places], "seeds": torch.from_numpy(seeds.view(np.int64).copy())}


class Killed(Exception):
    pass


def train(out: Path, kind: type[DINO] = DINO, steps: int = 6, kill_at: int = 0, **options: Any) -> dict[str, Tensor]:
    """State after a run of at most `steps`; kill_at ends it in the collator of that step."""
    calls = 0

    def some(rows: Sequence[dict[str, Any]], seeds: np.ndarray) -> Batch:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed
        return collate(rows, seeds)

    fixed = {"batch_size": ROWS, "lr": 1e-2, "final_weight_decay": 0.4, "save_every": 1, "tracker": "none"}
    cfg = TrainConfig(out, steps=steps, **({"log_every": 100} | fixed | options))
    return state(fit(build(kind, replace(CFG, rest=0.5)), Rows(), some, cfg))


def test_micro_batches_move_centre_and_teacher_once_per_step(tmp_path: Path) -> None:
    at_once, in_parts = (train(tmp_path / str(micro), steps=3, micro_batch=micro) for micro in (0, 2))
    assert apart(at_once, in_parts) < 1e-10  # AdamW divides by roots of small numbers
    broken = [train(tmp_path / f"broken{m}", EveryMicroBatch, steps=3, micro_batch=m) for m in (0, 2)]
    assert apart(*broken) > 1e-4


def test_directions_rest_without_a_gradient_at_first(tmp_path: Path) -> None:
    start = build().head.directions.detach()
    options = {"weight_decay": 0.1, "schedule": "constant", "warmup": 0.0}
    for kind, rests in ((DINO, True), (Zeroed, False)):
        stopped = tmp_path / kind.__name__
        with pytest.raises(Killed):
            train(stopped, kind, kill_at=4, **options)  # three steps of six: the half that they rest
        found = build(kind)
        checkpoint.load(checkpoint.checkpoints(stopped / "checkpoints")[0], found, None)
        assert torch.equal(found.head.directions, start) is rests
    assert not torch.equal(train(tmp_path / "DINO", **options)["head.directions"], start)


class OneAnswer(DINO):
    """A teacher that has one answer for everything."""

    def after_step(self, progress: float) -> None:
        self.centre.copy_(-100.0 * nn.functional.one_hot(torch.tensor(3), 12))


class Undecided(DINO):
    """A teacher that says nothing."""

    def after_step(self, progress: float) -> None:
        self.teacher_temperature.fill_(100.0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(OneAnswer, "the same answer.*task.centre_momentum"), (Undecided, "equally likely.*task.teacher")],
)
def test_a_teacher_that_teaches_nothing_ends_the_run(tmp_path: Path, kind: type[DINO], words: str) -> None:
    with pytest.raises(Collapsed, match=f"Step 3 of 5.*{words}"):
        train(tmp_path, kind, steps=5, log_every=1)
    assert verdict({"teacher_entropy": 0.95, "answer_entropy": 0.99, "embedding_std": 0.6}) == ""


def test_impossible_options_are_refused_in_a_sentence() -> None:
    for name, wrong in (("answers", 1), ("hidden", 0), ("student_temperature", 0.0), ("momentum", 1.1), ("rest", -0.1)):
        with pytest.raises(ValueError, match=rf"task\.{name} {wrong} must .*\.$"):
            DINOConfig(**{name: wrong})


class LocalCentre(DINO):
    """A broken twin: every process centres by its own rows."""

    def after_step(self, progress: float) -> None:
        honest = module.all_reduce
        module.all_reduce = lambda mean: mean * 2  # type: ignore[assignment]
        super().after_step(progress)
        module.all_reduce = honest


def three_steps(kind: type[DINO], rank: int, world: int) -> dict[str, Tensor]:
    """Loss and gradients of the third step, and all state after it."""
    task = build(kind)
    model = DistributedDataParallel(task, broadcast_buffers=False) if world > 1 else task
    batch = {name: value[rank * ROWS // world : (rank + 1) * ROWS // world] for name, value in pictures().items()}
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        loss = model({**batch, "seeds": batch["seeds"] + step})["loss"]
        loss.backward()
        optimizer.step()
        task.after_step((step + 1) / 10)
    total = loss.detach().clone()
    if world > 1:
        dist.all_reduce(total)
    gradients = {f"grad {name}": p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
    return state(task) | gradients | {"loss": total / world}


def on_two() -> list[dict[str, Tensor]]:
    return [three_steps(kind, dist.get_rank(), 2) for kind in (DINO, LocalCentre)]


def test_two_processes_equal_one_in_loss_gradients_and_state() -> None:
    alone = three_steps(DINO, 0, 1)
    for right, local in found_on_two(__name__):
        assert apart(alone, right) < 1e-12
        assert apart(alone, local) > 1e-6


def test_the_copy_that_is_published_is_not_the_teacher_itself() -> None:
    task = build()
    before = copy.deepcopy(task.teacher.state_dict())
    with torch.no_grad():
        for weight in task.export().parameters():
            weight.zero_()
    assert apart(before, dict(task.teacher.state_dict())) == 0


def test_embeddings_that_begin_equal_are_no_collapse_but_one_answer_for_all_is() -> None:
    task = DINO(VIT, TINY_VIEWS, DINOConfig(answers=8))
    well = {"embedding_std": 0.01, "teacher_entropy": 0.5, "answer_entropy": 0.5, "effective_rank": 4.0}
    assert [task.diagnose(well, 0.5) for _ in range(4)] == [""] * 4
    assert [bool(task.diagnose(well | {"answer_entropy": 0.0}, 0.5)) for _ in range(3)] == [False, False, True]

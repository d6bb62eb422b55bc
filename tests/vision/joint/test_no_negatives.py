"""BYOL, SimSiam, Barlow Twins and VICReg: what each compares, what moves on two processes, and collapse."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from modalities.task import Batch
from modalities.vision.backbones import pooled
from modalities.vision.joint import barlow_twins
from modalities.vision.joint.barlow_twins import BarlowTwins, BarlowTwinsConfig
from modalities.vision.joint.byol import BYOL, BYOLConfig
from modalities.vision.joint.health import health, verdict
from modalities.vision.joint.simsiam import SimSiam, SimSiamConfig
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.vicreg import VICReg, VICRegConfig
from objectives.bootstrap import cosine_gap
from objectives.diagnostics import effective_rank
from tests.reference import redundancy as reference
from tests.vision.joint.files import ROWS, TINY_VIEWS, VIT, pictures
from tests.vision.joint.on_two import found_on_two
from tests.vision.joint.training import apart, train
from trainers.stop import Collapsed

METHODS = {
    "byol": lambda: BYOL(VIT, TINY_VIEWS, BYOLConfig(0.8, hidden=12, width=8)),
    "simsiam": lambda: SimSiam(VIT, TINY_VIEWS, SimSiamConfig(12, 4)),
    "barlow twins": lambda: BarlowTwins(VIT, TINY_VIEWS, BarlowTwinsConfig(0.1, hidden=12, width=8)),
    "vicreg": lambda: VICReg(VIT, TINY_VIEWS, VICRegConfig(hidden=12, width=8)),
}


def build(name: str) -> JointTask:
    torch.manual_seed(0)
    task: JointTask = METHODS[name]().double().train()
    return task


def test_byol_predicts_the_teacher_of_the_other_view() -> None:
    task, batch = build("byol"), pictures()
    with torch.no_grad():
        for weight in (*task.teacher_encoder.parameters(), *task.teacher_head.parameters()):
            weight.add_(0.1 * torch.randn_like(weight))  # no copy of the student any more
        views = task.large(batch)
        predictions = task.predictor(task.head(pooled(task.encoder, views))).tolist()
        targets = task.teacher_head(pooled(task.teacher_encoder, views)).tolist()
    first = 2 * reference.cosine_gap(predictions[:ROWS], targets[ROWS:])
    second = 2 * reference.cosine_gap(predictions[ROWS:], targets[:ROWS])
    same_view = 2 * reference.cosine_gap(predictions, targets)  # the broken twin
    loss = task(batch)["loss"].item()
    assert loss == pytest.approx((first + second) / 2, abs=1e-12) and loss != pytest.approx(same_view, abs=1e-3)


def test_simsiam_stops_the_gradient_of_what_is_predicted() -> None:
    task, batch = build("simsiam"), pictures()
    seen: list[Tensor] = []
    task.head.register_forward_hook(lambda module, inputs, z: seen.append(z))
    task.predictor.register_full_backward_hook(lambda module, into, out: seen.append(into[0]))
    task(batch)["loss"].backward(inputs=list(task.parameters()))
    z, through_predictor = seen
    targets = z.detach().requires_grad_()
    loss = cosine_gap(task.predictor(targets), targets.roll(ROWS, 0).detach())
    (wanted,) = torch.autograd.grad(loss, targets)
    assert torch.allclose(through_predictor, wanted, rtol=0, atol=1e-12)
    (both,) = torch.autograd.grad(cosine_gap(task.predictor(targets), targets.roll(ROWS, 0)), targets)
    assert not torch.allclose(both, wanted, rtol=0, atol=1e-4)  # the broken twin


class WithoutStop(SimSiam):
    """The broken twin: the gradient reaches both sides."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        z = self.head(self.features(self.large(batch)))
        return {"loss": cosine_gap(self.predictor(z), z.roll(len(z) // 2, 0)), **health(*z.chunk(2))}


@pytest.mark.parametrize("kind", [SimSiam, WithoutStop])
def test_simsiam_collapses_without_its_stopped_gradient_and_the_run_says_so(tmp_path: Path, kind: type) -> None:
    torch.manual_seed(0)
    task = kind(VIT, TINY_VIEWS, SimSiamConfig(32, 8))
    options = {"steps": 100, "batch_size": 64, "lr": 0.03, "log_every": 10, "save_every": 0, "schedule": "constant"}
    if kind is SimSiam:
        assert float(train(task, tmp_path, **options)["unwell"]) == 0
    else:
        with pytest.raises(Collapsed, match=r"Step \d+ of 100: embeddings .* along one line .*; lower train\.lr"):
            train(task, tmp_path, **options)


def test_the_verdict_tells_a_line_from_few_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    line = torch.randn(8, 1, generator=draw) * torch.randn(1, 6, generator=draw)
    wide = torch.randn(8, 6, generator=draw)
    same, few = torch.ones(8, 6), wide[:2] + 3
    for z, word in ((line, "along one line"), (same, "nearly the same embedding"), (wide, ""), (few, "")):
        found = verdict({name: float(value) for name, value in health(z, z).items()})
        assert word in found and bool(word) == bool(found), (found, word)
    assert "effective_rank" not in health(few, few) and effective_rank(few) < 1.01  # the broken twin: as if it were one


def test_barlow_twins_health_is_of_what_the_loss_compares() -> None:
    task = build("barlow twins")
    z1, z2 = (z.detach() for z in task.embed(pictures()))
    far = task.loss_from(z1 * 0.01 + 50, z2 * 0.01 + 50)
    assert verdict({name: float(value) for name, value in far.items()}) == ""
    assert health(z1 * 0.01 + 50, z2)["embedding_std"] < 0.01  # the broken twin: of embeddings as they are


def test_vicreg_without_its_variance_collapses_and_the_run_says_so(tmp_path: Path) -> None:
    options = {"steps": 60, "batch_size": 32, "lr": 0.03, "log_every": 10, "save_every": 0}
    for weights, collapses in (({}, False), ({"std": 0.0, "cov": 0.0}, True)):
        torch.manual_seed(0)
        task = VICReg(VIT, TINY_VIEWS, VICRegConfig(hidden=32, width=16, **weights))
        if not collapses:
            assert float(train(task, tmp_path / "well", **options)["unwell"]) == 0
            continue
        with pytest.raises(Collapsed, match=r"no dimension varies over pictures .* raise task\.std"):
            train(task, tmp_path / "collapsed", **options)


def test_strangers_are_a_bad_sign_once_a_run_has_begun() -> None:
    noise = health(*(torch.randn(64, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)))
    signs, early = {name: float(value) for name, value in noise.items()}, build("barlow twins")
    assert [early.diagnose(signs, 0.2) for _ in range(3)][2] == ""
    assert "no more alike than strangers" in [early.diagnose(signs, 0.5) for _ in range(3)][2]
    other = build("simsiam")  # whose embeddings keep their mean
    assert [other.diagnose(signs, 0.5) for _ in range(3)][2] == ""


def test_many_rows_cost_no_more_than_some() -> None:
    z = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    found, few = health(z, z), health(z[:256], z[:256])
    assert all(torch.equal(found[name], few[name]) for name in ("effective_rank", "uniformity"))
    assert not torch.equal(found["embedding_std"], few["embedding_std"])


def step(task: JointTask, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss and every gradient, then all state after the update."""
    # Not AdamW, which would turn the rounding of gradients that are zero into steps.
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.01)
    loss = model(batch)["loss"]
    loss.backward()
    found = {f"d {name}": p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
    optimizer.step()
    task.after_step(0.25)
    return found | {name: value.clone() for name, value in task.state_dict().items()} | {"loss": loss.detach()}


def on_two() -> dict[str, dict[str, Tensor]]:
    rank, found = dist.get_rank(), {}
    share = {name: value[rank * ROWS // 2 : (rank + 1) * ROWS // 2] for name, value in pictures().items()}
    for name in METHODS:
        task = build(name)
        trained = DistributedDataParallel(task, broadcast_buffers=False)
        found[name] = step(task, trained, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(barlow_twins, "all_reduce", lambda x: x)  # the broken twin: every process its own statistics
        task = build("barlow twins")
        trained = DistributedDataParallel(task, broadcast_buffers=False)
        found["local"] = step(task, trained, share)
    for numbers in found.values():
        dist.all_reduce(numbers["loss"])
        numbers["loss"] /= 2
    return found


def test_two_processes_take_the_step_of_one_and_their_state_is_the_same() -> None:
    alone = {name: step(task := build(name), task, pictures()) for name in METHODS}
    for found in found_on_two(__name__):
        for name, numbers in alone.items():
            assert apart(numbers, found[name]) < 1e-12, name
        assert apart(alone["barlow twins"], found["local"]) > 1e-4
    assert any(name.startswith("teacher_head") for name in alone["byol"])


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        (BYOLConfig, {"momentum": 1.1}, r"task\.momentum 1\.1 must lie between 0 and 1"),
        (BYOLConfig, {"hidden": 0}, r"task\.hidden 0 must be at least 1"),
        (SimSiamConfig, {"bottleneck": 0}, r"task\.bottleneck 0 must be at least 1"),
        (BarlowTwinsConfig, {"weight": -1.0}, r"task\.weight -1\.0 must not be negative"),
        (VICRegConfig, {"cov": -1.0}, r"task\.cov -1\.0 must not be negative"),
        (BarlowTwinsConfig, {"weight": float("nan")}, r"task\.weight nan must not be negative"),
        (VICRegConfig, {"std": float("nan")}, r"task\.std nan must not be negative"),
        (VICRegConfig, {"width": 0}, r"task\.width 0 must be at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(config: type, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        config(**options)

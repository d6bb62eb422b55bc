"""Steps that must move nothing: one whose numbers are not finite, and those in which nothing is known yet."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.dino import DINO, DINOConfig
from modalities.vision.joint.health import health
from modalities.vision.joint.moco import MoCo, MoCoConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.swav import SwAV, SwAVConfig
from modalities.vision.joint.task import JointTask
from tests.vision.joint.files import TINY_VIEWS, VIT
from tests.vision.joint.training import PICTURES, train

STEPS = 3
SWAV = SwAVConfig(prototypes=6, width=8, queue=16, queue_from=0)
CLUSTERED = DeepClusterConfig(clusters=3, clusterings=1, width=8, rows=PICTURES)
METHODS: dict[str, Callable[[], JointTask]] = {
    "moco": lambda: MoCo(VIT, TINY_VIEWS, MoCoConfig(queue=16, width=8)),
    "dino": lambda: DINO(VIT, TINY_VIEWS, DINOConfig(answers=8, hidden=8, bottleneck=8)),
    "swav": lambda: SwAV(VIT, TINY_VIEWS, SWAV),
    "odc": lambda: ODC(VIT, TINY_VIEWS, ODCConfig(clusters=3, width=8, rows=PICTURES)),
    "deep-cluster": lambda: DeepCluster(VIT, TINY_VIEWS, CLUSTERED),
}


def build(name: str) -> JointTask:
    torch.manual_seed(0)
    return METHODS[name]()


def state(task: JointTask) -> dict[str, Tensor]:
    """All but what every forward pass moves: running statistics, and the count of bad signs."""
    moving = ("running_mean", "running_var", "num_batches_tracked", "unwell")
    return {name: x.clone() for name, x in task.state_dict().items() if not name.endswith(moving)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_health_of_what_is_not_finite_raises_nothing(bad: float) -> None:
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    assert all(bool(value.isfinite()) for value in health(z, z).values())
    z[3, 4] = bad
    assert health(z, z)["effective_rank"].isnan()


@pytest.mark.parametrize("name", ["moco", "dino", "swav", "odc"])
def test_a_poisoned_step_moves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(poison: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        task, calls, before = build(name), 0, {}
        embed = task.embed

        def poisoned(batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
            nonlocal calls, before
            calls += 1
            found = embed(batch)
            if calls < STEPS:
                return found
            before = state(task)
            return tuple(x * poison if x.is_floating_point() else x for x in found)

        monkeypatch.setattr(task, "embed", poisoned, raising=False)
        train(task, tmp_path / str(poison), steps=STEPS, log_every=STEPS)
        return before, state(task)

    before, after = run(float("nan"))
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    before, after = run(1.0)  # a healthy step does move
    assert not all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize(("name", "waits"), [("moco", 1), ("odc", 8), ("deep-cluster", 8)])
def test_weights_rest_while_nothing_is_known(name: str, waits: int, tmp_path: Path) -> None:
    """Under zeros they would decay."""
    options = {"weight_decay": 0.5, "warmup": 0.0, "save_every": 0}
    start = dict(build(name).named_parameters())

    def moved(steps: int) -> bool:
        task = build(name)
        train(task, tmp_path / str(steps), steps=steps, **options)
        return any(not torch.equal(w, start[key]) for key, w in task.named_parameters() if w.requires_grad)

    assert not moved(waits) and moved(waits + 1)


def test_where_all_rests_every_decayed_weight_does() -> None:
    task = build("odc")
    resting = {id(weight) for weight in task.resting(0.0)}
    (awake,) = [weight for weight in task.parameters() if weight.requires_grad and id(weight) not in resting]
    assert awake.ndim == 1

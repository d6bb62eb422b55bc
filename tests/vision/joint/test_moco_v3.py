"""MoCo v3's loss against loops, its heads, what stays frozen, and its follower. On two processes: see test_moco."""

from math import log

import pytest
import torch
from torch import Tensor, nn

from modalities.vision.joint.moco_v3 import MoCoV3, MoCoV3Config
from tests.reference import contrastive as reference
from tests.vision.joint.files import LARGE, RESNET, ROWS, TINY_VIEWS, VIT, pictures


def task(**options: object) -> MoCoV3:
    torch.manual_seed(0)
    return MoCoV3(VIT, TINY_VIEWS, MoCoV3Config(hidden=8, width=8, **options)).double().train()  # type: ignore[arg-type]


def embeddings() -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(5, 8, generator=draw, dtype=torch.float64) for _ in range(4)]


def test_the_loss_is_that_of_both_directions_times_twice_the_temperature() -> None:
    made, (q1, q2, k1, k2) = task(temperature=0.5), embeddings()
    own = list(range(5))
    truth = sum(reference.info_nce(q.tolist(), k.tolist(), 0.5, own) for q, k in ((q1, k2), (q2, k1)))
    assert float(made.loss_from(q1, q2, k1, k2)["loss"]) == pytest.approx(2 * 0.5 * truth, abs=1e-12)
    crossed = float(made.loss_from(q1, q2, k2, k1)["loss"])  # the broken twin: keys of the query's own view
    assert abs(crossed - truth) > 1e-2
    same = torch.ones(5, 8, dtype=torch.float64)
    assert float(made.loss_from(same, same, same, same)["loss"]) == pytest.approx(4 * 0.5 * log(5), abs=1e-12)


def test_heads_are_those_of_the_released_code() -> None:
    def shape(head: nn.Module) -> str:
        return "".join({"Linear": "l", "GlobalBatchNorm1d": "n", "ReLU": "r"}.get(type(m).__name__, "") for m in head)  # type: ignore[attr-defined]

    vit, resnet = task(), MoCoV3(RESNET, LARGE, MoCoV3Config(hidden=8, width=8))
    assert (shape(vit.head), shape(vit.predict)) == ("lnrlnrln", "lnrln")
    assert (shape(resnet.head), shape(resnet.predict)) == ("lnrln", "lnrl")
    assert vit.negatives(128) == 127


def test_patches_stay_as_they_were_drawn_unless_told_otherwise() -> None:
    batch, name = pictures(), "encoder.embeddings.patch_embeddings.projection.weight"
    for frozen in (True, False):
        made = task(freeze_patches=frozen)
        made(batch)["loss"].backward()
        assert (dict(made.named_parameters())[name].grad is None) == frozen
        trained = [p for p in made.parameters() if p.requires_grad]
        assert all(p.grad is not None for p in trained)
    frozen_ones, all_of_them = (
        sum(p.requires_grad for p in task(freeze_patches=f).parameters()) for f in (True, False)
    )
    assert all_of_them - frozen_ones == 2


def test_keys_get_no_gradient_and_their_network_stops_at_the_end() -> None:
    made, batch = task(), pictures()
    q1, q2, k1, k2 = made.embed(batch)
    assert len(q1) == len(k2) == ROWS and q1.requires_grad and q2.requires_grad
    assert not k1.requires_grad and not k2.requires_grad
    with torch.no_grad():
        made.encoder.layernorm.weight += 1
    before = made.key_encoder.layernorm.weight.clone()
    made(batch)
    assert torch.equal(made.key_encoder.layernorm.weight, before)
    made.after_step(1.0)
    assert torch.equal(made.key_encoder.layernorm.weight, before)
    made.after_step(0.5)  # halfway between 0.99 and 1
    wanted = 0.995 * before + 0.005 * made.encoder.layernorm.weight
    assert torch.allclose(made.key_encoder.layernorm.weight, wanted, rtol=0, atol=1e-12)
    assert not torch.allclose(made.key_encoder.layernorm.weight, before, atol=1e-4)


def test_options_that_cannot_work_are_refused() -> None:
    for options, sentence in (
        ({"temperature": -1.0}, "task.temperature -1.0 must be above 0"),
        ({"momentum": 1.5}, "task.momentum 1.5 must be at least 0 and below 1"),
        ({"hidden": 0}, "task.hidden 0 must be at least 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            MoCoV3Config(**options)  # type: ignore[arg-type]

"""COLA: its loss by hand, what it compares, and that its views come from seeds."""

import torch
import torch.nn.functional as F

from modalities.audio.augment import AugmentConfig
from modalities.audio.cola import COLA, COLAConfig
from tests.audio.examples_cola import AUGMENTS, RATE, RESNET, SECONDS, stretches


def task(augments: AugmentConfig = AUGMENTS) -> COLA:
    torch.manual_seed(0)
    return COLA(RESNET, augments, COLAConfig(width=32), SECONDS, RATE).double()


def test_the_loss_is_that_of_a_bilinear_product() -> None:
    it = task()
    first, second = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = it.loss_from(first, second)
    losses, hits = [], 0
    for i in range(8):
        scores = [first[i] @ it.product.weight.T @ second[j] for j in range(8)]
        losses.append(-F.log_softmax(torch.stack(scores), 0)[i])
        hits += int(torch.stack(scores).argmax()) == i
    assert abs(found["loss"] - torch.stack(losses).mean()) < 1e-12
    assert float(found["accuracy"]) == hits / 8
    transposed = F.cross_entropy(second @ it.product.weight.T @ first.T, torch.arange(8))  # the broken twin
    assert abs(found["loss"] - transposed) > 1e-3


def test_projections_are_normalised_and_squashed() -> None:
    first, second = task().embed(stretches())
    assert first.shape == second.shape == (8, 32)
    assert first.abs().max() < 1
    assert first.detach().atanh().mean(1).abs().max() < 1e-6


def test_what_lies_in_the_padding_is_not_heard() -> None:
    it, batch = task(AugmentConfig()).eval(), stretches()
    padding = torch.arange(batch["audio"].shape[2]) >= batch["lengths"][:, :, None]
    rubbish = batch | {"audio": batch["audio"] + padding}
    with torch.no_grad():
        first, again = it.embed(batch)[0], it.embed(rubbish)[0]
        whole = rubbish | {"lengths": torch.full_like(batch["lengths"], batch["audio"].shape[2])}  # the broken twin
        heard = it.embed(whole)[0]
    assert torch.equal(first, again) and (first - heard).abs().max() > 0.1


def test_views_come_from_the_seeds_and_differ() -> None:
    it, batch = task().eval(), stretches()
    same = batch | {"audio": batch["audio"][:, :1].repeat(1, 2, 1), "lengths": batch["lengths"][:, :1].repeat(1, 2)}
    with torch.no_grad():
        first, second = it.embed(same)
        again, _ = it.embed(same)
        other, _ = it.embed(same | {"seeds": batch["seeds"] + 1})
        plain = task(AugmentConfig()).eval().embed(same)
    assert torch.equal(first, again)
    assert (first - second).abs().amax(1).min() > 1e-3 and (first - other).abs().amax(1).min() > 1e-3
    assert torch.equal(*plain)  # whole recordings, not augmented: nothing is left to tell

"""Cosine objectives against loops, known values, invariances, and broken twins that the same checks must catch."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from objectives import contrastive
from tests.reference import contrastive as reference

N, D = 6, 4
IDS = torch.tensor([0, 1, 0, 2, 3, 3])
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])  # the third has no positive


def rows(seed: int, n: int = N, d: int = D) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def close(a: float | Tensor, b: float | Tensor) -> bool:
    one, other = (float(x.detach()) if isinstance(x, Tensor) else x for x in (a, b))
    return abs(one - other) < 1e-12 * max(1.0, abs(other))


X, Y, K = rows(0), rows(1), rows(2, n=9)
POSITIVE = torch.tensor([3, 0, 8, 8, 2, 5])
IGNORE = torch.rand(N, 9, generator=torch.Generator().manual_seed(3)) < 0.4
LOG_SCALE, BIAS, T = number(math.log(5.0)), number(-1.5), number(0.3)

Case = tuple[Callable[..., Tensor], tuple[Tensor, ...], Callable[[], float]]
CASES: dict[str, Case] = {
    "info_nce": (
        lambda x, k, t: contrastive.info_nce(x, k, t, POSITIVE, IGNORE),
        (X, K, T),
        lambda: reference.info_nce(X.tolist(), K.tolist(), 0.3, POSITIVE.tolist(), IGNORE.tolist()),
    ),
    "nt_xent": (contrastive.nt_xent, (X, Y, T), lambda: reference.nt_xent(X.tolist(), Y.tolist(), 0.3)),
    "clip": (
        lambda x, y, s: contrastive.clip(x, y, s, IDS),
        (X, Y, LOG_SCALE),
        lambda: reference.clip(X.tolist(), Y.tolist(), math.log(5.0), IDS.tolist()),
    ),
    "siglip": (
        lambda x, y, s, b: contrastive.siglip(x, y, s, b, IDS),
        (X, Y, LOG_SCALE, BIAS),
        lambda: reference.siglip(X.tolist(), Y.tolist(), math.log(5.0), -1.5, IDS.tolist()),
    ),
    "sup_con": (
        lambda x, t: contrastive.sup_con(x, LABELS, t),
        (X, T),
        lambda: reference.sup_con(X.tolist(), LABELS.tolist(), 0.3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop(name: str) -> None:
    function, inputs, slow = CASES[name]
    assert close(function(*inputs), slow())


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    function, inputs, _ = CASES[name]
    assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_scaling_and_rotating_embeddings_changes_nothing(name: str) -> None:
    function, inputs, _ = CASES[name]
    rotation, _ = torch.linalg.qr(rows(7, n=D).detach())
    factors = torch.rand(20, 1, generator=torch.Generator().manual_seed(8), dtype=torch.float64) + 0.1
    moved = [x if x.dim() == 0 else factors[: len(x)] * x @ rotation for x in inputs]
    assert close(function(*inputs), function(*moved))
    stretched = [x if x.dim() == 0 else x * torch.tensor([3.0, 1, 1, 1], dtype=x.dtype) for x in inputs]
    assert not close(function(*inputs), function(*stretched))


def test_order_of_rows_changes_nothing() -> None:
    p = torch.tensor([4, 2, 0, 5, 1, 3])
    assert close(contrastive.clip(X, Y, LOG_SCALE, IDS), contrastive.clip(X[p], Y[p], LOG_SCALE, IDS[p]))
    assert close(contrastive.nt_xent(X, Y, 0.3), contrastive.nt_xent(X[p], Y[p], 0.3))
    assert close(contrastive.nt_xent(X, Y, 0.3), contrastive.nt_xent(Y, X, 0.3))
    one, other = contrastive.siglip(X, Y, LOG_SCALE, BIAS, IDS), contrastive.siglip(X[p], Y[p], LOG_SCALE, BIAS, IDS[p])
    assert close(one, other)
    assert close(contrastive.sup_con(X, LABELS, 0.3), contrastive.sup_con(X[p], LABELS[p], 0.3))
    assert not close(contrastive.clip(X, Y, LOG_SCALE, IDS), contrastive.clip(X[p], Y, LOG_SCALE, IDS[p]))


def test_known_values() -> None:
    equal = torch.ones(N, D, dtype=torch.float64)
    assert close(contrastive.nt_xent(equal, equal, 0.5), math.log(2 * N - 1))
    assert close(contrastive.clip(equal, equal, LOG_SCALE), math.log(N))
    assert close(contrastive.info_nce(equal, equal, 0.1), math.log(N))
    assert close(contrastive.sup_con(equal, torch.zeros(N), 0.1), math.log(N - 1))
    # cosine 1 everywhere: N pairs right with certainty s(5 - 1.5), N (N - 1) others wrong with the same.
    siglip = math.log1p(math.exp(-3.5)) + (N - 1) * math.log1p(math.exp(3.5))
    assert close(contrastive.siglip(equal, equal, LOG_SCALE, BIAS), siglip)
    # orthogonal pairs, equal within: -log(e^s / (e^s + n - 1))
    basis = torch.eye(4, dtype=torch.float64)
    assert close(contrastive.clip(basis, basis, LOG_SCALE), math.log1p(3 * math.exp(-5.0)))
    # one id for all: nothing but the positive is left in any denominator
    assert close(contrastive.clip(X, Y, LOG_SCALE, torch.zeros(N)), 0.0)


def test_siglip_by_paper_pseudocode() -> None:
    labels = 2 * torch.eye(N, dtype=torch.float64) - 1
    logits = LOG_SCALE.exp() * F.normalize(X, dim=1) @ F.normalize(Y, dim=1).T + BIAS
    assert close(contrastive.siglip(X, Y, LOG_SCALE, BIAS), -F.logsigmoid(labels * logits).sum() / N)


def test_the_positive_is_never_ignored() -> None:
    everything = torch.ones(N, 9, dtype=torch.bool)
    assert close(contrastive.info_nce(X, K, 0.3, POSITIVE, everything), 0.0)


def test_plain_dot_products() -> None:
    assert close(contrastive.info_nce(X, Y, 1.0, normalize=False), F.cross_entropy(X @ Y.T, torch.arange(N)))
    assert not close(contrastive.info_nce(X, Y, 1.0, normalize=False), contrastive.info_nce(X, Y, 1.0))


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_local_queries_are_a_slice_of_the_whole(offset: int) -> None:
    """The mean of the local losses over disjoint slices is the loss of all rows."""
    x, y, part = X, Y, slice(offset, offset + 2)
    local = contrastive.clip(
        x[part], y[part], LOG_SCALE, IDS[part], all_image=x, all_text=y, all_ids=IDS, offset=offset
    )
    same = IDS[part, None] == IDS
    own = torch.arange(offset, offset + 2)
    one = contrastive.info_nce(x[part], y, 1 / LOG_SCALE.exp(), own, same)
    other = contrastive.info_nce(y[part], x, 1 / LOG_SCALE.exp(), own, same)
    assert close(local, (one + other) / 2)


def test_local_anchors_of_sup_con_are_slices_of_the_whole() -> None:
    z, labels = torch.cat([X, Y]), LABELS.repeat(2)  # each has a positive
    everyone = {"all_z": z, "all_labels": labels}
    parts = [contrastive.sup_con(z[i : i + 3], labels[i : i + 3], T, **everyone, offset=i) for i in (0, 3, 6, 9)]
    assert close(sum(parts) / 4, contrastive.sup_con(z, labels, T))
    wrong = [contrastive.sup_con(z[i : i + 3], labels[i : i + 3], T, **everyone, offset=0) for i in (0, 3, 6, 9)]
    assert not close(sum(wrong) / 4, contrastive.sup_con(z, labels, T))


def twin_nt_xent_counting_itself(z1: Tensor, z2: Tensor, t: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / t, (torch.arange(2 * N) + N) % (2 * N))


def twin_nt_xent_one_sided(z1: Tensor, z2: Tensor, t: float) -> Tensor:
    return contrastive.info_nce(z1, z2, t)


def twin_nt_xent_without_temperature(z1: Tensor, z2: Tensor, t: float) -> Tensor:
    return contrastive.nt_xent(z1, z2, 1.0)


@pytest.mark.parametrize(
    "twin", [twin_nt_xent_counting_itself, twin_nt_xent_one_sided, twin_nt_xent_without_temperature]
)
def test_broken_nt_xent_is_caught(twin: Callable[..., Tensor]) -> None:
    assert not close(twin(X, Y, 0.3), reference.nt_xent(X.tolist(), Y.tolist(), 0.3))


def test_broken_clip_is_caught() -> None:
    truth = reference.clip(X.tolist(), Y.tolist(), math.log(5.0), IDS.tolist())
    assert not close(contrastive.clip(X, Y, LOG_SCALE), truth)  # captions of one image as negatives
    assert not close(contrastive.clip(X, Y, LOG_SCALE.exp(), IDS), truth)  # scale instead of its logarithm
    one_way = contrastive.info_nce(X, Y, 1 / LOG_SCALE.exp(), None, IDS[:, None] == IDS)
    assert not close(one_way, truth)


def test_broken_siglip_and_sup_con_are_caught() -> None:
    truth = reference.siglip(X.tolist(), Y.tolist(), math.log(5.0), -1.5, IDS.tolist())
    assert not close(contrastive.siglip(X, Y, LOG_SCALE, BIAS, IDS) / N, truth)  # mean over pairs
    assert not close(contrastive.siglip(X, Y, LOG_SCALE, -BIAS, IDS), truth)
    lone_anchor_counted = contrastive.sup_con(X, LABELS, 0.3) * (N - 1) / N
    assert not close(lone_anchor_counted, reference.sup_con(X.tolist(), LABELS.tolist(), 0.3))


def test_sup_con_without_positives_is_zero_with_zero_gradient() -> None:
    z = rows(5)
    loss = contrastive.sup_con(z, torch.arange(N), 0.1)
    loss.backward()
    assert loss.item() == 0.0 and z.grad is not None and z.grad.abs().max() == 0.0


def test_full_precision_under_autocast() -> None:
    x, y, scale = X.detach().float(), Y.detach().float(), torch.tensor(math.log(100.0))
    outside = contrastive.clip(x, y, scale)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = contrastive.clip(x, y, scale)
        bf16 = F.cross_entropy(100 * F.normalize(x, dim=1) @ F.normalize(y, dim=1).T, torch.arange(N))
    assert inside.dtype == torch.float32 and inside == outside
    assert bf16.dtype == torch.float32 and abs(bf16 - contrastive.info_nce(x, y, 0.01)) > 1e-3  # what is avoided
    assert contrastive.clip(x.bfloat16(), y.bfloat16(), scale).dtype == torch.float32
    assert contrastive.clip(X, Y, scale).dtype == torch.float64


def test_user_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="6 queries and 9 keys; pass positive"):
        contrastive.info_nce(X, K, 0.1)
    with pytest.raises(ValueError, match=r"need offset=rank\(\) \* 6"):
        contrastive.clip(X, Y, LOG_SCALE, all_image=K, all_text=K)
    with pytest.raises(ValueError, match="at offset 4 do not fit into 9"):
        contrastive.siglip(X, Y, LOG_SCALE, BIAS, all_text=K, offset=4)
    with pytest.raises(ValueError, match="9 keys came with 6 ids"):
        contrastive.clip(X, Y, LOG_SCALE, IDS, all_image=K, all_text=K, offset=0)

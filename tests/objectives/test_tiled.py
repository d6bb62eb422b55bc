"""Tiled objectives: the plain form's loss and gradients, from memory that grows with n d only."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from objectives import contrastive, product_cross_entropy, tiled

LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5}


def rows(seed: int, n: int, d: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_gradients(loss: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The loss and its gradient with respect to every input."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its tensor or to 1 / rows if that is larger."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype and bool(a.isfinite().all())
        size = max(b.abs().max().item(), 1.0 if b.dim() == 0 else 1.0 / len(b))
        worst = max(worst, (a.double() - b.double()).abs().max().item() / size)
    return worst


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("tile", [1, 7, 16, 64])
@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_clip(dtype: torch.dtype, tile: int, with_ids: bool, scale: float) -> None:
    n, d = 33, 9
    image, text, log_scale = rows(0, n, d, dtype), rows(1, n, d, dtype), torch.tensor(math.log(scale), dtype=dtype)
    ids = torch.arange(n) // 3 if with_ids else None
    ours = with_gradients(lambda i, t, s: tiled.clip(i, t, s, ids, tile=tile), image, text, log_scale)
    plain = with_gradients(lambda i, t, s: contrastive.clip(i, t, s, ids), image, text, log_scale)
    assert worst(ours, plain) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0, 5, 22])
def test_clip_with_local_queries(dtype: torch.dtype, offset: int) -> None:
    n, m, d, ids = 11, 33, 9, torch.arange(33) // 3
    inputs = [rows(i, k, d, dtype) for i, k in enumerate((n, n, m, m))]
    inputs.append(torch.tensor(2.0, dtype=dtype))

    def loss(clip: Callable[..., Tensor], **options: int) -> list[Tensor]:
        def call(image: Tensor, text: Tensor, all_image: Tensor, all_text: Tensor, scale: Tensor) -> Tensor:
            keys = {"all_image": all_image, "all_text": all_text, "all_ids": ids, "offset": offset}
            value: Tensor = clip(image, text, scale, ids[offset : offset + n], **keys, **options)
            return value

        return with_gradients(call, *inputs)

    assert worst(loss(tiled.clip, tile=8), loss(contrastive.clip)) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n, m, tile", [(1, 1, 4), (5, 17, 4), (17, 5, 4), (16, 16, 8), (3, 2, 64)])
@pytest.mark.parametrize("normalize", [True, False])
def test_info_nce(dtype: torch.dtype, n: int, m: int, tile: int, normalize: bool) -> None:
    queries, keys, t = rows(0, n, 6, dtype), rows(1, m, 6, dtype), torch.tensor(0.2, dtype=dtype)
    positive = torch.arange(n) * 7 % m
    query_ids, key_ids = torch.arange(n) % 4, torch.arange(m) % 4
    ignore = query_ids[:, None] == key_ids
    ours = with_gradients(
        lambda q, k, t: tiled.info_nce(
            q, k, t, positive, query_ids=query_ids, key_ids=key_ids, normalize=normalize, tile=tile
        ),
        queries,
        keys,
        t,
    )
    plain = with_gradients(
        lambda q, k, t: contrastive.info_nce(q, k, t, positive, ignore, normalize=normalize), queries, keys, t
    )
    assert worst(ours, plain) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("tile", [3, 16, 512])
def test_nt_xent(dtype: torch.dtype, tile: int) -> None:
    z1, z2, t = rows(0, 19, 6, dtype), rows(1, 19, 6, dtype), torch.tensor(0.1, dtype=dtype)
    ours = with_gradients(lambda a, b, t: tiled.nt_xent(a, b, t, tile=tile), z1, z2, t)
    assert worst(ours, with_gradients(contrastive.nt_xent, z1, z2, t)) < LIMITS[dtype]
    part = slice(6, 12)
    ours = with_gradients(
        lambda a, b, t: tiled.nt_xent(a[part], b[part], t, all_z1=a, all_z2=b, offset=6, tile=tile), z1, z2, t
    )
    plain = with_gradients(
        lambda a, b, t: contrastive.nt_xent(a[part], b[part], t, all_z1=a, all_z2=b, offset=6), z1, z2, t
    )
    assert worst(ours, plain) < LIMITS[dtype]


def test_half_precision_inputs() -> None:
    image, text, scale = rows(0, 33, 9, torch.bfloat16), rows(1, 33, 9, torch.bfloat16), torch.tensor(2.0)
    ours = with_gradients(lambda *x: tiled.clip(*x, tile=8), image, text, scale)
    plain = with_gradients(contrastive.clip, image, text, scale)
    assert ours[0].dtype == torch.float32 and ours[1].dtype == torch.bfloat16
    # Equal before the last rounding, so one unit in the last place of bf16 at most.
    assert worst(ours[1:3], plain[1:3]) <= torch.finfo(torch.bfloat16).eps
    assert worst([ours[0], ours[3]], [plain[0], plain[3]]) < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = with_gradients(lambda *x: tiled.clip(*x, tile=8), image, text, scale)
    assert worst(inside, ours) == 0.0


OPPOSITE = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(8, 1)


@pytest.mark.parametrize(
    "name, image, text",
    [
        ("every positive opposite, half of the negatives equal", OPPOSITE, -OPPOSITE),
        ("every cosine -1", OPPOSITE[::2].repeat(2, 1), -OPPOSITE[::2].repeat(2, 1)),
        ("every cosine 1", OPPOSITE[::2].repeat(2, 1), OPPOSITE[::2].repeat(2, 1)),
        ("one outcast row and column", torch.cat([OPPOSITE[:15].abs(), -OPPOSITE[:1]]), OPPOSITE.abs()),
    ],
)
@pytest.mark.parametrize("scale", [100.0, 1000.0])
def test_adversarial_cosines_at_large_scales(name: str, image: Tensor, text: Tensor, scale: float) -> None:
    """exp(-200) is below fp32, so the constant shift alone would lose whole rows."""
    log_scale = torch.tensor(math.log(scale))
    ours = with_gradients(lambda *x: tiled.clip(*x, tile=5), image, text, log_scale)
    truth = with_gradients(contrastive.clip, image.double(), text.double(), log_scale.double())
    ids = torch.arange(16) // 2
    # fp32 holds a logit of 1000 to 3e-5, so the error is counted in logits.
    assert worst(ours, [x.float() for x in truth]) / scale < 1e-6
    ours = with_gradients(lambda *x: tiled.clip(*x, ids, tile=5), image, text, log_scale)
    truth = with_gradients(lambda *x: contrastive.clip(*x, ids), image.double(), text.double(), log_scale.double())
    assert worst(ours, [x.float() for x in truth]) / scale < 1e-6


def test_the_shift_alone_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken twin: without the second look the adversarial rows come out infinite."""
    image, text = OPPOSITE[::2].repeat(2, 1), -OPPOSITE[::2].repeat(2, 1)
    assert tiled.clip(image, text, torch.tensor(math.log(100.0))).isfinite()
    monkeypatch.setattr(product_cross_entropy, "_reliable", lambda sums, terms: True)
    assert not tiled.clip(image, text, torch.tensor(math.log(100.0))).isfinite()


def test_dot_products_of_any_size() -> None:
    queries, keys = 40 * rows(0, 12, 8, torch.float32), 40 * rows(1, 12, 8, torch.float32)
    ours = with_gradients(lambda q, k: tiled.info_nce(q, k, 1.0, normalize=False, tile=5), queries, keys)
    plain = with_gradients(lambda q, k: contrastive.info_nce(q, k, 1.0, normalize=False), queries, keys)
    assert ours[0] > 100 and worst(ours, plain) < 1e-5


def test_broken_twins_are_caught() -> None:
    image, text, scale, ids = rows(0, 33, 9, torch.float32), rows(1, 33, 9, torch.float32), torch.tensor(2.0), None
    plain = with_gradients(contrastive.clip, image, text, scale)

    def last_rows_forgotten(i: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return tiled.clip(i[:32], t[:32], s, ids, tile=8)

    def one_direction(i: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return tiled.info_nce(i, t, 1 / s.exp(), tile=8)

    def no_scale_gradient(i: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return tiled.clip(i, t, s.detach(), tile=8) + 0.0 * s

    for twin in (last_rows_forgotten, one_direction, no_scale_gradient):
        assert worst(with_gradients(twin, image, text, scale), plain) > 1e-5
    with_ids = with_gradients(lambda *x: tiled.clip(*x, torch.arange(33) // 3, tile=8), image, text, scale)
    assert worst(with_ids, plain) > 1e-5


def test_keys_without_gradient() -> None:
    queries, queue = rows(0, 8, 4, torch.float64).requires_grad_(), rows(1, 20, 4, torch.float64)
    positive = torch.arange(8)
    tiled.info_nce(queries, queue, 0.2, positive, tile=8).backward()
    assert queries.grad is not None
    (plain,) = torch.autograd.grad(contrastive.info_nce(queries, queue, 0.2, positive), queries)
    assert worst([queries.grad], [plain]) < 1e-12


def test_a_second_derivative_is_refused() -> None:
    queries, keys = rows(0, 8, 4, torch.float64).requires_grad_(), rows(1, 8, 4, torch.float64)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(tiled.info_nce(queries, keys, 0.2), queries, create_graph=True)


def test_user_errors_say_what_to_do() -> None:
    x, y = rows(0, 6, 4, torch.float32), rows(1, 9, 4, torch.float32)
    with pytest.raises(ValueError, match="6 queries and 9 keys; pass positive"):
        tiled.info_nce(x, y, 0.1)
    with pytest.raises(ValueError, match="ids for one side only"):
        tiled.info_nce(x, x, 0.1, query_ids=torch.arange(6))
    with pytest.raises(ValueError, match=r"need offset=rank\(\) \* 6"):
        tiled.clip(x, x, torch.tensor(1.0), all_image=y, all_text=y)


class Meter(TorchDispatchMode):
    """Counts the bytes of live tensor storages born inside, and remembers their greatest sum and the largest one."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[int, Any]] = {}
        self.peak = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in known:
                storage = x.untyped_storage()
                self.live[storage.data_ptr()] = storage.nbytes(), StorageWeakRef(storage)
                self.largest = max(self.largest, storage.nbytes())
        self.live = {k: (size, ref) for k, (size, ref) in self.live.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for size, _ in self.live.values()))
        return out


def metered(loss: Callable[..., Tensor], n: int, d: int) -> Meter:
    image, text = rows(0, n, d, torch.float32).requires_grad_(), rows(1, n, d, torch.float32).requires_grad_()
    scale = torch.tensor(2.0, requires_grad=True)
    with Meter() as meter:
        loss(image, text, scale).backward()
    return meter


@pytest.mark.parametrize(
    "loss",
    [
        lambda i, t, s: tiled.clip(i, t, s, tile=64),
        lambda i, t, s: tiled.clip(i, t, s, torch.arange(len(i)) // 2, tile=64),
        lambda i, t, s: tiled.clip(i, t, s, all_image=i, all_text=t, offset=0, tile=64),
        lambda i, t, s: tiled.nt_xent(i, t, (-s).exp(), tile=64),
    ],
)
def test_memory_grows_with_the_rows_and_not_with_their_square(loss: Callable[..., Tensor]) -> None:
    n, d = 512, 8
    small, large = metered(loss, n // 4, d), metered(loss, n, d)
    assert large.largest <= 2 * n * d * 4  # two views of the embeddings are the largest thing there is
    assert large.peak < 4.2 * small.peak
    assert large.peak < n * n * 4 / 4  # a quarter of what one matrix of logits takes


def test_the_meter_sees_the_plain_form() -> None:
    small, large = metered(contrastive.clip, 128, 8), metered(contrastive.clip, 512, 8)
    assert large.largest >= 512 * 512 * 4 and large.peak > 12 * small.peak


def test_open_clip_form_is_the_same_loss() -> None:
    image, text, scale = rows(0, 33, 9, torch.float32), rows(1, 33, 9, torch.float32), torch.tensor(2.0)

    def theirs(image: Tensor, text: Tensor, log_scale: Tensor) -> Tensor:
        logits = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    ours = with_gradients(lambda *x: tiled.clip(*x, tile=8), image, text, scale)
    assert worst(ours, with_gradients(theirs, image, text, scale)) < 1e-5

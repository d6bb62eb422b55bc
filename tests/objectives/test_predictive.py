"""Token losses against loops: values, gradients, counts, padding, and what must not be computed."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from objectives import predictive
from tests.objectives.test_contrastive import close, rows
from tests.reference import predictive as reference

N, T, D, C = 3, 5, 4, 7
LOGITS, HIDDEN = rows(0, N * T, C), rows(1, N * T, D)
WEIGHT, BIAS = rows(2, C, D), rows(3, 1, C).detach()[0].requires_grad_()
TOKENS = torch.randint(0, C, (N, T), generator=torch.Generator().manual_seed(4))
LABELS = TOKENS.masked_fill(torch.rand(N, T, generator=torch.Generator().manual_seed(5)) < 0.6, -100)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])  # whole, padded right, padded left


def test_masked_equals_the_loop() -> None:
    total, count = predictive.masked_cross_entropy(LOGITS.view(N, T, C), LABELS)
    slow_total, slow_count = reference.cross_entropy(LOGITS.tolist(), LABELS.flatten().tolist())
    assert close(total, slow_total) and count.item() == slow_count and count.dtype == torch.long
    everywhere, _ = predictive.masked_cross_entropy(LOGITS.view(N, T, C), TOKENS)
    assert not close(everywhere, slow_total)  # broken: predicts the tokens that were not masked, too


def test_next_token_equals_the_loop() -> None:
    logits = LOGITS.view(N, T, C)
    total, count = predictive.next_token_cross_entropy(logits, TOKENS, MASK)
    slow_total, slow_count = reference.next_token(logits.tolist(), TOKENS.tolist(), MASK.tolist())
    assert close(total, slow_total) and count.item() == slow_count == 4 + 2 + 2
    unshifted, _ = predictive.masked_cross_entropy(logits, TOKENS.masked_fill(MASK == 0, -100))
    assert not close(unshifted, slow_total)
    padding_counted, _ = predictive.next_token_cross_entropy(logits, TOKENS)
    assert not close(padding_counted, slow_total)


def test_next_token_labels() -> None:
    tokens = torch.tensor([[5, 6, -100, 8, 9]])
    assert predictive.next_token_labels(tokens).tolist() == [[6, -100, 8, 9, -100]]
    mask = torch.tensor([[0, 1, 1, 1, 0]])
    assert predictive.next_token_labels(tokens, mask).tolist() == [[-100, -100, 8, -100, -100]]
    assert tokens.tolist() == [[5, 6, -100, 8, 9]]


def test_replaced_tokens_equal_the_loop() -> None:
    scores, replaced, real = LOGITS.view(N, T, C)[..., 0], TOKENS > 3, MASK.bool()
    total, count = predictive.replaced_tokens(scores, replaced, real)
    slow_total, slow_count = reference.replaced_tokens(scores.tolist(), replaced.tolist(), real.tolist())
    assert close(total, slow_total) and count.item() == slow_count == 5 + 3 + 3 and count.dtype == torch.long
    for wrong in (replaced, ~replaced), (~replaced, real), (replaced, torch.ones_like(real)):
        assert not close(predictive.replaced_tokens(scores, *wrong)[0], slow_total)
    undecided, count = predictive.replaced_tokens(torch.zeros(N, T), replaced, real)
    assert abs(undecided.item() / count.item() - math.log(2)) < 1e-6


def test_known_value() -> None:
    total, count = predictive.masked_cross_entropy(torch.zeros(N, T, C), TOKENS)
    assert abs(total.item() / count.item() - math.log(C)) < 1e-6


def test_only_picked_positions_reach_the_head() -> None:
    seen = []

    def head(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return F.linear(x, WEIGHT, BIAS)

    total, count = predictive.masked_cross_entropy(HIDDEN.view(N, T, D), LABELS, head)
    assert seen == [(count.item(), D)] and 0 < count.item() < N * T
    assert close(total, predictive.masked_cross_entropy(F.linear(HIDDEN, WEIGHT, BIAS), LABELS.flatten())[0])


@pytest.mark.parametrize("chunk", [1, 4, 512])
def test_linear_cross_entropy(chunk: int) -> None:
    def fused(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return predictive.linear_cross_entropy(hidden.view(N, T, D), weight, LABELS, bias, chunk=chunk)[0]

    def plain(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, weight, bias), LABELS.flatten(), reduction="sum")

    inputs = (HIDDEN, WEIGHT, BIAS)
    assert close(fused(*inputs), plain(*inputs))
    assert torch.autograd.gradcheck(fused, inputs)
    for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        cast = [x.detach().to(dtype).requires_grad_() for x in inputs]
        ours = torch.autograd.grad(3 * fused(*cast), cast)
        theirs = torch.autograd.grad(3 * plain(*cast), cast)
        unscaled = torch.autograd.grad(fused(*cast), cast)
        assert all((a - b).abs().max() < limit for a, b in zip(ours, theirs, strict=True))
        assert all((a - b).abs().max() > limit for a, b in zip(unscaled, theirs, strict=True))


def test_linear_cross_entropy_with_a_tied_weight() -> None:
    table = WEIGHT.detach().clone().requires_grad_()
    labels = predictive.next_token_labels(TOKENS)
    ours, _ = predictive.linear_cross_entropy(F.embedding(TOKENS, table), table, labels, chunk=4)
    plain, _ = predictive.next_token_cross_entropy(F.linear(F.embedding(TOKENS, table), table), TOKENS)
    (a,), (b,) = torch.autograd.grad(ours, table), torch.autograd.grad(plain, table)
    assert close(ours, plain) and (a - b).abs().max() < 1e-12


def test_linear_cross_entropy_gives_only_what_is_asked() -> None:
    frozen = WEIGHT.detach()
    (gradient,) = torch.autograd.grad(predictive.linear_cross_entropy(HIDDEN, frozen, LABELS.flatten())[0], HIDDEN)
    (plain,) = torch.autograd.grad(F.cross_entropy(F.linear(HIDDEN, frozen), LABELS.flatten(), reduction="sum"), HIDDEN)
    assert (gradient - plain).abs().max() < 1e-12
    with torch.no_grad():
        total, _ = predictive.linear_cross_entropy(HIDDEN, WEIGHT, LABELS.flatten())
    assert not total.requires_grad
    total, _ = predictive.linear_cross_entropy(HIDDEN, WEIGHT, LABELS.flatten())
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(total, HIDDEN, create_graph=True)


def test_autocast() -> None:
    hidden, weight, labels = HIDDEN.detach().float().requires_grad_(), WEIGHT.detach().float(), LABELS.flatten()
    exact, _ = predictive.linear_cross_entropy(hidden, weight, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused, _ = predictive.linear_cross_entropy(hidden, weight, labels)
        plain, _ = predictive.masked_cross_entropy(hidden, labels, lambda x: F.linear(x, weight))
    assert fused.dtype == plain.dtype == torch.float32
    assert abs(fused - plain) < 1e-5 and fused != exact  # the head in bf16, the softmax not
    (gradient,) = torch.autograd.grad(fused, hidden)
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize("fused", [False, True])
def test_nothing_to_predict_still_has_a_graph(fused: bool) -> None:
    head, hidden, labels = nn.Linear(D, C), torch.randn(N, T, D, requires_grad=True), torch.full((N, T), -100)
    if fused:
        total, count = predictive.linear_cross_entropy(hidden, head.weight, labels, head.bias)
    else:
        total, count = predictive.masked_cross_entropy(hidden, labels, head)
    total.backward()
    assert total.item() == 0.0 and count.item() == 0
    for gradient in (hidden.grad, head.weight.grad, head.bias.grad):
        assert gradient is not None and gradient.abs().max() == 0.0


def test_user_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="give one label for each position"):
        predictive.masked_cross_entropy(LOGITS.view(N, T, C), LABELS[:, 1:])

"""wav2vec 2.0: the stock class's loss, honest negatives, codes that are watched, and folders that stand alone."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from transformers import AutoFeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining, Wav2Vec2Model

from modalities.audio import wav2vec2 as module
from modalities.audio.backbones import ModelConfig
from modalities.audio.codebook_watch import CodebookWatch
from modalities.audio.frame_encoder import normalised
from modalities.audio.quantizer import gumbel, perplexity, quantise
from modalities.audio.span_masks import draw_negatives, span_mask
from modalities.audio.wav2vec2 import Wav2Vec2
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from modalities.draws import as_signed, mix
from tests.audio.examples_wav2vec2 import ROWS, SAMPLES, TINY, recordings, shape
from trainers.step import GradientStep

Norm = Literal["group", "layer"]
PLAIN = replace(TINY, codes=4, penalty=0.0, feature_gradient=1.0)  # few codes, so that some negatives share them


def learner(norm: Norm = "layer", cfg: Wav2Vec2Config = TINY) -> Wav2Vec2:
    torch.manual_seed(0)
    return Wav2Vec2(shape(norm), cfg).double()


def seeds(rows: int = ROWS) -> Tensor:
    return as_signed(mix(np.arange(rows, dtype=np.uint64)))


# The stock class


class Drawn:
    """One draw of masks, negatives and noise, as ours takes them and as the stock class does."""

    def __init__(self, task: Wav2Vec2, negatives: int = 20) -> None:
        self.batch = recordings()
        frames = task.frames(self.batch["lengths"])
        self.mask = span_mask(self.batch["seeds"], frames, int(frames.max()), 0.1, 3, 2)
        count, self.most = self.mask.sum(1), int(self.mask.sum(1).max())
        self.negatives = draw_negatives(self.batch["seeds"], count, self.most, negatives, 2)
        quantizer: Any = task.encoder.quantizer
        self.groups, self.codes = quantizer.num_groups, quantizer.num_vars
        self.noise = gumbel(self.batch["seeds"], self.most * self.groups * self.codes, 9).double().view(
            ROWS, self.most, -1
        )  # fmt: skip

    def ours(self, task: Wav2Vec2) -> Tensor:
        """Summed over the hidden frames."""
        noise = self.noise if task.training else None
        rows = task.compare(self.batch["audio"], self.batch["lengths"], self.mask, self.negatives, noise)
        return task.loss_from(*rows)["loss"] * self.mask.sum()

    def stock(self, task: Wav2Vec2, patch: pytest.MonkeyPatch) -> Tensor:
        """`Wav2Vec2ForPreTraining`'s, which numbers the frames of all rows throughout."""
        n, frames = self.mask.shape
        negatives = torch.zeros(n, frames, self.negatives.shape[2], dtype=torch.long)
        noise = torch.zeros(n, frames, self.groups * self.codes, dtype=torch.float64)
        for row in range(n):
            places = self.mask[row].nonzero().flatten()
            negatives[row, places] = places[self.negatives[row, : len(places)]] + row * frames
            noise[row, places] = self.noise[row, : len(places)]
        patch.setattr(F, "gumbel_softmax", lambda logits, tau, hard: _straight_through(logits, tau, noise))
        lengths = self.batch["lengths"]
        padding = (torch.arange(SAMPLES) < lengths[:, None]).long()
        task.encoder.quantizer.temperature = float(task.tau)
        return task.encoder(
            normalised(self.batch["audio"], lengths),
            attention_mask=padding if task.encoder.config.feat_extract_norm == "layer" else None,
            mask_time_indices=self.mask,
            sampled_negative_indices=negatives,
        ).loss


def _straight_through(logits: Tensor, tau: float, noise: Tensor) -> Tensor:
    soft = ((logits + noise.view(logits.shape)) / tau).softmax(-1)
    return F.one_hot(soft.argmax(-1), soft.shape[-1]) + (soft - soft.detach())


def gap(task: Wav2Vec2, patch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Between our loss and the stock one, and between their gradients, relative to the largest."""
    drawn = Drawn(task)
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    found = []
    for loss in (drawn.stock(task, patch), drawn.ours(task)):
        grads = torch.autograd.grad(loss, weights, allow_unused=True)  # by argmax alone, without noise
        found.append((loss.detach(), [torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads)]))  # noqa: B905
    (stock, wanted), (ours, grads) = found
    largest = max(float(g.abs().max()) for g in wanted)
    apart = max(float((a - b).abs().max()) for a, b in zip(wanted, grads, strict=True))
    return float(abs(stock - ours) / stock), apart / largest


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_gradients_are_the_stock_ones(norm: Norm, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # In evaluation the stock class takes the diversity of the codes themselves, ours that of their likelihoods still.
    cfg = PLAIN if training else replace(PLAIN, diversity=0.0)
    # To 1e-5, for the stock class takes its cosines in single precision.
    assert max(gap(learner(norm, cfg).train(training), monkeypatch)) < 1e-5


def test_what_is_wrong_in_a_loss_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = module.masked_contrast

    def as_own(p: Tensor, q: Tensor, codes: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        own = torch.arange(codes.shape[1])[None, :, None].expand(len(codes), -1, 1)  # no two frames share a code
        return honest(p, q, own, *rest)

    monkeypatch.setattr(module, "masked_contrast", as_own)
    assert min(gap(learner(cfg=PLAIN), monkeypatch)) > 1e-3
    monkeypatch.setattr(module, "masked_contrast", honest)
    first = module.hidden_first

    def and_the_rest(mask: Tensor) -> tuple[Tensor, Tensor]:
        places, real = first(mask)
        return places, torch.ones_like(real)  # frames that are not hidden fill up the shorter rows

    monkeypatch.setattr(module, "hidden_first", and_the_rest)
    assert min(gap(learner(cfg=PLAIN), monkeypatch)) > 1e-3


# What is drawn


def test_noise_is_gumbels() -> None:
    noise = gumbel(seeds(4), 50_000, 1).double()
    assert torch.isfinite(noise).all()
    assert abs(noise.mean() - 0.5772) < 0.01 and abs(noise.var() - torch.pi**2 / 6) < 0.02


# Codes


def test_codes_go_forward_hard_and_backward_soft() -> None:
    quantizer: Any = learner().encoder.quantizer
    frames = torch.randn(2, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noise, tau = gumbel(seeds(2), 5 * 16, 1).double().view(2, 5, 16), torch.tensor(0.7)
    found = quantise(quantizer, frames, tau, noise)
    book = quantizer.codevectors.view(2, 8, 8)
    wanted = torch.cat([book[group][found.chosen[..., group]] for group in range(2)], dim=-1)
    assert torch.equal(found.vectors, wanted)
    soft = ((quantizer.weight_proj(frames).unflatten(2, (2, 8)) + noise.view(2, 5, 2, 8)) / tau).softmax(-1)
    blended = torch.einsum("nmgv,gvd->nmgd", soft, book).flatten(2)
    weight, direction = quantizer.weight_proj.weight, torch.randn_like(blended)
    grads = [torch.autograd.grad((vectors * direction).sum(), weight)[0] for vectors in (found.vectors, blended)]
    assert (grads[0] - grads[1]).abs().max() < 1e-6  # tau is held in single precision
    likeliest = quantise(quantizer, frames, tau, None)
    assert torch.equal(likeliest.chosen, found.soft.argmax(-1)) and not torch.equal(likeliest.chosen, found.chosen)


def test_perplexity_counts_codes_in_use() -> None:
    even, one = torch.full((2, 8), 1 / 8), F.one_hot(torch.tensor([3, 5]), 8).float()
    assert abs(perplexity(even) - 16) < 1e-4 and perplexity(one) == 2
    draw = torch.rand(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = draw / draw.sum(1, keepdim=True)
    assert abs(perplexity(shares) - torch.special.entr(shares).sum(1).exp().sum()) < 1e-12
    assert torch.autograd.gradcheck(perplexity, shares.requires_grad_())


def test_codes_that_nobody_takes_have_a_finite_gradient() -> None:
    for usage in (torch.zeros(2, 8), F.one_hot(torch.tensor([3, 5]), 8).float(), torch.full((2, 8), 1e-45)):
        usage.requires_grad_()
        assert torch.isfinite(torch.autograd.grad(perplexity(usage), usage)[0]).all()
        stock = torch.special.entr(usage).sum(1).exp().sum()  # the broken twin
        if not usage.all():
            assert not torch.isfinite(torch.autograd.grad(stock, usage)[0]).all()


def test_tau_falls_with_each_update_and_stays_above_its_end() -> None:
    task = learner(cfg=replace(TINY, tau_decay=0.9, tau_end=1.5))
    found = []
    for _ in range(4):
        found.append(round(float(task.tau), 5))
        task.watch.perplexity.fill_(99)
        task.after_step(0.1)
    assert found == [2.0, 1.8, 1.62, 1.5]
    other = learner(cfg=replace(TINY, tau_decay=0.9, tau_end=1.5))
    other.load_state_dict(task.state_dict())
    assert other.tau == task.tau
    paper = 2 * 0.999995 ** torch.tensor(277_259.0)  # where the paper's tau reaches its end
    assert abs(paper - 0.5) < 1e-3


def test_a_collapsed_codebook_warns_and_then_ends_the_run() -> None:
    watch = CodebookWatch(4.0, patience=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seen in (3.0, 3.0, 5.0, 3.0, 3.9):  # a good update begins anew
            watch.see(torch.tensor(seen))
            watch.after_step()
    resumed = CodebookWatch(4.0, patience=6)
    resumed.load_state_dict(watch.state_dict())
    with pytest.warns(UserWarning, match="3.9 codes in use for 3 updates; after 6 the run ends"):
        resumed.after_step()
    resumed.after_step()
    resumed.after_step()
    with pytest.raises(ValueError, match=r"collapsed: 3\.9 codes in use for 6 updates"):
        resumed.after_step()
    forgiving = CodebookWatch(4.0, patience=0)
    forgiving.see(torch.tensor(1.0))
    for _ in range(10):
        forgiving.after_step()


def test_the_watch_sees_training_only() -> None:
    task, batch = learner(), recordings()
    task.eval()(batch)
    assert task.watch.perplexity == task.watch.least
    out = task.train()(batch)
    assert abs(task.watch.perplexity - out["perplexity"]) < 1e-12 and task.watch.perplexity > task.watch.least


# The task


def test_the_convolutions_learn_at_a_tenth() -> None:
    batch, grads = recordings(), []
    for factor in (1.0, 0.1):
        task = learner(cfg=replace(TINY, feature_gradient=factor))
        task(batch)["loss"].backward()
        grads.append({name: weight.grad for name, weight in task.encoder.wav2vec2.named_parameters()})
    for name, grad in grads[0].items():
        factor = 0.1 if name.startswith("feature_extractor.") else 1.0
        assert (grads[1][name] - factor * grad).abs().max() < 1e-12, name


def test_targets_are_continuous_for_as_many_updates_as_asked() -> None:
    batch, plain, warm = recordings(), learner(), learner(cfg=replace(TINY, continuous=2))
    quantizer: Any = warm.encoder.quantizer
    frames = torch.randn(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, other, both = (
        quantise(quantizer, x, warm.tau, None, linear=True).vectors for x in (frames, -2 * frames, -frames)
    )
    assert (one + other - both).abs().max() < 1e-12  # no bias at first
    found = []
    for _ in range(3):
        out = warm(batch)
        out["loss"].backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in quantizer.parameters())
        found.append(bool(out["loss"] == plain(batch)["loss"]))
        warm.after_step(0.1)
        plain.after_step(0.1)
    assert found == [False, False, True]


def test_micro_batches_give_the_gradient_of_the_whole() -> None:
    grads = []
    for size in (0, 2):
        task = learner()
        accelerator = Accelerator(cpu=True)
        scalars = GradientStep(accelerator, task, task, size)(recordings())
        grads.append(torch.cat([weight.grad.flatten() for weight in task.parameters()]))
        grads.append(torch.stack([scalars[name] for name in ("loss", "perplexity", "accuracy")]))
    assert (grads[0] - grads[2]).abs().max() < 1e-12 and (grads[1] - grads[3]).abs().max() < 1e-12
    half = {name: value[:2] for name, value in recordings().items()}  # the broken twin: one micro-batch
    task = learner()
    task(half)["loss"].backward()
    assert (torch.cat([weight.grad.flatten() for weight in task.parameters()]) - grads[0]).abs().max() > 1e-4


def test_rows_too_short_for_a_span_are_passed_over() -> None:
    task, batch = learner(), recordings()
    batch["lengths"] = torch.full((ROWS,), 700)
    out = task(batch)
    out["loss"].backward()
    assert out["contrastive"] == 0 and all(torch.isfinite(value) for value in out.values())
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in task.parameters())
    mixed = recordings()
    mixed["lengths"][0] = 700
    assert task(mixed)["contrastive"] > 0


def test_nothing_is_drawn_from_torchs_generator() -> None:
    task, batch = learner(), recordings()
    before = torch.get_rng_state()
    task(batch)
    assert torch.equal(torch.get_rng_state(), before)
    other = {**batch, "seeds": batch["seeds"] + 1}
    assert task(batch)["loss"] == task(batch)["loss"] != task(other)["loss"]


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_stock_classes_load_what_is_saved(norm: Norm, tmp_path: Path) -> None:
    task = learner(norm).eval()
    task.save(tmp_path)
    length = SAMPLES - 500
    raw = [row[:length].numpy() for row in recordings()["audio"].float()]
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    given = extractor(raw, sampling_rate=16_000, return_tensors="pt")
    given["input_values"] = given["input_values"].double()
    assert ("attention_mask" in given) == (norm == "layer")
    lengths = torch.full((ROWS,), length)
    with torch.no_grad():
        wanted = list(task.layers(torch.from_numpy(np.stack(raw)), lengths).values())[-1]
        plain, info = Wav2Vec2Model.from_pretrained(tmp_path, dtype=torch.float64, output_loading_info=True)
        assert not info["missing_keys"]
        assert (plain.eval()(**given).last_hidden_state - wanted).abs().max() < 1e-5
        whole, info = Wav2Vec2ForPreTraining.from_pretrained(tmp_path, dtype=torch.float64, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert torch.equal(whole.quantizer.codevectors, task.encoder.quantizer.codevectors)
        ctc = Wav2Vec2ForCTC.from_pretrained(tmp_path, vocab_size=5, dtype=torch.float64).eval()
        assert (ctc.wav2vec2(**given).last_hidden_state - wanted).abs().max() < 1e-5
        plain.feature_projection.layer_norm.weight.mul_(1.01)  # the broken twin
        assert (plain(**given).last_hidden_state - wanted).abs().max() > 1e-4


def test_a_run_may_start_from_what_was_saved(tmp_path: Path) -> None:
    task = learner().float()
    task.save(tmp_path)
    again = Wav2Vec2(ModelConfig(start_from=str(tmp_path)), replace(TINY, codes=99))
    batch = {name: value.float() if value.is_floating_point() else value for name, value in recordings().items()}
    assert again(batch)["contrastive"] == task(batch)["contrastive"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"span": 0}, "task.span is 0"),
        ({"penalty": -1.0}, "task.penalty is -1.0"),
        ({"temperature": 0.0}, "task.temperature is 0.0"),
        ({"start": 1.5}, "task.start is 1.5"),
        ({"groups": 3}, "task.code_width 64 is not a multiple of task.groups 3"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Wav2Vec2Config(**wrong)

"""ELECTRA: what labels say, where gradients go, what is shared, and that unequal shares of a batch do not matter."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModel, ElectraForMaskedLM, ElectraForPreTraining

from modalities.task import Batch
from modalities.text import electra as module
from modalities.text.electra import PAPER, RELEASED, Electra, ElectraCollate, ElectraConfig, sample
from modalities.text.packing import pack
from objectives.predictive import IGNORE
from tests.text.examples_electra import LENGTH, SHAPE, STORIES, batch, electra, tokenizer
from tests.world import run_in_world
from trainers.step import GradientStep


def task() -> Electra:
    torch.manual_seed(0)
    return electra().double()


def truth_of(rows: Batch) -> Tensor:
    return torch.where(rows["labels"] != IGNORE, rows["labels"], rows["input_ids"])


def test_a_sample_that_equals_the_truth_counts_as_original(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, learner = batch(PAPER), task()
    picked, truth = rows["labels"] != IGNORE, truth_of(rows)
    monkeypatch.setattr(module, "sample", lambda logits, draws: truth[picked])
    assert not learner.play(rows)["replaced"].any() and learner(rows)["replaced"] == 0
    wrong = (truth[picked] + 1) % 100
    monkeypatch.setattr(module, "sample", lambda logits, draws: wrong)
    out = learner.play(rows)
    assert torch.equal(out["replaced"], picked)
    assert torch.equal(out["fake"][picked], wrong) and torch.equal(out["fake"][~picked], truth[~picked])


def test_no_mask_is_left_for_the_discriminator() -> None:
    for masks in (RELEASED, PAPER):
        rows = batch(masks)
        assert (rows["input_ids"] == tokenizer().mask_token_id).any()
        # The generator may say [MASK] itself, as any other token; what it was shown must not get through.
        kept = rows["labels"] == IGNORE
        fake = task().play(rows)["fake"]
        assert torch.equal(fake[kept], rows["input_ids"][kept])


def test_the_two_presets_differ_in_what_the_generator_sees() -> None:
    many = STORIES * 40
    for masks, wanted in ((RELEASED, 0.85), (PAPER, 1.0)):
        rows = batch(masks, many)
        picked = rows["labels"] != IGNORE
        seen = (rows["input_ids"][picked] == tokenizer().mask_token_id).double().mean()
        assert abs(seen - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / picked.sum()) + 1e-9
        unmasked = picked & (rows["input_ids"] != tokenizer().mask_token_id)
        assert torch.equal(rows["input_ids"][unmasked], rows["labels"][unmasked])


def gradients(learner: Electra, loss: Tensor) -> dict[str, Tensor]:
    learner.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in learner.named_parameters() if p.grad is not None and bool(p.grad.any())}


def test_no_gradient_reaches_the_generator_through_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, learner = batch(), task()
    out = learner.play(rows)
    assert not out["fake"].is_floating_point()
    assert all(name.startswith("encoder.") for name in gradients(learner, out["scores"].sum()))
    of_generator = gradients(learner, learner.play(rows)["logits"].sum())
    # Of the discriminator only what they share.
    assert all(name.startswith(("generator.", "encoder.electra.embeddings.")) for name in of_generator)
    assert any(name.startswith("generator.electra.encoder") for name in of_generator)

    # The broken twin: a mixture of tokens in place of a sample, through which the discriminator's gradient passes.
    words = learner.encoder.electra.embeddings.word_embeddings
    mixture = learner.play(rows)["logits"].softmax(-1) @ words.weight  # (k, d)
    picked = (rows["labels"] != IGNORE).unsqueeze(-1)
    soft = words(truth_of(rows)).masked_scatter(picked, mixture)
    inputs = module._inputs(learner.encoder, rows, truth_of(rows)) | {"input_ids": None, "inputs_embeds": soft}
    leaked = gradients(learner, learner.encoder(**inputs).logits.sum())
    assert any(name.startswith("generator.electra.encoder") for name in leaked)


def test_samples_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, -60.0, 1.0], dtype=torch.float64)
    count = 20_000
    draws = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = torch.bincount(sample(logits.expand(count, -1), draws), minlength=5) / count
    assert (found - logits.softmax(-1)).abs().max() < 2 / count
    assert (found - (logits / 0.9).softmax(-1)).abs().max() > 2 / count  # the broken twin: another temperature
    edge = torch.tensor([0.0, 1 - 2**-24])
    never_first = torch.tensor([[-200.0, 0.0, 0.0, -200.0]]).expand(2, -1)
    assert sample(never_first, edge).tolist() == [1, 2]


def test_one_module_of_embeddings() -> None:
    learner = task()
    assert learner.generator.electra.embeddings is learner.encoder.electra.embeddings
    weight = learner.encoder.electra.embeddings.word_embeddings.weight
    assert learner.generator.generator_lm_head.weight is weight
    assert learner.generator.config.hidden_size == 8 and learner.generator.electra.embeddings_project.out_features == 8
    apart = Electra(SHAPE, tokenizer(), ElectraConfig(narrower=1))
    assert not hasattr(apart.generator.electra, "embeddings_project")


def test_both_networks_come_back_with_stock_classes_and_tied(tmp_path: Path) -> None:
    learner, rows = task().float().eval(), batch()
    learner.save(tmp_path)
    mask = (rows["segments"] if "segments" in rows else rows["attention_mask"]) > 0
    inputs = {"input_ids": truth_of(rows), "attention_mask": mask.long()}
    discriminator, generator = (
        ElectraForPreTraining.from_pretrained(tmp_path),
        ElectraForMaskedLM.from_pretrained(tmp_path / "generator"),
    )
    with torch.no_grad():
        for loaded, ours in ((discriminator, learner.encoder), (generator, learner.generator)):
            assert torch.equal(loaded(**inputs).logits[mask], ours(**inputs).logits[mask])
        body = AutoModel.from_pretrained(tmp_path)(**inputs).last_hidden_state
        assert torch.equal(body[mask], learner.encoder.electra(**inputs).last_hidden_state[mask])
    words = generator.electra.embeddings.word_embeddings.weight
    assert generator.generator_lm_head.weight is words
    assert torch.equal(words, discriminator.electra.embeddings.word_embeddings.weight)

    resumed = Electra(
        replace(SHAPE, start_from=str(tmp_path)),
        tokenizer(),
        ElectraConfig(generator_from=str(tmp_path / "generator")),
    )
    assert resumed.generator.electra.embeddings is resumed.encoder.electra.embeddings
    found, wanted = resumed.train()(rows), learner.train()(rows)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_packed_document_is_judged_as_one_that_stands_alone() -> None:
    learner, short, collate = task().eval(), STORIES[2:4], ElectraCollate(tokenizer(), RELEASED)
    seeds = np.arange(1, dtype=np.uint64)
    rows = collate([pack(short, tokenizer(), LENGTH)[0]], seeds)
    assert rows["segments"].max() == 2
    with torch.no_grad():
        packed = learner.encoder(**module._inputs(learner.encoder, rows, truth_of(rows))).logits[0]
        blind = learner.encoder(input_ids=truth_of(rows)).logits[0]  # the broken twin: one document sees the other
        start = 0
        for story in short:
            one = collate([pack([story], tokenizer(), LENGTH)[0]], seeds)
            inputs = module._inputs(learner.encoder, one, truth_of(one))
            alone = learner.encoder(**inputs).logits[0, module._real(one)[0]]
            here = slice(start, start := start + len(alone))
            assert (packed[here] - alone).abs().max() < 1e-12
            assert (blind[here] - alone).abs().max() > 1e-6


def test_eager_attention_reads_packed_rows_alike() -> None:
    learner, collate = task().eval(), ElectraCollate(tokenizer(), RELEASED)
    rows = collate([pack(STORIES[2:4], tokenizer(), LENGTH)[0]], np.arange(1, dtype=np.uint64))
    assert rows["segments"].max() == 2
    wanted = learner.play(rows)
    for network in (learner.encoder, learner.generator):
        network.set_attn_implementation("eager")
    found = learner.play(rows)
    assert torch.equal(found["fake"], wanted["fake"])
    assert (found["logits"] - wanted["logits"]).abs().max() < 1e-12
    real = module._real(rows)
    assert (found["scores"] - wanted["scores"])[real].abs().max() < 1e-12
    unmasked = learner.encoder(input_ids=found["fake"], position_ids=rows["position_ids"]).logits  # the broken twin
    assert (unmasked - wanted["scores"])[real].abs().max() > 1e-6


def uneven() -> Batch:
    """The first half has more tokens and more hidden ones than the second."""
    return batch(RELEASED, sorted(STORIES, key=len, reverse=True))


def step(learner: torch.nn.Module, rows: Batch) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients of the sum of the loss over tokens, and their number."""
    learner.zero_grad()
    out = learner(rows)
    (out["loss"] * out["count"]).backward()
    return {n: p.grad.clone() for n, p in learner.named_parameters()}, out["count"]


def test_micro_batches_with_unequal_counts_equal_one_batch() -> None:
    found, logged = [], []
    for micro_batch in (0, 4):
        learner, accelerator = task(), Accelerator(cpu=True)
        logged.append(GradientStep(accelerator, learner, learner, micro_batch)(uneven()))
        found.append({name: p.grad for name, p in learner.named_parameters()})
    whole, parts = found
    assert max(float((parts[name] - g).abs().max()) for name, g in whole.items()) < 1e-12
    assert abs(logged[0]["loss"] - logged[1]["loss"]) < 1e-12
    other, rows = task(), uneven()  # the broken twin: the mean of two means
    for half in (slice(4), slice(4, 8)):
        (other({name: x[half] for name, x in rows.items()})["loss"] / 2).backward()
    assert max(float((p.grad - whole[name]).abs().max()) for name, p in other.named_parameters()) > 1e-4


def two_ranks() -> dict[str, dict[str, Tensor]]:
    rank, rows = dist.get_rank(), uneven()
    share = {name: x[rank * 4 : rank * 4 + 4] for name, x in rows.items()}
    learner = task()
    found, count = step(DistributedDataParallel(learner), share)
    counts = [torch.zeros_like(count) for _ in range(2)]
    dist.all_gather(counts, count)
    assert counts[0] > 1.2 * counts[1]
    exact = {name.removeprefix("module."): 2 * g / sum(counts) for name, g in found.items()}
    other = task()
    DistributedDataParallel(other)(share)["loss"].backward()
    means = {name: p.grad.clone() for name, p in other.named_parameters()}
    return {"exact": exact, "mean of means": means}


@pytest.mark.slow  # imports everything twice
def test_two_processes_with_unequal_counts_equal_one() -> None:
    grads, count = step(task(), uneven())
    alone = {name: g / count for name, g in grads.items()}
    for found in run_in_world(two_ranks, timeout=120.0):
        apart = {kind: max(float((g[n] - alone[n]).abs().max()) for n in alone) for kind, g in found.items()}
        assert apart["exact"] < 1e-12
        assert apart["mean of means"] > 1e-4  # the broken twin


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ElectraConfig(narrower=0), "narrower 0 must be at least 1"),
        (lambda: ElectraConfig(weight=0), "weight 0 must be above 0"),
        (lambda: Electra(replace(SHAPE, family="bert"), tokenizer()), "family is bert, .* choose electra"),
        (lambda: Electra(SHAPE, tokenizer(), ElectraConfig(narrower=4)), "leaves the generator 0 heads"),
    ],
)
def test_impossible_options_are_refused(make: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()  # type: ignore[operator]


def test_a_generator_with_other_embeddings_is_refused(tmp_path: Path) -> None:
    Electra(replace(SHAPE, length=LENGTH + 8), tokenizer(), ElectraConfig(narrower=2)).save(tmp_path)
    with pytest.raises(ValueError, match="max_position_embeddings 48 and the discriminator 40"):
        Electra(SHAPE, tokenizer(), ElectraConfig(generator_from=str(tmp_path / "generator")))

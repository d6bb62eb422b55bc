"""word2vec: the step is the gradient of the plain loss, on one process or two, in one go or resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modalities.task import Batch
from modalities.text import word2vec as module
from modalities.text.huffman import huffman
from modalities.text.word2vec import Word2Vec, Word2VecConfig, keep_probability, thresholds
from modalities.text.word_runs import RunsCollate, WordRuns
from tests.text.examples_words import EXAMPLES, batch_of_words, vocabulary
from tests.trainers.runs import Plan, finish, result, start
from trainers.loop import fit

KINDS = [name for name, (kind, _) in EXAMPLES.items() if kind is Word2Vec]
RATE = 0.05


def built(name: str) -> tuple[Word2Vec, Batch]:
    torch.manual_seed(0)
    task, batch = EXAMPLES[name][1]()
    assert isinstance(task, Word2Vec)
    return task.double(), batch


def tables(task: Word2Vec) -> list[Tensor]:
    return [task.encoder.embedding.weight.detach().clone(), task.output.detach().clone()]


def apart(left: list[Tensor], right: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_an_update_is_a_step_down_the_gradient_of_the_summed_loss(name: str) -> None:
    task, batch = built(name)
    task(batch)["loss"].backward()
    gradients = [task.encoder.embedding.weight.grad, task.output.grad]
    assert all(bool(gradient.any()) for gradient in gradients)
    rows = len(batch["words"])
    right = [table - RATE * rows * grad for table, grad in zip(tables(task), gradients, strict=True)]
    mean = [table - RATE * grad for table, grad in zip(tables(task), gradients, strict=True)]  # the broken twin
    task.update(batch, RATE)
    assert apart(tables(task), right) < 1e-12
    assert apart(tables(task), mean) > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_steps_within_an_update_follow_one_another(name: str) -> None:
    one, batch = built(name)
    one.cfg = replace(one.cfg, step=64)  # eight blocks of eight words, as many as a row has at most
    first = {key: value[:1] for key, value in batch.items()}
    kept = int(one.draw(first)[0].sum())
    one.cfg = replace(one.cfg, step=-(-kept // 8) * 8)  # the first row's blocks and no more
    two, _ = built(name)
    two.cfg = replace(one.cfg, step=4096)
    pair = {key: value[:2] for key, value in batch.items()}
    if int(one.draw({key: value[1:2] for key, value in batch.items()})[0].sum()) > one.cfg.step:
        pair["words"][1, kept:] = -1
    one.update(pair, RATE)
    at_once, _ = built(name)
    at_once.cfg = two.cfg
    for row in range(2):
        two.update({key: value[row : row + 1] for key, value in pair.items()}, RATE)
    at_once.update(pair, RATE)  # the broken twin: gradients of old tables
    assert apart(tables(one), tables(two)) < 1e-12
    assert apart(tables(at_once), tables(two)) > 1e-4


def test_the_logged_loss_is_that_of_a_pair() -> None:
    task, batch = built(KINDS[0])
    torch.nn.init.zeros_(task.output)
    assert task.update(batch, 0.0)["loss"].item() == pytest.approx(np.log(2) * 6, rel=0.15)  # drawn five are near five
    task, batch = built(KINDS[2])
    torch.nn.init.zeros_(task.output)
    lengths = (huffman(task.vocabulary.counts)[0] >= 0).sum(1)
    assert lengths.min() * np.log(2) < task.update(batch, 0.0)["loss"].item() < lengths.max() * np.log(2)


@pytest.mark.parametrize("name", KINDS)
def test_a_table_that_is_lost_shows_in_the_loss_of_the_same_update(name: str) -> None:
    task, batch = built(name)
    task.cfg = replace(task.cfg, step=64)
    task.float()
    assert torch.isfinite(task.update(batch, RATE)["loss"])
    lost = task.update(batch, 1e30)["loss"]  # of the first of many steps, which is finite before it
    assert not torch.isfinite(task.output).all() and not torch.isfinite(lost)


def test_rows_draw_for_themselves() -> None:
    task, batch = built(KINDS[0])
    several = task.draw(batch)
    alone = task.draw({key: value[3:4] for key, value in batch.items()})
    assert all(torch.equal(a[3:4], b) for a, b in zip(several, alone, strict=True))
    other = task.draw({**batch, "seeds": batch["seeds"] + 1})
    assert not any(torch.equal(a, b) for a, b in zip(several, other, strict=True))


def test_padding_changes_nothing() -> None:
    task, batch = built(KINDS[0])
    wider = {**batch, "words": torch.nn.functional.pad(batch["words"], (0, 4), value=-1)}
    assert apart([task(batch)["loss"].detach()], [task(wider)["loss"].detach()]) < 1e-9
    wrong = {**batch, "words": torch.nn.functional.pad(batch["words"], (0, 4), value=0)}
    assert apart([task(batch)["loss"].detach()], [task(wrong)["loss"].detach()]) > 1


def test_words_are_kept_as_the_c_code_keeps_them() -> None:
    shares = np.array([0.05, 0.001, 0.0001])
    # (sqrt(f / t) + 1) t / f, by hand: f / t is 50, 1 and 0.1.
    assert keep_probability(shares, 1e-3) == pytest.approx([(50**0.5 + 1) / 50, 1.0, 1.0], abs=1e-12)
    papers = 1 - np.sqrt(1e-3 / shares)  # the broken twin: the papers' probability of leaving a word out
    assert abs(keep_probability(shares, 1e-3)[0] - (1 - papers[0])) > 0.01
    assert keep_probability(shares, 0).tolist() == [1, 1, 1]


def test_frequencies_of_what_is_drawn() -> None:
    task = Word2Vec(vocabulary(), Word2VecConfig(width=2, window=4, sample=0.01, block=8, shared=16))
    words = torch.zeros(64, 1000, dtype=torch.long)
    kept, windows, numbers = task.draw({"words": words, "seeds": torch.arange(64)})
    assert kept.double().mean().item() == pytest.approx(task.keep[0].item(), abs=0.01)
    assert torch.bincount(windows.flatten()).double()[1:] / windows.numel() == pytest.approx([0.25] * 4, abs=0.01)
    shares = torch.bincount(task.negatives(numbers).flatten(), minlength=40).double() / numbers.numel()
    counts = vocabulary().counts
    assert shares.numpy() == pytest.approx(counts**0.75 / (counts**0.75).sum(), abs=0.005)
    assert shares.numpy() != pytest.approx(counts / counts.sum(), abs=0.005)  # the broken twin


def test_the_rare_among_millions_are_drawn_as_often_as_they_should() -> None:
    task, _ = built(KINDS[0])
    weights = (1 + 10**10 // (1 + np.arange(2_000_000)) ** 1.4) ** 0.75
    shares = weights / weights.sum()
    assert shares[-1] < 2.0**-24
    task.thresholds = torch.from_numpy(thresholds(weights))
    np.testing.assert_allclose(np.diff(task.thresholds.numpy()) * 2.0**-53, shares[1:], rtol=1e-6)
    for word in (1, 1000, 1_999_998, 1_999_999):  # the numbers between a word's thresholds are its own
        low, high = task.thresholds[word - 1], task.thresholds[word]
        found = task.negatives(torch.stack([low - 1, low, high - 1]))
        assert found.tolist() == [word - 1, word, word]
    rough = np.diff((np.cumsum(weights) / weights.sum()).astype(np.float32))  # the broken twin
    assert (rough[-1000:] == 0).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"window": 0}, "word2vec.window is 0"), ({"sample": -1.0}, "word2vec.sample"), ({"step": 8}, "word2vec.block")],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Word2VecConfig(**options)


def trained(plan: Plan) -> dict[str, Any]:
    """A run of `fit` on runs of words in fp64; the plan may make it fail at a call of the collator, or be wrong."""
    if plan.identity.get("wrong"):
        module.gather = lambda tensor: tensor  # the broken twin: each process steps with its own rows
    words = batch_of_words(24)["words"].numpy()
    sizes = (words >= 0).sum(1)
    data = WordRuns(words[words >= 0], np.concatenate([[0], sizes.cumsum()]), words.shape[1])
    collate, calls = RunsCollate(data.length), [0]

    def counted(rows: Any, seeds: Any) -> Batch:
        calls[0] += 1
        if calls[0] in plan.calls:
            raise ZeroDivisionError
        return collate(rows, seeds)

    task = fit(built(KINDS[0])[0], data, counted, plan.config())
    return {"tables": tables(task)}


def run(plan: Plan, processes: int = 1) -> list[Tensor]:
    assert set(finish(start(plan, processes, trained))) == {0}
    found: list[Tensor] = result(plan)["tables"]
    return found


def test_two_processes_and_resumed_runs_are_one_uninterrupted(tmp_path: Path) -> None:
    whole = Plan(tmp_path / "whole", {"steps": 7})
    alone = run(whole)
    assert apart(alone, run(whole.but(out=tmp_path / "two"), 2)) < 1e-12
    assert apart(alone, run(whole.but(out=tmp_path / "wrong", identity={"wrong": True}), 2)) > 1e-4
    broken = whole.but(out=tmp_path / "resumed", calls=(6,))
    assert set(finish(start(broken, 1, trained))) == {1}  # after the checkpoint of step 3
    assert apart(alone, run(broken.but(calls=()))) == 0
    assert apart(alone, tables(built(KINDS[0])[0])) > 1e-3

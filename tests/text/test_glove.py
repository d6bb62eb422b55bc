"""GloVe and the counts it starts from, against loops."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from modalities.task import Batch
from modalities.text import glove as module
from modalities.text.cooccurrence import co_occurrences, collate_entries, entries
from modalities.text.glove import GloVe, GloVeConfig
from modalities.text.vocabulary import build_vocabulary
from tests.text.examples_words import glove
from tests.world import run_in_world

RATE = 0.05


def test_words_meet_within_documents_and_count_by_distance() -> None:
    draw = np.random.default_rng(0)
    texts = [[f"w{number}" for number in draw.integers(0, 6, size)] for size in (30, 1, 17)]
    vocabulary = build_vocabulary(texts, 1)
    wanted: Counter[tuple[int, int]] = Counter()
    for text in texts:
        ids = vocabulary.encode(text)
        for i in range(len(ids)):
            for j in range(len(ids)):
                if i != j and abs(i - j) <= 4:
                    wanted[ids[i], ids[j]] += 1 / abs(i - j)
    counts = co_occurrences(texts, vocabulary, 4).toarray()
    assert counts == pytest.approx(np.array([[wanted[i, j] for j in range(6)] for i in range(6)]), abs=1e-12)
    joined = [word for text in texts for word in text]  # the broken twin: windows across documents
    across = co_occurrences([joined], vocabulary, 4).toarray()
    assert abs(across - counts).max() > 0.2


def test_rows_are_the_entries_that_are_not_zero() -> None:
    texts = [["a", "b", "a", "c"]]
    vocabulary = build_vocabulary(texts, 1)
    counts = co_occurrences(texts, vocabulary, 2)
    rows = entries(counts)
    batch = collate_entries(rows.__getitems__([0, len(rows) - 1]), np.zeros(2, dtype=np.uint64))
    assert len(rows) == counts.nnz and batch["counts"].min() > 0
    assert batch["counts"][1].item() == pytest.approx(counts[int(batch["words"][1]), int(batch["near"][1])])


def built() -> tuple[GloVe, Batch]:
    torch.manual_seed(0)
    task, batch = glove()
    assert isinstance(task, GloVe)
    return task.double(), batch


def tables(task: GloVe) -> list[Tensor]:
    return [table.detach().clone() for table in task._tables()]


def apart(left: list[Tensor], right: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


def test_an_update_is_adagrad_on_the_gradients_of_the_loss() -> None:
    task, batch = built()
    task.cfg = GloVeConfig(width=16, step=8)
    before, squares, total = tables(task), [torch.ones_like(t) for t in tables(task)], [0.0] * 4
    for row in range(8):  # pair by pair, for AdaGrad squares each gradient by itself
        task.zero_grad()
        task({key: value[row : row + 1] for key, value in batch.items()})["loss"].backward()
        for place, table in enumerate(task._tables()):
            squares[place] = squares[place] + (RATE * table.grad).square()
            total[place] = total[place] + table.grad
    right = [b - RATE * g / s.sqrt() for b, g, s in zip(before, total, squares, strict=True)]
    plain = [b - RATE * g for b, g in zip(before, total, strict=True)]  # the broken twin
    task.update(batch, RATE)
    assert apart(tables(task), right) < 1e-12
    assert apart(tables(task), plain) > 1e-4


def test_a_table_that_is_lost_shows_in_the_loss_of_the_same_update() -> None:
    task, batch = built()
    task.float().cfg = GloVeConfig(width=16, step=8)
    assert torch.isfinite(task.update(batch, RATE)["loss"])
    lost = task.update(batch, 1e39)["loss"]  # measured before the tables move
    assert not torch.isfinite(task.context).all() and not torch.isfinite(lost)


def test_what_is_published_is_the_sum_of_both_tables() -> None:
    task, _ = built()
    wanted = (task.encoder.embedding.weight[:-1] + task.context).detach().numpy()
    assert task.vectors() == pytest.approx(wanted, abs=1e-6)
    assert abs(task.vectors() - task.encoder.embedding.weight[:-1].detach().numpy()).max() > 0.1


def on_two() -> dict[str, list[Tensor]]:
    """Two updates on this rank's half of the pairs, right and wrong."""
    rank, found = dist.get_rank(), {}
    for name in ("right", "alone"):
        if name == "alone":
            module.gather = lambda tensor: tensor
        task, batch = built()
        for _ in range(2):
            task.update({key: value[rank * 4 : rank * 4 + 4] for key, value in batch.items()}, RATE)
        found[name] = tables(task)
    return found


def test_two_processes_equal_one() -> None:
    task, batch = built()
    for _ in range(2):
        task.update(batch, RATE)
    for found in run_in_world(on_two, processes=2, timeout=120.0):
        assert apart(tables(task), found["right"]) < 1e-12
        assert apart(tables(task), found["alone"]) > 1e-4


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"glove.most is 0"):
        GloVeConfig(most=0)
    with pytest.raises(ValueError, match=r"glove.window is 0"):
        GloVeConfig(window=0)


def test_features_are_those_of_the_published_model(monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = built()
    inputs = task.tokenizer(["word1 word2 new", "word39"], padding=True, return_tensors="pt")
    published = task.export()(inputs["input_ids"]).last_hidden_state.detach()  # (2, 3, d)
    monkeypatch.delattr(GloVe, "export")  # a copy of the table
    found = task.encode(inputs).detach()
    assert apart([found[0], found[1]], [published[0, :2].mean(0), published[1, 0]]) < 1e-12
    assert apart([task.look_up(inputs["input_ids"]).detach()], [published]) == 0
    assert (
        apart([found[0]], [task.encoder.embedding.weight[1:3].detach().mean(0)]) > 0.1
    )  # the broken twin: no contexts
    assert task.vectors().shape == (40, 16)

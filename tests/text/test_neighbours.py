"""Quick-thought, Skip-thought and IS-BERT: what is a fair negative, what the decoder sees, what padding changes."""

import pytest
import torch
from torch import Tensor

from modalities.task import Batch
from modalities.text.is_bert import ISBertConfig
from modalities.text.quick_thought import QuickThoughtConfig, fingerprints
from modalities.text.skip_thought import SkipThought, SkipThoughtConfig
from objectives.contrastive import clip
from objectives.predictive import next_token_labels
from tests.text.examples_neighbours import batch_of, is_bert, quick_thought, skip_thought, tokenizer


def padded(batch: Batch, more: int) -> Batch:
    """The same texts with `more` places of padding behind."""
    wider = dict(batch)
    for name, value in (("input_ids", tokenizer().pad_token_id), ("attention_mask", 0)):
        wider[name] = torch.nn.functional.pad(batch[name], (0, more), value=value)
    return wider


def test_fingerprints_are_of_texts_and_not_of_padding() -> None:
    batch = batch_of(2)
    found = fingerprints(batch["input_ids"], batch["attention_mask"])  # (n, 2)
    wider = padded(batch, 3)
    assert torch.equal(found, fingerprints(wider["input_ids"], wider["attention_mask"]))
    assert torch.equal(found[1:, 0], found[:-1, 1])  # the next sentence of one row is the first of another
    assert len(found.unique()) == 9
    ids = batch["input_ids"].clone()
    ids[:, :, [1, 2]] = ids[:, :, [2, 1]]  # the same words in another order
    assert not (fingerprints(ids, batch["attention_mask"]) == found).any()


def test_a_sentence_is_no_negative_of_itself() -> None:
    """Rows 0 and 1 are (a, b) and (b, c): asked for what follows b, b itself is no candidate."""
    task, batch = quick_thought()
    task = task.double().eval()
    this, following, wording = task.embed(batch)
    alone = torch.arange(2 * len(this)).view(-1, 2)  # no two texts alike
    scale = torch.tensor(1 / 0.05, dtype=torch.float64).log()
    plain = task.loss_from(this, following, alone)["loss"]
    assert abs(plain - clip(this, following, scale)) < 1e-12  # with nothing left out it is CLIP's loss
    assert task.loss_from(this, following, wording)["loss"] < plain - 1e-6


def test_quick_thought_tells_before_from_after() -> None:
    task, batch = quick_thought()
    task = task.double().eval()
    back = batch | {name: batch[name].flip(1) for name in ("input_ids", "attention_mask")}
    assert abs(task(back)["loss"] - task(batch)["loss"]) < 1e-12  # at first both heads pass on what they get
    with torch.no_grad():
        task.next_head.weight.add_(0.3 * torch.randn_like(task.next_head.weight))
    assert abs(task(back)["loss"] - task(batch)["loss"]) > 1e-6


def test_skip_thought_counts_and_predicts_the_neighbours() -> None:
    task, _ = skip_thought()
    task, batch = task.double().eval(), batch_of(3)
    out = task(batch)
    assert out["count"] == int((batch["attention_mask"][:, [0, 2]].sum(2) - 1).sum())
    mean = by_hand(task, batch, (0, 2))
    assert abs(out["loss"] - mean) < 1e-12
    assert abs(out["loss"] - by_hand(task, batch, (2, 0))) > 1e-6  # broken: neighbours swapped


def by_hand(task: SkipThought, batch: Batch, sides: tuple[int, int]) -> Tensor:
    """The loss token by token: each decoder unrolled, the vector in every step."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    vectors, table = task.encode({"input_ids": ids[:, 1], "attention_mask": mask[:, 1]}), task.encoder.embeddings
    losses = []
    for side, column in enumerate(sides):
        labels = next_token_labels(ids[:, column], mask[:, column])
        for row, vector in enumerate(vectors):
            state = task.starts[side](vector).tanh()[None]
            for place, label in enumerate(labels[row]):
                word = table.word_embeddings(ids[row, column, place])
                output, state = task.decoders[side](torch.cat([word, vector])[None], state)
                if label >= 0:
                    logits = table.word_embeddings.weight @ task.to_words(output[0]) + task.bias
                    losses.append(-logits.log_softmax(0)[label])
    return torch.stack(losses).mean()


def test_the_decoder_depends_on_the_sentence_between() -> None:
    task, batch = skip_thought()
    task = task.double().eval()
    other = batch["input_ids"].clone()
    other[:, 1] = other[:, 1].roll(1, 0)
    assert abs(task(batch | {"input_ids": other})["loss"] - task(batch)["loss"]) > 1e-6


@pytest.mark.parametrize("example", [quick_thought, skip_thought, is_bert])
def test_padding_changes_nothing(example: object) -> None:
    task, batch = example()  # type: ignore[operator]
    task = task.double().train()
    wider = padded(batch, 2)
    assert abs(task(wider)["loss"] - task(batch)["loss"]) < 1e-12
    wider["attention_mask"] = torch.ones_like(wider["attention_mask"])  # the broken twin: padding that is read
    assert abs(task(wider)["loss"] - task(batch)["loss"]) > 1e-6


def test_options_that_cannot_work_are_refused() -> None:
    for wrong, words in (
        (lambda: QuickThoughtConfig(temperature=0), "task.temperature"),
        (lambda: SkipThoughtConfig(decoder_width=0), "task.decoder_width"),
        (lambda: ISBertConfig(channels=0), "task.channels"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()

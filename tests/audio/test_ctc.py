"""CTC: against all alignments, against the stock models, and without a say for padding."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCTC,
    AutoProcessor,
    BertConfig,
    HubertForCTC,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
)

from modalities.audio.backbones import build_model, samples_of
from modalities.audio.ctc import CTC, CTCConfig, ctc_loss
from modalities.task import Batch
from tests.audio.examples_ctc import MASKS, RATE, TEXTS, new, pretrained, shape, tokenizer, utterances

NO_MASKS = CTCConfig(masked=0.0)


def plain_task(**options: Any) -> CTC:
    torch.manual_seed(0)
    return CTC(shape(**options), tokenizer(), RATE, NO_MASKS).double()


def collapsed(path: tuple[int, ...], blank: int) -> list[int]:
    return [token for place, token in enumerate(path) if token != blank and (place == 0 or path[place - 1] != token)]


@pytest.mark.parametrize("text", [[1], [1, 1], [1, 2], [2, 1, 2], []])
def test_the_loss_is_that_of_all_alignments(text: list[int]) -> None:
    scores = torch.randn(1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    said = scores.log_softmax(-1)[0]

    def by_hand(blank: int) -> torch.Tensor:
        ways = [path for path in product(range(3), repeat=4) if collapsed(path, blank) == text]
        return -torch.stack([said[range(4), path].sum() for path in ways]).logsumexp(0)

    found = ctc_loss(scores, torch.tensor([text + [0] * 2]), torch.tensor([4]), torch.tensor([len(text)]), 0)
    assert abs(found - by_hand(0)) < 1e-12
    broken = ctc_loss(scores, torch.tensor([[*text, 1]]), torch.tensor([4]), torch.tensor([len(text) + 1]), 0)
    assert abs(broken - by_hand(0)) > 1e-3  # the broken twin: padding is read as text


@pytest.mark.parametrize("kind", ["new", "wav2vec2", "hubert"])
def test_loss_and_scores_are_those_of_the_stock_model(kind: Any, tmp_path: Path) -> None:
    task = new()[0] if kind == "new" else pretrained(kind)[0]
    assert isinstance(task, CTC) and isinstance(task.encoder, HubertForCTC if kind == "hubert" else Wav2Vec2ForCTC)
    task, batch = task.float().eval(), utterances()
    batch["audio"] = batch["audio"].float()
    task.save(tmp_path)
    stock, processor = AutoModelForCTC.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    raw = [samples[:length].numpy() for samples, length in zip(batch["audio"], batch["lengths"], strict=True)]
    inputs = processor(raw, sampling_rate=RATE, padding=True, return_tensors="pt")
    labels = processor(text=TEXTS, padding=True, return_tensors="pt")
    wanted = labels.input_ids.masked_fill(labels.attention_mask == 0, -100)
    assert torch.equal(wanted, batch["labels"])
    stock.config.ctc_loss_reduction = "sum"
    found, theirs = task(batch), stock(**inputs, labels=wanted)
    assert abs(found["loss"] * found["count"] - theirs.loss) < 1e-5 * theirs.loss
    real = torch.arange(theirs.logits.shape[1]) < task.frames(batch["lengths"])[:, None]
    ours = task.scores(batch["audio"], batch["lengths"])
    assert (ours - theirs.logits)[real].abs().max() < 1e-5
    texts = processor.batch_decode([row[kept].argmax(-1) for row, kept in zip(theirs.logits, real, strict=True)])
    assert task.transcribe(batch) == texts and any(texts)
    unmasked = stock(inputs["input_values"], labels=wanted).loss  # the broken twin: padding counts as speech
    assert abs(found["loss"] * found["count"] - unmasked) > 1e-3


def test_padding_has_no_say() -> None:
    task, batch = plain_task().train(), utterances()
    longer = batch | {"audio": torch.nn.functional.pad(batch["audio"], (0, 3000))}
    assert abs(task(batch)["loss"] - task(longer)["loss"]) < 1e-12
    task = CTC(shape(), tokenizer(), RATE, MASKS).double().train()  # hidden spans are the same ones too
    assert abs(task(batch)["loss"] - task(longer)["loss"]) < 1e-12
    told = longer | {"lengths": batch["lengths"] + 3000}  # the broken twin
    assert abs(task(batch)["loss"] - task(told)["loss"]) > 1e-3


def test_the_loss_is_a_mean_over_characters() -> None:
    task, batch = plain_task(), utterances()
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 2), slice(2, 8))]
    whole, (few, many) = task(batch), [task(part) for part in parts]
    mean = (few["loss"] * few["count"] + many["loss"] * many["count"]) / whole["count"]
    assert whole["count"] == sum(map(len, TEXTS)) and abs(whole["loss"] - mean) < 1e-12
    assert abs(whole["loss"] - (few["loss"] + many["loss"]) / 2) > 1e-3  # the broken twin: a mean of means


def test_spans_hide_about_their_share() -> None:
    task = CTC(shape(), tokenizer(), RATE, CTCConfig(masked=0.3, span=5))
    seeds, lengths = torch.arange(400), torch.full((400,), samples_of(task.encoder.config, 200))
    found = task.hidden(seeds, lengths, 200)
    assert abs(found.float().mean() - 0.3) < 0.02
    assert torch.equal(task.hidden(seeds, lengths, 250)[:, :200], found)
    short = task.hidden(seeds, lengths // 4, 200)  # spans lie in what is heard, not in padding
    real = int(task.frames(lengths[:1] // 4))
    assert not short[:, real:].any() and abs(short[:, :real].float().mean() - 0.3) < 0.03
    assert not CTC(shape(), tokenizer(), RATE, NO_MASKS).hidden(seeds, lengths, 200).any()


def test_spans_are_hidden_in_training_alone() -> None:
    task, batch = new()[0].double(), utterances()
    other = batch | {"seeds": batch["seeds"].flip(0)}
    assert task.train()(batch)["loss"] != task(other)["loss"]
    assert task.eval()(batch)["loss"] == task(other)["loss"]


def test_a_checkpoint_brings_its_weights_and_its_convolutions_are_frozen(tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = build_model(shape(), "wav2vec2")
    given.save_pretrained(tmp_path)
    task = CTC(shape(start_from=str(tmp_path)), tokenizer(), RATE, MASKS)
    weights = task.encoder.base_model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in given.base_model.state_dict().items())
    frozen = {name for name, weight in task.named_parameters() if not weight.requires_grad}
    assert frozen and all("feature_extractor" in name for name in frozen)
    thawed = CTC(shape(start_from=str(tmp_path)), tokenizer(), RATE, CTCConfig(freeze_convolutions=False))
    assert all(weight.requires_grad for weight in thawed.parameters())
    assert all(weight.requires_grad for weight in CTC(shape(), tokenizer(), RATE, MASKS).parameters())
    task.save(tmp_path / "again")
    body = AutoModel.from_pretrained(tmp_path / "again")
    assert isinstance(body, Wav2Vec2Model)
    again = CTC(shape(start_from=str(tmp_path / "again")), tokenizer(), RATE, MASKS)  # a CTC model is a checkpoint too
    assert torch.equal(again.encoder.base_model.masked_spec_embed, task.encoder.base_model.masked_spec_embed)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is of type bert; this method needs one of wav2vec2 or hubert"):
        CTC(shape(start_from=str(tmp_path)), tokenizer(), RATE, MASKS)
    with pytest.raises(ValueError, match="cannot be loaded"):
        CTC(shape(start_from=str(tmp_path / "nothing")), tokenizer(), RATE, MASKS)
    build_model(shape(), "hubert").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"lacks encoder.layers.1.* and \d+ other weights"):
        CTC(shape(start_from=str(tmp_path)), tokenizer(), RATE, MASKS)


def test_frames_and_layers_are_those_of_the_encoder() -> None:
    task, batch = plain_task().eval(), utterances()
    layers = task.layers(batch["audio"], batch["lengths"])
    assert task.hop == 0.02 and list(layers) == ["conv", "layer 1"]
    scores = task.encoder.lm_head(layers["layer 1"])
    assert (scores - task.scores(batch["audio"], batch["lengths"])).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [({"masked": 1.0}, "task.masked is 1; it must be at least 0 and below 1"), ({"span": 0}, "task.span is 0")],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CTCConfig(**options)


def test_a_text_that_does_not_fit_is_infinite_and_not_zero() -> None:
    batch: Batch = utterances()
    batch["labels"] = torch.full((8, 40), 3)
    assert plain_task()(batch)["loss"] == torch.inf

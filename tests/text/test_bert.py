"""Masked language models against the stock classes' own losses."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer, PreTrainedModel, pipeline

from modalities.task import Batch
from modalities.text.backbones import ModelConfig
from modalities.text.bert import Bert
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import pack
from tests.text.examples_bert import LENGTH, model, paired, seeds, sentences, tokenizer

FAMILIES = ["bert", "roberta", "albert", "modernbert", "electra"]


def unpacked(rows: int = 6) -> Batch:
    """Rows of one document each, of several lengths."""
    texts = [" ".join(sentence.split()[: 3 + place % 5]) for place, sentence in enumerate(sentences(rows))]
    alone = [pack([text], tokenizer(), LENGTH)[0] for text in texts]
    return MaskedCollate(tokenizer(), MaskConfig(share=0.4))(alone, seeds(rows))


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def stock_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The stock class's `labels=`; ModernBERT's is in single precision whatever the logits are, so theirs are taken."""
    if model.config.model_type == "modernbert":
        return F.cross_entropy(model(**{**batch, "labels": None}).logits.flatten(0, 1), batch["labels"].flatten())
    loss: Tensor = model(**batch).loss
    return loss


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_the_stock_classs(family: str) -> None:
    torch.manual_seed(0)
    task, batch = Bert(model(family), tokenizer()).double(), unpacked()
    assert task.encoder.training
    out = task(batch)
    ours = gradients(task.encoder, out["loss"])
    theirs = stock_loss(task.encoder, batch)
    assert abs(out["loss"] - theirs) < 1e-12 and int(out["count"]) == int((batch["labels"] != -100).sum())
    assert furthest(ours, gradients(task.encoder, theirs)) < 1e-12
    blind = batch | {"attention_mask": torch.ones_like(batch["attention_mask"])}  # the broken twin looks at padding
    assert abs(out["loss"] - stock_loss(task.encoder, blind)) > 1e-6


@pytest.mark.parametrize(("family", "kind"), [("bert", "nsp"), ("albert", "sop")])
def test_loss_of_pairs_is_the_stock_classs(family: str, kind: str) -> None:
    torch.manual_seed(0)
    task, batch = Bert(model(family), tokenizer(), kind).double(), paired(kind)  # type: ignore[arg-type]
    out = task(batch)
    ours = gradients(task.encoder, out["loss"])
    given = dict(batch)
    given["next_sentence_label" if kind == "nsp" else "sentence_order_label"] = given.pop("pair_labels")
    theirs = task.encoder(**given).loss
    assert abs(out["loss"] - theirs) < 1e-12
    assert furthest(ours, gradients(task.encoder, task.encoder(**given).loss)) < 1e-12
    assert abs(out["masked_loss"] - theirs) > 1e-3  # without the pairs


def test_a_step_in_parts_is_the_step_as_a_whole() -> None:
    """Rows with unequal counts: only means over the global count add up."""
    torch.manual_seed(0)
    task, batch = Bert(model("bert"), tokenizer(), "nsp").double(), paired("nsp")
    batch["labels"][0] = -100
    batch["labels"][1, 3:] = -100
    whole = task(batch)
    parts = [task({name: value[part] for name, value in batch.items()}) for part in (slice(0, 3), slice(3, 8))]
    weights = torch.stack([part["count"] for part in parts]).double()
    losses = torch.stack([part["loss"] for part in parts])
    assert abs((losses @ weights) / weights.sum() - whole["loss"]) < 1e-12
    assert abs(losses.mean() - whole["loss"]) > 1e-4


def test_nothing_to_predict_is_no_accident() -> None:
    task, batch = Bert(model("bert"), tokenizer()), unpacked()
    batch["labels"] = torch.full_like(batch["labels"], -100)
    out = task(batch)
    out["loss"].backward()
    assert float(out["loss"].detach()) == 0 and int(out["count"]) == 0
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_saved_whole_for_the_stock_class(family: str, tmp_path: Path) -> None:
    task = Bert(model(family), tokenizer()).eval()
    task.save(tmp_path)
    stock, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokens = AutoTokenizer.from_pretrained(tmp_path)("the old cat", return_tensors="pt")
    tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        assert torch.equal(stock(**tokens).logits, task.encoder(**tokens).logits)
        features = task.encode(tokens)
    assert features.shape == (1, 16)


def test_fill_mask_and_pretraining_load(tmp_path: Path) -> None:
    task = Bert(model("bert"), tokenizer(), "nsp").eval()
    task.save(tmp_path)
    _, info = AutoModelForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    said = pipeline("fill-mask", model=str(tmp_path), tokenizer=str(tmp_path))("the old [MASK] sees the fox")
    assert len(said) == 5 and abs(sum(each["score"] for each in said)) <= 1


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"model.family is gpt2, .* choose bert or roberta or albert"):
        Bert(ModelConfig(family="gpt2"), tokenizer())
    with pytest.raises(ValueError, match=r"model.family is roberta, .* choose bert or albert\."):
        Bert(model("roberta"), tokenizer(), "nsp")


def test_a_checkpoint_is_refused_by_its_own_family(tmp_path: Path) -> None:
    Bert(model("roberta"), tokenizer()).save(tmp_path)
    start = ModelConfig(family="albert", length=LENGTH, start_from=str(tmp_path))
    with pytest.raises(ValueError, match=r"model.start_from '.*' is of family roberta, .* one of bert, albert\."):
        Bert(start, tokenizer(), "sop")
    assert Bert(start, tokenizer()).encoder.config.model_type == "roberta"  # which hidden tokens alone may have

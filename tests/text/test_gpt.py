"""GPT: its loss is the stock one of each document by itself, and what is saved speaks without this project."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from modalities.text.backbones import ModelConfig
from modalities.text.gpt import Gpt, next_tokens
from modalities.text.packing import packed_inputs
from objectives.predictive import IGNORE
from tests.text.examples_gpt import LENGTH, gpt, packed, stories, tokenizer
from trainers.hub.check import verify, write_check

FAMILIES = ["gpt2", "llama"]


def pieces(batch: dict[str, Tensor]) -> list[Tensor]:
    """The pieces of documents in packed rows, one by one."""
    return [
        ids[segments == number]
        for ids, segments in zip(batch["input_ids"], batch["segments"], strict=True)
        for number in range(1, int(segments.max()) + 1)
    ]


def stock(task: Gpt, documents: list[Tensor]) -> dict[str, Tensor]:
    """Loss and gradients of the stock class, a document at a time. (Its own `labels=` rounds to fp32.)"""
    task.zero_grad()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for ids in documents:
        if len(ids) > 1:
            logits = task.encoder(input_ids=ids[None], use_cache=False).logits[0, :-1]
            total, count = total + F.cross_entropy(logits, ids[1:], reduction="sum"), count + len(ids) - 1
    (total / count).backward()
    return {"loss": (total / count).detach()} | gradients(task)


def gradients(task: Gpt) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in task.named_parameters() if weight.grad is not None}


def ours(task: Gpt, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    task.zero_grad()
    out = task(batch)
    assert int(out["count"]) == sum(len(piece) - 1 for piece in pieces(batch))
    out["loss"].backward()
    return {"loss": out["loss"].detach()} | gradients(task)


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys() and len(left) > 10
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_give_the_stock_loss_and_gradients_of_each_by_itself(family: str) -> None:
    torch.manual_seed(0)
    task, batch = gpt(family).double(), packed()
    wanted = stock(task, pieces(batch))
    assert apart(ours(task, batch), wanted) < 1e-12
    first = pieces(batch)[0][None]
    labelled = task.encoder(input_ids=first, labels=first).loss
    assert abs(stock(task, [first[0]])["loss"] - labelled) < 1e-6
    rows = stock(task, list(batch["input_ids"]))  # broken twin: tokens see the document before theirs
    assert apart(rows, wanted) > 1e-3
    leaking = copy.deepcopy(batch) | {"segments": torch.ones_like(batch["segments"])}  # positions alone do not part
    task.zero_grad()
    assert abs(task(leaking)["loss"].item() - wanted["loss"]) > 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(family: str) -> None:
    torch.manual_seed(0)
    task, batch = gpt(family).double(), packed()
    padded = {name: F.pad(tensor[:, :-4], (0, 4)) for name, tensor in batch.items()}
    short = {name: tensor[:, :-4] for name, tensor in batch.items()}
    assert abs(task(padded)["loss"].item() - task(short)["loss"].item()) < 1e-12


def test_a_checkpoint_is_refused_by_its_own_family(tmp_path: Path) -> None:
    """Another causal model, of which packed rows do not know that it must not see what follows."""
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer()), intermediate_size=32, max_position_embeddings=LENGTH, **shape)
    other = Qwen2ForCausalLM(config)
    other.save_pretrained(tmp_path)
    start = ModelConfig(family="llama", length=LENGTH, start_from=str(tmp_path))
    with pytest.raises(ValueError, match=r"is of family qwen2, .* choose one of gpt2, llama"):
        Gpt(start, tokenizer())
    with pytest.raises(ValueError, match="family qwen2 cannot read packed rows"):
        packed_inputs(other, packed())
    gpt("gpt2").save(tmp_path)
    assert Gpt(start, tokenizer()).encoder.config.model_type == "gpt2"
    with pytest.raises(ValueError, match=r"model.family is bert, .* choose gpt2 or llama"):
        Gpt(ModelConfig(family="bert"), tokenizer())


def test_labels_are_the_next_tokens_of_the_same_document() -> None:
    batch = {
        "input_ids": torch.tensor([[1, 5, 2, 1, 6, 0]]),
        "segments": torch.tensor([[1, 1, 1, 2, 2, 0]]),
        "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0]]),
    }
    assert next_tokens(batch).tolist() == [[5, 2, IGNORE, 6, IGNORE, IGNORE]]


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_end_in_smaller_weights(family: str) -> None:
    torch.manual_seed(0)
    cfg = ModelConfig(family=family, width=64, layers=8, heads=2, feed_forward=128, length=LENGTH)  # type: ignore[arg-type]
    spread = {name: float(weight.std()) for name, weight in Gpt(cfg, tokenizer()).encoder.state_dict().items()}
    ends = [name for name in spread if name.endswith(("c_proj.weight", "o_proj.weight", "down_proj.weight"))]
    inner = [name for name in spread if name.endswith(("c_attn.weight", "q_proj.weight", "up_proj.weight"))]
    assert len(ends) == 16
    np.testing.assert_allclose([spread[name] for name in ends], 0.02 / 4, rtol=0.05)
    np.testing.assert_allclose([spread[name] for name in inner], 0.02, rtol=0.05)


def test_texts_begin_with_bos_and_go_on() -> None:
    made = tokenizer()
    ids = made("the cat sees it").input_ids
    assert ids[0] == made.bos_token_id and ids[-1] != made.eos_token_id and len(ids) == 5


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_speaks_without_this_project(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = gpt(family).eval()
    task.save(tmp_path / "model")
    inputs = {name: tensor[:2] for name, tensor in tokenizer()(stories(4), padding=True, return_tensors="pt").items()}
    inputs = {name: inputs[name][:, :LENGTH] for name in ("input_ids", "attention_mask")}
    if family == "gpt2":  # a process of its own takes a while
        write_check(tmp_path, task.export(), inputs, {"model": "AutoModelForCausalLM", "processor": "AutoTokenizer"})
        assert "logits" in verify(tmp_path).outputs

    model, reader = (kind.from_pretrained(tmp_path / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    prompt = reader("the cat", return_tensors="pt", return_token_type_ids=False)
    said = model.generate(**prompt, max_new_tokens=6, do_sample=False)
    task_said = task.export().generate(**prompt, max_new_tokens=6, do_sample=False)
    assert said.shape[1] > prompt["input_ids"].shape[1] and torch.equal(said, task_said)


def test_features_of_a_text_do_not_depend_on_its_padding() -> None:
    torch.manual_seed(0)
    task = gpt("gpt2").double().eval()
    ids, mask = torch.tensor([[2, 7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    whole = task.encode({"input_ids": ids, "attention_mask": mask})
    short = task.encode({"input_ids": ids[:, :3], "attention_mask": mask[:, :3]})
    torch.testing.assert_close(whole, short, rtol=0, atol=1e-12)

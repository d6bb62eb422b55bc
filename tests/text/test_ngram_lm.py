"""The neural n-gram model against a loop over its definition, and as it is saved."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from modalities.text.ngram_lm import NgramLm, NgramLmConfig
from tests.text.examples_gpt import ngram, packed, stories, tokenizer
from tests.text.test_gpt import pieces
from trainers.hub.check import verify, write_check


def definition(task: NgramLm, documents: list[Tensor], reach: int) -> Tensor:
    """Mean cross-entropy of b + W x + U tanh(d + H x), a token at a time; reach: tokens that are read."""
    net, losses = task.encoder, []
    for ids in documents:
        for place in range(1, len(ids)):
            seen = [int(token) for token in ids[max(0, place - reach) : place]]
            seen = [net.config.pad_token_id] * (net.config.context - len(seen)) + seen
            x = torch.cat([net.embedding.weight[token] for token in seen])
            h = torch.tanh(net.hidden.bias + net.hidden.weight @ x)
            width = len(h)
            logits = net.head.bias + net.head.weight[:, :width] @ h
            if net.config.direct:
                logits = logits + net.head.weight[:, width:] @ x
            losses.append(F.cross_entropy(logits[None], ids[place : place + 1]))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("direct", [True, False])
def test_the_loss_is_the_definition(direct: bool) -> None:
    torch.manual_seed(0)
    task, batch = ngram(direct).double(), packed()
    wanted = definition(task, pieces(batch), 3)
    out = task(batch)
    assert abs(out["loss"] - wanted) < 1e-12 and int(out["count"]) == sum(len(p) - 1 for p in pieces(batch))
    assert abs(definition(task, pieces(batch), 2) - wanted) > 1e-4  # broken twins: one token less, and no borders
    assert abs(definition(task, list(batch["input_ids"]), 3) - wanted) > 1e-4


def test_what_is_saved_speaks_without_this_project(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = ngram().eval()
    task.save(tmp_path / "model")
    inputs = tokenizer()(stories(4), padding=True, return_tensors="pt")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    write_check(tmp_path, task.export(), inputs, {"model": "AutoModelForCausalLM", "processor": "AutoTokenizer"})
    assert verify(tmp_path).outputs == ("logits",)

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", trust_remote_code=True)
    reader = AutoTokenizer.from_pretrained(tmp_path / "model", trust_remote_code=True)
    prompt = reader("the cat", return_tensors="pt", return_token_type_ids=False)
    said = model.generate(**prompt, max_new_tokens=6, do_sample=False)[0]
    step = prompt["input_ids"][0]
    while len(step) < len(said):
        step = torch.cat([step, task.export()(step[None]).logits[0, -1:].argmax(-1)])
    assert torch.equal(said, step) and len(step) > prompt["input_ids"].shape[1]


def test_features_of_a_text_do_not_depend_on_its_padding() -> None:
    torch.manual_seed(0)
    task = ngram().double().eval()
    ids, mask = torch.tensor([[2, 7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    whole = task.encode({"input_ids": ids, "attention_mask": mask})
    short = task.encode({"input_ids": ids[:, :3], "attention_mask": mask[:, :3]})
    assert whole.shape == (1, 16)
    torch.testing.assert_close(whole, short, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("options", "words"), [({"order": 1}, "ngram.order is 1"), ({"width": 0}, "ngram.width is 0")])
def test_shapes_that_cannot_be_are_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NgramLmConfig(**options)

"""Stock models of every family: their shape, what is trained of them, and checkpoints to start from."""

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from modalities.text.backbones import Family, build_config, build_model, longest_text, masked_lm_head
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from tests.text.examples_bert import LENGTH, model, sentences, tokenizer

FAMILIES = get_args(Family)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_trained_weight_is_reached_by_the_mean_over_tokens(family: str) -> None:
    net = build_model(model(family), tokenizer()).train()
    batch = tokenizer()(sentences(2), return_tensors="pt")
    net(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state.mean().backward()
    assert [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
    config = build_config(model(family), tokenizer())
    assert config.pad_token_id == tokenizer().pad_token_id and config.vocab_size == len(tokenizer())
    assert longest_text(config) == LENGTH


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_length_can_be_read(family: str) -> None:
    net = build_model(model(family), tokenizer()).eval()
    ids = torch.full((1, LENGTH), tokenizer().convert_tokens_to_ids("cat"))
    assert torch.isfinite(net(input_ids=ids).last_hidden_state).all()


def test_a_checkpoint_is_taken_up(tmp_path: Path) -> None:
    first = build_model(model("bert"), tokenizer(), AutoModelForMaskedLM)
    first.save_pretrained(tmp_path)
    again = build_model(
        dataclasses.replace(model("roberta"), start_from=str(tmp_path)), tokenizer(), AutoModelForMaskedLM
    )
    assert again.training and again.config.model_type == "bert"
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    body = build_model(dataclasses.replace(model("bert"), start_from=str(tmp_path)), tokenizer())
    assert not any(p.requires_grad for p in body.pooler.parameters())


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    build_model(model("bert"), tokenizer(), AutoModelForMaskedLM).save_pretrained(tmp_path)
    start = dataclasses.replace(model("bert"), start_from=str(tmp_path))
    with pytest.raises(ValueError, match=r"model.length 25 is more than the 24 tokens"):
        build_model(dataclasses.replace(start, length=LENGTH + 1), tokenizer(), AutoModelForMaskedLM)
    larger = build_tokenizer(
        TokenizerConfig(vocabulary=140), [*sentences(50), "quick brown zebras jump over hills"], 24
    )
    assert len(larger) > len(tokenizer())
    with pytest.raises(ValueError, match="take the tokenizer of the checkpoint"):
        build_model(start, larger, AutoModelForMaskedLM)
    with pytest.raises(ValueError, match=r"model.start_from '.*nowhere' cannot be loaded"):
        build_model(dataclasses.replace(start, start_from=str(tmp_path / "nowhere")), tokenizer(), AutoModel)


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    net = build_model(model("bert"), tokenizer())
    net.config.save_pretrained(tmp_path)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    start = dataclasses.replace(model("bert"), start_from=str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot be loaded: .*safetensors") as error:
        build_model(start, tokenizer())
    assert "\n" not in str(error.value)
    net.save_pretrained(tmp_path)
    assert torch.equal(
        build_model(start, tokenizer()).embeddings.word_embeddings.weight, net.get_input_embeddings().weight
    )


def test_no_head_of_a_causal_model() -> None:
    with pytest.raises(ValueError, match="gpt2 is no masked language model"):
        masked_lm_head(build_model(model("gpt2"), tokenizer()))


@pytest.mark.parametrize(
    ("options", "word"),
    [({"width": 0}, "model.width"), ({"heads": 3}, "multiple"), ({"dropout": 1.0}, "model.dropout")],
)
def test_shapes_that_cannot_work(options: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        dataclasses.replace(model("bert"), **options)  # type: ignore[arg-type]

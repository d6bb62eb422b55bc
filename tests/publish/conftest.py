"""A finished run's output folder: a tiny CLIP with a tokenizer trained here, its check, card and picture."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.trainers import WordLevelTrainer
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

from trainers.hub import check, reload
from trainers.hub.card import DataSource, model_card
from trainers.hub.check import write_check

from .fake_hub import FakeHub

CANARY = "hf_" + "canary7" * 5
CLASSES = {"model": "CLIPModel", "processor": "CLIPProcessor"}
WORDS = ["a red square", "a blue circle", "two green leaves", "one yellow star"]


def tiny_clip() -> tuple[CLIPModel, CLIPProcessor]:
    """A CLIPModel of some ten thousand parameters, and a processor that fits it."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    tokenizer.train_from_iterator(WORDS, WordLevelTrainer(special_tokens=special))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    )
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = CLIPConfig(
        text_config={**size, **ids, "vocab_size": len(fast), "max_position_embeddings": 8},
        vision_config={**size, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(1)
    edge = {"height": 16, "width": 16}
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=edge)
    return CLIPModel(config).eval(), CLIPProcessor(image_processor=images, tokenizer=fast)


@pytest.fixture(scope="session")
def clip_inputs() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[4, 5, 3, 0], [6, 7, 8, 3]])
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)),
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, clip_inputs: dict[str, torch.Tensor]) -> Path:
    """Do not write into this folder; take `run` for that."""
    folder = tmp_path_factory.mktemp("finished")
    model, processor = tiny_clip()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    write_check(folder, model, clip_inputs, CLASSES)
    (folder / "plots").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "plots/loss.png")
    card = model_card(
        title="Tiny CLIP",
        summary="CLIP (arXiv 2103.00020) on four captions.",
        licence="cc-by-sa-4.0",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip"],
        load='CLIPModel.from_pretrained("user/tiny")',
        data=[DataSource("captions", "CC0-1.0", "written for this test")],
        results="| method | R@1 |\n|---|---|\n| CLIP | 0.5 |",
        limits="Knows four captions.",
        pictures={"plots/loss.png": "Loss"},
    )
    (folder / "README.md").write_text(card)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, free to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `verify` call the helper program's function in this process, which saves seconds."""

    def answer(program: Path, question: dict, environment: dict, *, seconds: float) -> dict:
        arguments = {name: value for name, value in question.items() if name != "refuse"}
        return json.loads(json.dumps(reload.repeat_check(**arguments)))

    monkeypatch.setattr(check, "run_isolated", answer)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A fake Hub, with the environment of processes started by the test pointing at it."""
    with FakeHub(CANARY) as fake:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        for name, value in fake.environment(os.fspath(tmp_path / "hub-home")).items():
            monkeypatch.setenv(name, value)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        yield fake

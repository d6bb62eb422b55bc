"""What the documents tell people to type is true."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from recipes import (
    architectures,
    audio_tasks,
    audio_text,
    bert,
    clip,
    code_text,
    compare,
    electra,
    finetune_audio,
    finetune_text,
    gpt,
    joint_tasks,
    ngram_lm,
    pretext_tasks,
    sentences_tasks,
    shortcuts,
    side_by_side,
    two_translations,
    word_vectors,
)
from recipes.run import read_options

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(
    r"^(?:accelerate launch .*?|python )recipes/(\w+)\.py ?(.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE
)
PRESETS: dict[str, Mapping[str, Any]] = {
    "clip": {"laptop": clip.LAPTOP, "paper": clip.PAPER},
    "pretext": pretext_tasks.PRESETS,
    "joint_embedding": joint_tasks.PRESETS,
    "compare": {"laptop": compare.CompareConfig()},
    "side_by_side": {"laptop": side_by_side.Options()},
    "shortcuts": {"laptop": shortcuts.ShortcutConfig()},
    "architectures": {"laptop": architectures.StudyConfig()},
    "word_vectors": word_vectors.PRESETS,
    "two_translations": two_translations.PRESETS,
    "ngram_lm": ngram_lm.PRESETS,
    "gpt": gpt.PRESETS,
    "bert": bert.PRESETS,
    "electra": electra.PRESETS,
    "sentences": sentences_tasks.PRESETS,
    "code_text": code_text.PRESETS,
    "finetune_text": finetune_text.PRESETS,
    "audio": audio_tasks.PRESETS,
    "audio_text": audio_text.PRESETS,
    "finetune_audio": finetune_audio.PRESETS,
}


@pytest.mark.parametrize(("recipe", "words"), COMMANDS)
def test_the_options_in_the_readme_exist(recipe: str, words: str) -> None:
    presets = PRESETS[recipe]
    if "--help" not in words:
        assert read_options(presets, "", shlex.split(words))
    with pytest.raises(SystemExit):
        read_options(presets, "", [*shlex.split(words), "--no-such-option"])


def test_the_readme_names_files_that_are_there() -> None:
    for name in re.findall(r"`((?:modalities|configs|docs|trainers|recipes)/[\w/.]+\.\w+)`|\]\(([\w/.]+)\)", README):
        assert (ROOT / (name[0] or name[1])).exists(), name


def test_the_method_in_the_contributing_guide_works() -> None:
    source = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[0]
    scope: dict[str, object] = {"__name__": "example"}
    exec(compile(source, "CONTRIBUTING.md", "exec"), scope)
    torch.manual_seed(0)
    encoder = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))
    task = scope["SimCLR"](encoder, width=16)  # type: ignore[operator]
    batch = {name: torch.randn(6, 3, 32, 32) for name in ("first", "second")}
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = task(batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2 and task.encode(batch).shape == (12, 16)

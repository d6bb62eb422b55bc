"""What the documents tell people to type is true."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from recipes import clip
from recipes.run import read_options

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^accelerate launch .*?recipes/clip\.py ?(.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS)
def test_the_options_in_the_readme_exist(words: str) -> None:
    presets = {"laptop": clip.LAPTOP, "paper": clip.PAPER}
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

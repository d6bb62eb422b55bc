"""The studies at toy size, on a folder of images made here, and finished runs side by side."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel

from modalities.draws import mix
from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.counting import Counting
from modalities.vision.sources import load
from recipes import architectures, pretext, shortcuts, side_by_side
from recipes.pretext_tasks import PRESETS, build_collate
from recipes.vision_config import EvalConfig, ProbeConfig
from tests.recipes.shapes import draw_folder
from trainers.config import TrainConfig

RESNET = ModelConfig(width=8, image_size=64)
VIT = ModelConfig(kind="vit", width=32, depth=1, heads=2, image_size=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = draw_folder(tmp_path_factory.mktemp("studies") / "shapes", 64)
    return DataConfig(source=str(folder), label_column="colour", held_out=16)


def short(out: Path, steps: int = 2) -> TrainConfig:
    return TrainConfig(out=out, batch_size=8, steps=steps, save_every=3, tracker="none")


@pytest.fixture(scope="module")
def finished(data: DataConfig) -> Path:
    """A pretext run of 6 steps, with checkpoints of steps 3 and 6."""
    out = Path(data.source).parent / "rotation"
    few = EvalConfig(seeds=0, classic=False, supervised_epochs=0)
    pretext.main(replace(PRESETS["rotation"], data=data, model=RESNET, train=short(out, 6), eval=few))
    return out


def test_the_architecture_study(data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "ENCODERS", {"resnet": RESNET, "vit": VIT})
    config = architectures.StudyConfig(
        tasks="rotation,mae", encoders="resnet,vit", data=data, train=short(tmp_path), eval=ProbeConfig(seeds=1)
    )
    architectures.main(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["metrics"]) == {"resnet", "vit"}  # as they start
    assert set(results["baselines"]["rotation"]) == {"resnet", "vit"} and set(results["baselines"]["mae"]) == {"vit"}
    with Image.open(tmp_path / "grid.png") as image:
        assert min(image.size) > 150


def test_the_shortcut_study(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shortcuts, "PRESETS", {name: replace(each, model=RESNET) for name, each in PRESETS.items()})
    config = shortcuts.ShortcutConfig(
        tasks="rotation,jigsaw", data=data, train=short(tmp_path), eval=ProbeConfig(seeds=2)
    )
    shortcuts.main(config)
    results = json.loads((tmp_path / "results.json").read_text())
    both = [f"rotation, guarded ({shortcuts.GUARDS['rotation'][0]})", "rotation, unguarded"]
    both += [f"jigsaw, guarded ({shortcuts.GUARDS['jigsaw'][0]})", "jigsaw, unguarded"]
    assert list(results["baselines"]) == both
    assert "held_out_accuracy" not in results["metrics"] and len(results["metrics"]["probe"]) == 2  # as they start
    for row in results["baselines"].values():
        assert {"held_out_accuracy", "held_out_loss", "knn", "probe", "best_probe"} <= row.keys()
    first, second = (results["baselines"][name]["held_out_loss"] for name in both[2:])
    assert first != second  # the guards make a difference
    said = capsys.readouterr().out
    assert "random initialisation (resnet)" in said and "frozen features of the last layer" in said.replace("\n", " ")
    shortcuts.main(replace(config, tasks="rotation", runs=2, eval=ProbeConfig(seeds=0)))
    again = json.loads((tmp_path / "results.json").read_text())
    old, new = (found["baselines"][both[0]]["held_out_loss"] for found in (results, again))
    assert again["metrics"] == {} and new[0] == old[0] != new[1]  # the first was there, the second has another seed


@pytest.mark.parametrize("name", shortcuts.GUARDS)
def test_guards_go_down(name: str, data: DataConfig) -> None:
    config = shortcuts.ShortcutConfig(data=data)
    up, down = (shortcuts.cell(config, name, guarded, 7) for guarded in (True, False))
    assert (up.task, up.views, up.model) == (PRESETS[name].task, PRESETS[name].views, PRESETS[name].model)
    assert up.train.seed == down.train.seed == 7 and up.train.out != down.train.out
    images = load(data)
    batch = build_collate(up, images)([images.train[i] for i in range(8)], mix(np.arange(8, dtype=np.uint64)))
    losses = []
    for options, guarded in ((up, True), (up, True), (down, False)):
        torch.manual_seed(0)
        task = shortcuts.build(options, guarded, images)
        if isinstance(task, Counting):  # its guard is against counting nothing
            torch.nn.init.zeros_(task.head[2].weight)
        losses.append(task(batch)["loss"].item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("study", [architectures, shortcuts])
def test_what_a_study_cannot_do_is_said(study: object, data: DataConfig, tmp_path: Path) -> None:
    kind = architectures.StudyConfig if study is architectures else shortcuts.ShortcutConfig
    config = kind(data=data, train=short(tmp_path))
    with pytest.raises(ValueError, match=r"--tasks asks for rotate; choose from rotation, relative-patch"):
        study.main(replace(config, tasks="rotate,jigsaw"))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"no labels of two classes or more \(see data\.label_column\)"):
        study.main(replace(config, data=replace(data, label_column="")))  # type: ignore[attr-defined]


def test_runs_side_by_side(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    column = np.zeros((2, 4, 4, 3))
    near = column + 1e-4  # less than a byte's step
    sheets = {"a": {"view": column, "guess": ["x", "y"]}, "b": {"view": near, "guess": ["x", "z"]}}
    assert list(side_by_side.merged(sheets)) == ["view", "guess, a", "guess, b"]
    sheets["b"]["view"] = column + 0.1
    assert list(side_by_side.merged(sheets)) == ["view, a", "guess, a", "view, b", "guess, b"]
    config = side_by_side.options_of("rotation", finished)
    images = load(config.data)
    task = side_by_side.restore(config, images)
    saved = AutoModel.from_pretrained(finished / "model")
    assert all(torch.equal(task.encoder.state_dict()[key], value) for key, value in saved.state_dict().items())
    with pytest.raises(ValueError, match="trained on other data"):
        side_by_side.restore(config, replace(images, fingerprint="another"))
    twice = f"rotation={finished},rotation={shutil.copytree(finished, tmp_path / 'again')}"
    side_by_side.main(side_by_side.Options(runs=twice, out=tmp_path / "both.png"))  # two runs of one preset
    assert list(side_by_side.named(twice)) == [str(finished), str(tmp_path / "again")]
    with Image.open(tmp_path / "both.png") as image:
        assert min(image.size) > 150 and str(tmp_path / "both.png") in capsys.readouterr().out


def unfinished(run: Path) -> None:
    shutil.rmtree(run / "checkpoints/step-00000006")


def damaged(run: Path) -> None:
    (run / "checkpoints/step-00000006/task.safetensors").write_bytes(b"torn")


def empty(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


@pytest.mark.parametrize(
    ("preset", "harm", "words"),
    [
        ("rotation", unfinished, "stopped at step 3 of 6"),
        ("rotation", damaged, "is damaged: task.safetensors"),
        ("rotation", empty, r"holds no run; make one with recipes/pretext.py rotation"),
        ("mae", lambda run: None, "holds a run of Rotation, not of mae"),
    ],
)
def test_only_whole_runs_are_drawn(
    preset: str, harm: Callable[[Path], None], words: str, finished: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    harm(run)
    with pytest.raises(ValueError, match=words):
        side_by_side.main(side_by_side.Options(runs=f"rotation={finished},{preset}={run}", out=tmp_path / "drawn.png"))
    assert not (tmp_path / "drawn.png").exists()


@pytest.mark.parametrize("runs", ["", "rotation=a", "rotation=a,rotation=a", "rotation=a,b", "rotation=a,mae="])
def test_two_runs_must_be_named(runs: str) -> None:
    with pytest.raises(ValueError, match="two different runs or more"):
        side_by_side.named(runs)
    with pytest.raises(ValueError, match="names turning, and the presets are rotation"):
        side_by_side.named("rotation=a,turning=b")

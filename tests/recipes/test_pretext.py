"""The pretext recipe from options to a model card, on a folder of images made here."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

from modalities.draws import mix
from modalities.vision.backbones import ModelConfig
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes import architectures, pretext, side_by_side
from recipes.pretext_card import illustration
from recipes.pretext_measure import EvalConfig, held_out, labelled
from recipes.pretext_tasks import PRESETS, Config, asked_of, build_collate, build_task, guessing, prepare
from recipes.run import read_options
from tests.recipes.shapes import draw_folder
from tests.world import run_in_world
from trainers.config import TrainConfig
from trainers.hub.check import verify

SHAPES = {"resnet": {"width": 8}, "convnext": {"width": 8}, "vit": {"width": 32, "depth": 1, "heads": 2}}


def tiny(name: str, source: Path, out: Path) -> Config:
    """A preset at toy size."""
    default = PRESETS[name]
    shape = ModelConfig(kind=default.model.kind, image_size=64, **SHAPES[default.model.kind])
    return replace(
        default,
        data=DataConfig(source=str(source), label_column="colour", held_out=16, side=default.views.side),
        model=shape,
        train=TrainConfig(out=out, batch_size=8, steps=6, lr=2e-3, log_every=2, evaluate_every=3, tracker="none"),
        eval=EvalConfig(seeds=2, supervised_epochs=1.0, fractions="0.25,1" if name == "rotation" else ""),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pretext") / "shapes", 64)


@pytest.fixture(scope="module")
def finished(source: Path) -> Path:
    out = source.parent / "rotation"
    pretext.main(tiny("rotation", source, out))
    return out


def check_folder(out: Path) -> dict[str, Any]:
    """What every run must leave; its results."""
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    card = (out / "README.md").read_text()
    for picture in ("pretext.png", "neighbours.png", "saliency.png", "loss.png"):
        with Image.open(out / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert "trained without labels on 48 images by " in card and "AutoModel" in card and "random initialisation" in card
    assert {"knn", "probe", "best_probe", "tuned", "held_out_loss"} <= results["metrics"].keys()
    return results


def test_leaves_a_table_and_everything_promised(finished: Path) -> None:
    results = check_folder(finished)
    baselines = results["baselines"]
    assert set(baselines) == {"random initialisation", "raw pixels", "HOG and colour histograms", "supervised"}
    assert len(baselines["random initialisation"]["probe"]) == 2
    names = ("knn", "probe", "best_probe", "tuned", "held_out_accuracy")
    assert all(0 <= results["metrics"][name] <= 1 for name in names)
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval/accuracy" in line] == [3, 6]
    assert lines[-1]["eval/loss"] == results["metrics"]["held_out_loss"]  # the same views each time
    card = (finished / "README.md").read_text()
    assert "12 labels" in card and "48 labels" in card and "labels.png" in card


def test_stock_classes_load_it(finished: Path) -> None:
    model, processor = (
        AutoModel.from_pretrained(finished / "model"),
        AutoImageProcessor.from_pretrained(finished / "model"),
    )
    pixels = processor(Image.new("L", (90, 70)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 64, 64) and model(pixels).last_hidden_state.shape[1] == 64


def test_columns_without_numbers_are_left_out(finished: Path, source: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "again"))
    config = tiny("rotation", source, out)
    pretext.main(replace(config, eval=EvalConfig(seeds=0, classic=False, supervised_epochs=0)))
    card = (out / "README.md").read_text()
    assert "|  | pretext accuracy | kNN | linear probe | probe of best layer |\n" in card
    assert "random initialisation" not in card and "supervised |" not in card
    assert (out / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()  # nothing was trained
    with pytest.raises(ValueError, match=r"task\.turns was 4 and is 2"):
        pretext.main(replace(config, task=replace(config.task, turns=2)))  # type: ignore[type-var]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_built_and_takes_a_step(name: str, source: Path) -> None:
    config = tiny(name, source, source.parent / "unused")
    data = load(config.data)
    torch.manual_seed(0)
    task = build_task(config, data)
    prepare(task, config, data)
    collate, rows = build_collate(config, data), asked_of(config, data)
    out = task(collate([data.train[i] for i in range(8)], mix(np.arange(8, dtype=np.uint64))))
    assert all(value.isfinite() and value.shape == () for value in out.values())
    if (chance := guessing(config, data)) is not None:
        assert abs(out["loss"].item() - chance) < 0.25 * chance
    out["loss"].backward()
    columns = illustration(task.eval(), rows, collate, 3)
    assert len(columns) > 1 and all(len(column) == 3 for column in columns.values())
    assert all(isinstance(c, list) or (c.shape[3] == 3 and np.isfinite(c).all()) for c in columns.values())


def scores_of(name: str, source: Path, drawn: Callable[[Any], Any] = lambda seeds: seeds) -> dict[str, float]:
    """Held-out metrics of a task as it starts; `drawn` may disturb the seeds."""
    config = tiny(name, source, source.parent / "unused")
    data = load(config.data)
    torch.manual_seed(0)
    task = build_task(config, data).eval()
    collate = build_collate(config, data)
    return held_out(task, lambda rows, seeds: collate(rows, drawn(seeds)), data.test, 8, Accelerator(cpu=True))


def test_held_out_images_are_asked_the_same_each_time(source: Path) -> None:
    first = scores_of("rotation", source)
    assert first == scores_of("rotation", source) and {"loss", "accuracy"} <= first.keys()
    assert first["loss"] != scores_of("rotation", source, lambda seeds: mix(seeds))["loss"]  # the broken twin


@pytest.mark.slow
def test_two_processes_ask_as_one_does(source: Path) -> None:
    alone = scores_of("counting", source)  # a coupled task: its loss compares rows
    for found in run_in_world(scores_of, "counting", source, timeout=120.0):
        assert found.keys() == alone.keys()
        assert all(found[key] == pytest.approx(alone[key], rel=1e-5) for key in alone)
        halves = scores_of("counting", source, lambda seeds: seeds[::-1].copy())  # the broken twin: other views
        assert abs(halves["loss"] - alone["loss"]) > 1e-4


def test_labels_are_optional(source: Path) -> None:
    data = load(replace(tiny("rotation", source, source).data, label_column=""))
    assert labelled(data, EvalConfig()) is None
    known = labelled(load(tiny("rotation", source, source).data), EvalConfig(rows=20))
    assert known is not None and len(known.train) == len(known.train_labels) == 20 and len(known.labels) == 16


def test_options_read_well_and_typos_are_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_options(PRESETS, "", []).task == PRESETS["rotation"].task
    jigsaw = read_options(PRESETS, "", ["jigsaw", "--task.permutations", "30", "--train.lr", "3e-4"])
    assert jigsaw.task.permutations == 30 and jigsaw.train.lr == 3e-4 and jigsaw.views == PRESETS["jigsaw"].views
    assert read_options(PRESETS, "", ["relative_patch"]) == PRESETS["relative-patch"]
    with pytest.raises(ValueError, match=r"no preset 'rotatoin'; did you mean rotation\?"):
        read_options(PRESETS, "", ["rotatoin"])
    with pytest.raises(ValueError, match="no preset 'xyz'; choose one of rotation, relative-patch"):
        read_options(PRESETS, "", ["xyz"])
    with pytest.raises(SystemExit):
        read_options(PRESETS, "", ["rotation", "--task.permutations", "30"])
    assert "--task.permutations" in capsys.readouterr().err
    for wrong in ("0.1,2", "a"):
        with pytest.raises(ValueError, match=r"eval\.fractions"):
            EvalConfig(fractions=wrong)


def test_the_architecture_study(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ModelConfig(kind="resnet", width=8, image_size=64)
    encoders = {"resnet": small, "vit": ModelConfig(kind="vit", image_size=64, **SHAPES["vit"])}
    monkeypatch.setattr(architectures, "ENCODERS", encoders)
    config = architectures.StudyConfig(
        tasks="rotation,mae",
        encoders="resnet,vit",
        data=tiny("rotation", source, source).data,
        train=TrainConfig(out=tmp_path, batch_size=8, steps=2, tracker="none"),
        eval=EvalConfig(seeds=1),
    )
    architectures.main(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["baselines"]["rotation"]) == {"resnet", "vit"} and set(results["baselines"]["mae"]) == {"vit"}
    with Image.open(tmp_path / "grid.png") as image:
        assert min(image.size) > 150
    with pytest.raises(ValueError, match=r"--tasks asks for rotate; choose from rotation, relative-patch"):
        architectures.main(replace(config, tasks="rotate,mae"))


def test_runs_side_by_side(finished: Path, tmp_path: Path) -> None:
    column = np.zeros((2, 4, 4, 3))
    sheets = {"a": {"view": column, "guess": ["x", "y"]}, "b": {"view": column.copy(), "guess": ["x", "z"]}}
    assert list(side_by_side.merged(sheets)) == ["view", "guess, a", "guess, b"]
    config = side_by_side.options_of("rotation", finished)
    data = load(config.data)
    task = side_by_side.restore(build_task(config, data), finished)
    saved = AutoModel.from_pretrained(finished / "model")
    assert all(torch.equal(task.encoder.state_dict()[key], value) for key, value in saved.state_dict().items())
    with pytest.raises(ValueError, match="holds no run; make one"):
        side_by_side.main(side_by_side.Options(runs=f"rotation={finished},mae={tmp_path}"))
    with pytest.raises(ValueError, match="two presets or more"):
        side_by_side.main(side_by_side.Options(runs=f"rotation={finished}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRESETS])
def test_every_preset_from_options_to_card(name: str, source: Path, tmp_path: Path) -> None:
    pretext.main(tiny(name, source, tmp_path))
    check_folder(tmp_path)
    assert verify(tmp_path).difference <= 1e-5  # in a fresh process that cannot import the project

"""The pretext recipe from options to a model card, on a folder of images made here."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

from modalities.draws import mix
from modalities.vision.backbones import ModelConfig, build_encoder
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes import pretext, vision_measure
from recipes.held_out import count_asked, held_out
from recipes.pretext_tasks import (
    PRESETS,
    Config,
    asked_of,
    build_collate,
    build_task,
    described,
    guessing,
    prepare,
    untrained,
)
from recipes.run import read_options
from recipes.vision_config import EvalConfig
from recipes.vision_labels import batch_of, learn_labels
from recipes.vision_measure import Labelled, evenly, labelled, measure
from recipes.vision_pictures import illustration
from tests.recipes.shapes import draw_folder
from tests.trainers.toys import metrics_of
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
    config = tiny("rotation", source, out)
    pretext.main(replace(config, train=replace(config.train, resume="never")))  # all labels are trained on twice
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
    with pytest.raises(ValueError, match="side was 64 and is 80"):  # pictures count through their ids
        pretext.main(replace(config, data=replace(config.data, side=80)))


def test_a_run_from_a_checkpoint(finished: Path, source: Path, tmp_path: Path) -> None:
    config = tiny("rotation", source, tmp_path / "out")
    config = replace(
        config,
        model=replace(config.model, start_from=str(finished / "model")),
        train=replace(config.train, steps=1, evaluate_every=0),
        eval=EvalConfig(seeds=2, classic=False, supervised_epochs=0),
    )
    pretext.main(config)
    found, earlier = (json.loads((out / "results.json").read_text()) for out in (tmp_path / "out", finished))
    assert set(found["baselines"]) == {"before training", "random initialisation"}
    trained = {key: earlier["metrics"][key] for key in ("knn", "probe", "best_probe")}
    assert trained.items() <= found["baselines"]["before training"].items()
    data = load(config.data)
    learnt = AutoModel.from_pretrained(finished / "model").state_dict()
    one, other = (untrained(config, data)["random initialisation"]().state_dict() for _ in range(2))
    kernel = "embedder.embedder.convolution.weight"
    assert (
        one.keys() == learnt.keys() and not one[kernel].equal(other[kernel]) and not one[kernel].equal(learnt[kernel])
    )
    given = build_task(config, data).export().state_dict()  # the broken twin: what was learnt is still there
    assert given[kernel].equal(learnt[kernel])
    vit = build_encoder(replace(PRESETS["mae"].model, image_size=32))
    vit.save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match=r"model\.image[-_]size"):
        pretext.main(replace(config, model=replace(config.model, start_from=str(tmp_path / "vit"))))


def test_new_weights_of_a_vit_keep_what_is_fixed(source: Path, tmp_path: Path) -> None:
    config = tiny("mae", source, tmp_path)
    data = load(config.data)
    task = build_task(config, data)
    task.save(tmp_path / "saved")
    config = replace(config, model=replace(config.model, start_from=str(tmp_path / "saved" / "pretraining")))
    learnt, drawn = task.export(), untrained(config, data)["random initialisation"]()
    positions = [model.embeddings.position_embeddings for model in (learnt, drawn)]
    assert torch.equal(*positions) and positions[0].std() > 0.1
    assert not torch.equal(learnt.embeddings.cls_token, drawn.embeddings.cls_token)


def test_what_starts_elsewhere_is_trained_anew(source: Path, tmp_path: Path) -> None:
    config = tiny("rotation", source, tmp_path / "shared")
    data = load(config.data)
    known = labelled(data, config.eval)
    assert known is not None
    torch.manual_seed(0)
    one, other = (build_task(config, data).export() for _ in range(2))
    alone = replace(config, train=replace(config.train, out=tmp_path / "alone"))
    for encoder, options in ((one, config), (other, config), (one, config), (other, alone)):
        learn_labels(encoder, "fine-tuned", known, data, options, Accelerator(cpu=True))
    logs = {path.name: metrics_of(path) for path in tmp_path.glob("shared/fine-tuned/*")}
    (wanted,) = tmp_path.glob("alone/fine-tuned/*")
    assert len(logs) == 2 and logs.pop(wanted.name) == metrics_of(wanted)
    assert metrics_of(wanted) not in logs.values()  # the broken twin: the run from the other encoder


def test_batches_of_labels_divide_among_processes() -> None:
    for processes in (1, 2, 3, 5, 6, 100, 200):
        for rows in (processes, processes + 1, 1000):
            batch = batch_of(rows, processes)
            assert TrainConfig(batch_size=batch).share(processes) >= 1 and batch <= rows
    assert batch_of(1000, 1) == 128 and batch_of(1000, 3) == 126 and batch_of(50, 4) == 48


def test_a_picture_that_cannot_be_read_is_left_out(source: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "shapes"))
    config = tiny("rotation", folder, tmp_path / "out")
    config = replace(config, data=replace(config.data, check_images=0, max_bad=0.2))
    for row in load(config.data).train.select([0, 1]):
        Path(row["image"]).write_bytes(Path(row["image"]).read_bytes()[:60])
    known = labelled(load(config.data), config.eval)
    assert known is not None and known.unreadable == 2 and len(known.train) == 46
    steps = replace(config.train, steps=1, evaluate_every=0)
    pretext.main(replace(config, train=steps, eval=EvalConfig(seeds=1, classic=True, supervised_epochs=1.0)))
    assert "2 more could not be decoded" in (tmp_path / "out" / "README.md").read_text()


def test_rows_are_spread_and_counted(source: Path) -> None:
    config = tiny("exemplar", source, source)
    data = load(config.data)
    asked = asked_of(config, data)
    assert len(asked) == 16 and asked.ids[0] == data.train.ids[0] and asked.ids[-1] == data.train.ids[-1]
    assert described(config) == "training images" and described(tiny("rotation", source, source)) == "held-out images"
    assert evenly(data.train, 1000).ids.tolist() == data.train.ids.tolist() and len(evenly(data.train, 0)) == 0
    assert count_asked(asked, 6, 2) == 12 and count_asked(asked, 7, 2) == 12 and count_asked(asked, 64, 3) == 15
    assert count_asked(asked, 1, 2) == 0
    with pytest.raises(ValueError, match=r"task\.classes is 5, but there are 48 training images"):
        build_task(replace(config, task=replace(config.task, classes=5)), data)  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"no held-out images to measure on; raise data\.held_out"):
        pretext.main(tiny_without_tests(source))


def tiny_without_tests(source: Path) -> Config:
    config = tiny("rotation", source, source.parent / "no_tests")
    return replace(config, data=replace(config.data, held_out=0))


def test_labels_of_test_rows_do_not_choose_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 15)
    rows = load(DataConfig(source="digits", side=8, held_out=100)).test.select(range(60))
    noise = [{f"stage {i}": rng.normal(size=(60, 6)) for i in range(5)} for _ in ("train", "test")]
    chosen, best_on_test = set(), set()
    for seed in range(5):
        known = Labelled(rows, labels, rows, np.random.default_rng(seed).permutation(labels))
        sides = iter(noise)
        monkeypatch.setattr(vision_measure, "features", lambda *_, sides=sides: next(sides))
        scores, best = measure(None, known, None)  # type: ignore[arg-type]
        assert scores["best_probe"] == scores[f"probe/{best}"]
        chosen.add(best)
        best_on_test.add(max(noise[0], key=lambda layer: scores[f"probe/{layer}"]))
    assert len(chosen) == 1 and len(best_on_test) > 1  # the broken twin: a choice by the test rows follows their labels


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


def scores_of(
    name: str, source: Path, drawn: Callable[[Any], Any] = lambda seeds: seeds, rank: int | None = None
) -> dict[str, float]:
    """Held-out metrics of a task as it starts; `drawn` may disturb the seeds, `rank` the share of a process."""
    config = tiny(name, source, source.parent / "unused")
    data = load(config.data)
    torch.manual_seed(0)
    task = build_task(config, data).eval()
    collate = build_collate(config, data)
    world = Accelerator(cpu=True)
    seen = SimpleNamespace(
        num_processes=world.num_processes,
        process_index=world.process_index if rank is None else rank,
        device=world.device,
        autocast=world.autocast,
        reduce=world.reduce,
    )
    return held_out(task, lambda rows, seeds: collate(rows, drawn(seeds)), data.test, 8, seen)  # type: ignore[arg-type]


def test_held_out_images_are_asked_the_same_each_time(source: Path) -> None:
    first = scores_of("rotation", source)
    assert first == scores_of("rotation", source) and {"loss", "accuracy"} <= first.keys()
    assert first["loss"] != scores_of("rotation", source, lambda seeds: mix(seeds))["loss"]  # the broken twin


@pytest.mark.slow
def test_two_processes_ask_as_one_does(source: Path) -> None:
    alone = scores_of("counting", source)  # a coupled task: its loss compares rows
    for honest, first_share in run_in_world(scores_in_two, "counting", source, timeout=180.0):
        assert honest.keys() == alone.keys()
        assert all(honest[key] == pytest.approx(alone[key], rel=1e-5) for key in alone)
        assert abs(first_share["loss"] - alone["loss"]) > 1e-3  # the broken twin


def scores_in_two(name: str, source: Path) -> tuple[dict[str, float], dict[str, float]]:
    """`scores_of` in a world of two, honest and with every process asking the rows of the first one."""
    rank = dist.get_rank()
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # asked for, and not used: the world is there
    assert Accelerator(cpu=True).num_processes == 2
    return scores_of(name, source), scores_of(name, source, rank=0)


def test_labels_are_optional(source: Path) -> None:
    data = load(replace(tiny("rotation", source, source).data, label_column=""))
    assert labelled(data, EvalConfig()) is None
    assert vision_measure.why_unlabelled(data).startswith("There are no labels of two classes")
    data = load(tiny("rotation", source, source).data)
    known = labelled(data, EvalConfig(rows=20))
    assert known is not None and len(known.train) == len(known.train_labels) == 20 and len(known.labels) == 16
    assert known.train.ids[0] == data.train.ids[0] and known.train.ids[-1] == data.train.ids[-1]
    for built_in in ("photos", "digits"):
        assert labelled(load(DataConfig(source=built_in, label_column="", side=16)), EvalConfig()) is None
    with pytest.raises(ValueError, match=r"data\.label_column=colour is no column of digits"):
        load(DataConfig(source="digits", label_column="colour"))


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
    for wrong in ({"rows": 0}, {"seeds": -1}, {"supervised_epochs": -1.0}):
        with pytest.raises(ValueError, match=rf"eval\.{next(iter(wrong))}"):
            EvalConfig(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRESETS])
def test_every_preset_from_options_to_card(name: str, source: Path, tmp_path: Path) -> None:
    pretext.main(tiny(name, source, tmp_path))
    check_folder(tmp_path)
    assert verify(tmp_path).difference <= 1e-5  # in a fresh process that cannot import the project

"""The joint-embedding recipe from options to a model card, on a folder of images made here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel

from modalities.draws import mix
from modalities.pictures.rows import Rows
from modalities.vision.config import DataConfig
from modalities.vision.joint.views import JointViews
from modalities.vision.sources import load
from recipes import joint_embedding
from recipes.joint_build import asked, build_collate, build_task, effort, made_by, seen, untrained, with_new_weights
from recipes.joint_config import JointEvalConfig
from recipes.joint_tasks import PRESETS, Config
from recipes.run import read_options
from recipes.vision_measure import labelled
from recipes.vision_pictures import illustration
from tests.recipes.shapes import draw_folder
from trainers.hub.check import verify
from trainers.stop import Collapsed

SHAPES = {"resnet": {"width": 8}, "convnext": {"width": 8}, "vit": {"width": 32, "depth": 1, "heads": 2}}
ROWS = 8
FEWER = {"clusters": 4, "clusterings": 1, "tile": 9}  # of what 48 images of 40 pixels do not have room for


def tiny(name: str, source: Path, out: Path, **measured: Any) -> Config:
    """A preset at toy size."""
    default = PRESETS[name]
    shape = replace(default.model, image_size=40, **SHAPES[default.model.kind])
    first, second, small = default.views.first, default.views.second, default.views.small
    views = JointViews(
        replace(first, side=40), replace(second, side=40), replace(small, side=24), min(1, default.views.small_count)
    )
    task = default.task
    task = replace(task, **{name: value for name, value in FEWER.items() if hasattr(task, name)})  # type: ignore[type-var]
    steps = 9  # enough of 8 rows to see 48 images once and half again, as clusters need
    options: dict[str, Any] = {"seeds": 2, "supervised_epochs": 0.0, "classic": False, "robust": 0, "watched": 0}
    return replace(
        default,
        data=DataConfig(source=str(source), label_column="colour", held_out=16, side=40),
        views=views,
        model=shape,
        task=task,
        train=replace(
            default.train, out=out, batch_size=ROWS, steps=steps, log_every=1, evaluate_every=0, tracker="none"
        ),
        eval=JointEvalConfig(**options | measured),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("joint") / "shapes", 64)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_built_and_takes_two_steps(name: str, source: Path) -> None:
    config = tiny(name, source, source.parent / "unused")
    data = load(config.data)
    torch.manual_seed(0)
    task = build_task(config, data)
    collate = build_collate(config, task, data)
    optimizer = torch.optim.AdamW([w for w in task.parameters() if w.requires_grad])
    for step in range(2):
        places = np.arange(ROWS) + step * ROWS
        out = task(collate([data.train[i] for i in places], mix(places.astype(np.uint64))))
        assert all(value.isfinite() and value.shape == () for value in out.values())
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        task.after_step((step + 1) / 2)
    collate, rows, words = asked(config, task, data)
    assert ("training" in words) == hasattr(config.task, "rows")
    out = task.eval()(collate(rows.__getitems__(list(range(ROWS))), mix(np.arange(ROWS, dtype=np.uint64))))
    assert out["loss"].isfinite()
    columns = illustration(task, rows, collate, 3)
    assert len(columns) > 1 and all(len(column) == 3 for column in columns.values())
    assert f"A step takes {ROWS} images, {task.views_in_words(ROWS)}, and " in effort(config, task, len(data.train), 1)
    kinds = {type(encoder()) for encoder in untrained(config, data).values()}
    assert kinds == {type(task.export())}


@pytest.fixture(scope="module")
def finished(source: Path) -> Path:
    measured = {"supervised_epochs": 1.0, "classic": True, "robust": 8, "watched": 16, "transfer": "digits", "rows": 48}
    config = tiny("simclr", source, source.parent / "simclr", **measured)
    joint_embedding.main(replace(config, train=replace(config.train, steps=6, evaluate_every=3)))
    return config.train.out


def test_leaves_a_table_and_everything_promised(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    card = (finished / "README.md").read_text()
    for picture in ("views.png", "neighbours.png", "saliency.png", "loss.png", "health.png", "shifts.png"):
        with Image.open(finished / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert set(results["baselines"]) == {
        "random initialisation", "raw pixels", "HOG and colour histograms", "supervised"
    }  # fmt: skip
    assert {"held_out_loss", "knn", "probe", "best_probe", "tuned"} <= results["metrics"].keys()
    assert "few" not in results["metrics"] and len(results["baselines"]["random initialisation"]["knn"]) == 2
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    watched = [line for line in lines if "eval/knn" in line]
    assert [line["step"] for line in watched] == [3, 6] and all(0 <= line["eval/knn"] <= 1 for line in watched)
    assert watched[-1]["eval/loss"] == results["metrics"]["held_out_loss"]  # the same views each time
    assert "trained without labels on 48 images by SimCLR: Chen et al. 2020" in card and "joint-embedding" in card
    assert "Probes fitted on clean images" in card and "| rotation |" in card
    assert "On other data:" in card and "| digits, kNN | digits, probe |" in card
    model = AutoModel.from_pretrained(finished / "model")
    assert model(torch.zeros(1, 3, 40, 40)).last_hidden_state.shape[1] == 64
    assert not any("_orig_mod" in name for name in model.state_dict())


def test_what_saw_labels_says_so(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_embedding, "draw_pictures", lambda *_: {})
    config = tiny("s4l", source, tmp_path, supervised_epochs=1.0, seeds=1, fractions="0.5")
    joint_embedding.main(config)
    results = json.loads((tmp_path / "results.json").read_text())
    assert 0 <= results["metrics"]["few"] <= 1 and results["baselines"]["supervised, the same few labels"]["few"] >= 0
    card = (tmp_path / "README.md").read_text()
    assert "trained with 5 labels on 48 images" in card and "saw the labels of 5 of 48 training images" in card
    assert "All trained on labels: 1 steps on those of 48 images, on the few that the method saw 9." in card
    (alone,) = [log for log in tmp_path.glob("supervised/*/metrics.jsonl") if "/5-" in str(log)]
    assert json.loads(alone.read_text().splitlines()[-1])["step"] == 9
    curves = card.split("By labels:")[1]
    assert "| supervised |" in curves and "fine-tuned" not in curves and "frozen, pretrained" not in curves
    assert "Curves by number of labels leave it out" in card
    assert f"A step takes {ROWS} images" in capsys.readouterr().out


def test_labels_that_are_not_given_are_not_seen(source: Path) -> None:
    config = tiny("s4l", source, source)
    data = load(config.data)
    task = build_task(config, data)
    collate = build_collate(config, task, data)
    batch = collate(data.train.__getitems__(list(range(48))), np.arange(48, dtype=np.uint64))
    given = set(seen(config, data).ids.tolist())
    assert len(given) == 5 and not given & set(data.test.ids.tolist())
    assert 0 < int((batch["labels"] >= 0).sum()) < 48
    alone = build_collate(replace(config, task=replace(config.task, labelled_share=0.0)), task, data)
    batch = alone(data.train.__getitems__(list(range(48))), np.arange(48, dtype=np.uint64))
    assert int((batch["labels"] >= 0).sum()) == 5  # the broken twin would show 48


def test_how_features_are_measured_does_not_decide_which_labels_are_seen(source: Path) -> None:
    config = tiny("sup-con", source, source)
    data = load(config.data)
    fewer = replace(config, eval=replace(config.eval, rows=10))
    known = labelled(data, fewer.eval)
    assert known is not None and len(known.train) == 10  # the broken twin's labels
    assert len(seen(fewer, data)) == 48 and made_by(fewer, data) == made_by(config, data)
    few, more = (tiny(name, source, source) for name in ("s4l", "uda"))
    assert made_by(few, data)["labels"] == made_by(more, data)["labels"] != made_by(config, data)["labels"]
    assert "labels" not in made_by(tiny("simclr", source, source), data)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("cmc",)])  # which starts from nothing
def test_new_weights_are_not_those_it_starts_from(name: str, source: Path, tmp_path: Path) -> None:
    config = tiny(name, source, tmp_path)
    data = load(config.data)
    torch.manual_seed(0)
    build_task(config, data).save(tmp_path / "saved")
    config = replace(config, model=replace(config.model, start_from=str(tmp_path / "saved")))
    given, drawn = build_task(config, data).export(), with_new_weights(config, data).export()
    kernel = "embeddings.patch_embeddings.projection" if config.model.kind == "vit" else "embedder.embedder.convolution"
    learnt = AutoModel.from_pretrained(tmp_path / "saved").get_parameter(f"{kernel}.weight")
    assert given.get_parameter(f"{kernel}.weight").equal(learnt)  # the broken twin: what was learnt is still there
    assert not drawn.get_parameter(f"{kernel}.weight").equal(learnt)


def test_a_queue_knows_its_own_pictures_of_a_stream_and_held_out_ones(source: Path) -> None:
    config = tiny("moco", source, source)
    data = load(config.data)
    of_stream = replace(data, train=iter([]))  # type: ignore[arg-type]
    task = build_task(config, of_stream)
    rows = data.train.__getitems__(list(range(ROWS)))
    batch = build_collate(config, task, of_stream)(rows, np.arange(ROWS, dtype=np.uint64))
    assert batch["index"].tolist() == data.train.ids[:ROWS].tolist()
    collate, held_out, words = asked(config, task, of_stream)
    assert words == "held-out images" and held_out is data.test
    batch = collate(held_out.__getitems__([0, 1]), np.arange(2, dtype=np.uint64))
    assert batch["index"].tolist() == data.test.ids[:2].tolist()


def test_effort_is_said(source: Path) -> None:
    config = tiny("simclr", source, source)
    data = load(config.data)
    task = build_task(config, data)
    assert "8 images, 16 views of 40 px, and 14 negatives for each query." in effort(config, task, 48, 1)
    assert "8 images, 4 on each of 2 processes, 16 views" in effort(config, task, 48, 2)
    config = tiny("moco", source, source)
    task = build_task(config, data)
    said = effort(config, task, 48, 1)
    assert "embeddings of earlier steps. These are more than the 48 training images" in said
    assert "more than" not in effort(config, task, 1_000_000, 1)


def test_what_cannot_work_is_said(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("s4l", source, tmp_path / "labels")
    with pytest.raises(ValueError, match=r"task\.classes is 0, but s4l learns from labels too"):
        joint_embedding.main(replace(config, data=replace(config.data, label_column="")))
    config = tiny("sup-con", source, tmp_path / "no_labels")
    with pytest.raises(ValueError, match=r"SupCon learns from labels\. There are no labels of two classes or more"):
        joint_embedding.main(replace(config, data=replace(config.data, label_column="")))
    with pytest.raises(ValueError, match=r"SupCon learns from labels\. A stream's labels are not at hand"):
        seen(config, replace(load(config.data), train=iter([])))  # type: ignore[arg-type]
    config = tiny("simclr", source, tmp_path / "transfer", transfer=str(source))
    with (
        monkeypatch.context() as patch,
        pytest.raises(ValueError, match=r"data\.held_out=400 leaves nothing to train on"),
    ):
        patch.setattr(joint_embedding, "fit", lambda *_: pytest.fail("it should be said before training"))
        joint_embedding.main(config)
    short = tiny("deep-cluster", source, tmp_path / "short")
    with pytest.raises(ValueError, match=r"train\.steps"):
        joint_embedding.main(replace(short, train=replace(short.train, steps=1)))
    indexed = next(name for name in PRESETS if any(f == "rows" for f in vars(PRESETS[name].task)))
    config = tiny(indexed, source, tmp_path / "rows")
    data = load(config.data)
    assert isinstance(data.train, Rows)
    with pytest.raises(ValueError, match=r"task\.rows is 5, but the data have 48: leave it 0"):
        build_task(replace(config, task=replace(config.task, rows=5)), data)
    with pytest.raises(ValueError, match="a stream does not say how many"):
        build_task(config, replace(data, train=iter([])))
    with pytest.raises(ValueError, match=r"eval\.watched is -1"):
        JointEvalConfig(watched=-1)


def test_a_run_that_collapses_ends(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("simclr", source, tmp_path)
    monkeypatch.setattr("modalities.vision.joint.task.verdict", lambda *_, **__: "all is one.")
    with pytest.raises(Collapsed, match="Step 3 of 9: all is one"):
        joint_embedding.main(config)


def test_options_read_well() -> None:
    found = read_options(PRESETS, "", ["simclr", "--task.temperature", "0.3", "--views.small-count", "2"])
    assert found.task.temperature == 0.3 and found.views.small_count == 2
    assert JointEvalConfig(transfer="openmoji, digits,").others == ["openmoji", "digits"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_from_options_to_card(name: str, source: Path, tmp_path: Path) -> None:
    joint_embedding.main(tiny(name, source, tmp_path, watched=16))
    assert verify(tmp_path).difference <= 1e-5  # in a fresh process that cannot import the project

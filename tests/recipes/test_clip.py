"""The CLIP recipe from options to a published card, on a folder of images made here."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from modalities.image_text.config import DataConfig
from recipes import clip
from recipes.run import read_options
from tests.recipes.shapes import draw_folder, tiny, write_shards
from trainers.hub.check import verify


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[clip.Config, Path]:
    place = tmp_path_factory.mktemp("clip")
    config = tiny(draw_folder(place / "shapes", 64), place / "out")
    clip.main(config)
    return config, place / "out"


def test_leaves_a_table_and_everything_promised(finished: tuple[clip.Config, Path]) -> None:
    _, out = finished
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"metrics", "baselines", "seconds", "device"}
    assert {"random initialisation", "HOG and TF-IDF, CCA", "supervised image tower"} == set(results["baselines"])
    assert len(results["baselines"]["random initialisation"]["probe"]) == 2
    names = {"text_to_image_r1", "image_to_text_r10", "zero_shot", "knn", "probe"}
    assert names <= results["metrics"].keys() and all(0 <= results["metrics"][name] <= 1 for name in names)
    options = json.loads((out / "config.json").read_text())
    assert options["options"]["train"]["steps"] == 12 and "torch" in options["packages"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [4, 8, 12]
    assert [line["step"] for line in lines if "eval/text_to_image_r1" in line] == [6, 12]
    card = (out / "README.md").read_text()
    for picture in ("loss.png", "similarity.png", "neighbours.png"):
        with Image.open(out / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert "random initialisation" in card and "accelerate launch" in card


def test_stock_classes_load_it_where_this_project_is_not(finished: tuple[clip.Config, Path]) -> None:
    _, out = finished
    result = verify(out)  # a fresh process that cannot import the project
    assert result.difference <= 1e-6 and {"image_embeds", "text_embeds"} <= set(result.outputs)
    model, processor = CLIPModel.from_pretrained(out / "model"), CLIPProcessor.from_pretrained(out / "model")
    picture = Image.new("RGB", (20, 30), "red")
    inputs = processor(text=["a red square"], images=picture, return_tensors="pt", padding=True, truncation=True)
    assert model(**inputs).logits_per_image.shape == (1, 1)


def test_the_same_command_again_trains_nothing_and_reports_the_same(finished: tuple[clip.Config, Path]) -> None:
    config, out = finished
    before = json.loads((out / "results.json").read_text())
    log = (out / "metrics.jsonl").read_text()
    clip.main(config)
    after = json.loads((out / "results.json").read_text())
    assert after["metrics"] == before["metrics"] and (out / "metrics.jsonl").read_text() == log
    with pytest.raises(ValueError, match=r"train\.lr was 0\.003 and is 0\.004"):
        clip.main(dataclasses.replace(config, train=dataclasses.replace(config.train, lr=0.004)))


def test_a_run_ends_well_without_a_hub(
    finished: tuple[clip.Config, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = finished
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    clip.main(dataclasses.replace(config, publish="user/shapes"))
    said = capsys.readouterr().out
    assert "not published" in said and "python -m trainers.publish" in said and "hf_canary" not in said


def test_what_is_wrong_is_said_before_data_is_loaded(
    finished: tuple[clip.Config, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, _ = finished
    monkeypatch.setattr(clip, "load", lambda *_: pytest.fail("data was loaded"))
    (tmp_path / "file").write_text("")
    for change, sentence in (
        ({"out": tmp_path / "file" / "out"}, r"cannot be written .* --train\.out"),
        ({"precision": "fp16"}, "fp16 needs a CUDA GPU"),
        ({"micro_batch": 5}, r"micro_batch 5 does not divide the 16 rows"),
    ):
        with pytest.raises(ValueError, match=sentence):
            clip.main(dataclasses.replace(config, train=dataclasses.replace(config.train, **change)))
    with pytest.raises(ValueError, match="repository id"):
        clip.main(dataclasses.replace(config, publish="no-owner"))


def test_options_read_well_and_typos_are_caught(capsys: pytest.CaptureFixture[str]) -> None:
    presets = {"laptop": clip.LAPTOP, "paper": clip.PAPER}
    assert read_options(presets, "", []).model.vision_width == 128
    paper = read_options(presets, "", ["paper", "--train.lr", "3e-4"])
    assert paper.model.vision_width == 768 and paper.train.batch_size == 32768 and paper.train.lr == 3e-4
    with pytest.raises(SystemExit):
        read_options(presets, "", ["--train.lrr", "3e-4"])
    assert "--train.lr" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        read_options(presets, "", ["--help"])
    assert "Rows per optimizer step" in capsys.readouterr().out


def test_a_stream_of_shards_in_lanes_and_micro_batches(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", "train", range(64), 4)
    write_shards(tmp_path / "shards", "test", range(64, 80), 1)
    config = tiny(tmp_path / "shards", tmp_path / "out")
    data = DataConfig(
        source=str(tmp_path / "shards"), test_split="test", stream=True, image_column="jpg,png", caption_column="txt"
    )
    train = dataclasses.replace(config.train, lanes=2, micro_batch=4, shuffle_window=8)
    clip.main(dataclasses.replace(config, data=data, train=train))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["baselines"]) == {"random initialisation"} and "image_to_text_r1" in results["metrics"]
    assert CLIPModel.from_pretrained(tmp_path / "out" / "model").config.projection_dim == 16

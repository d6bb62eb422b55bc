"""The audio-text recipe from options to a card, on a folder of tones made here."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from transformers import ClapModel, ClapProcessor

from modalities.audio.config import DataConfig
from recipes import audio_text
from recipes.audio_text_measure import EvalConfig, asked, retrieval
from recipes.run import read_options
from tests.audio.examples_audio_text import RATE, TINY
from trainers.config import TrainConfig
from trainers.hub.check import verify

KINDS = {"low": 110.0, "middle": 330.0, "high": 800.0}


def write_tones(folder: Path, count: int) -> Path:
    """Tones of three pitches, each with its description, the pitch as label."""
    lines = []
    for number in range(count):
        kind = list(KINDS)[number % 3]
        draw = np.random.default_rng(number)
        time = np.arange(draw.integers(600, 2600)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * KINDS[kind] * time) + draw.normal(0, 0.02, len(time))
        (folder / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / kind / f"{number}.wav", tone, RATE)
        lines.append(json.dumps({"file_name": f"{kind}/{number}.wav", "text": f"a {kind} tone"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[audio_text.Config, Path]:
    place = tmp_path_factory.mktemp("audio_text")
    config = audio_text.Config(
        data=DataConfig(source=str(write_tones(place / "tones", 48)), rate=RATE, held_out=12),
        model=dataclasses.replace(TINY, dropout=0.1),
        train=TrainConfig(out=place / "out", batch_size=12, steps=12, lr=3e-3, log_every=4, evaluate_every=6),
        eval=EvalConfig(seeds=2, supervised_epochs=2.0),
    )
    audio_text.main(config)
    return config, place / "out"


def test_leaves_a_table_and_everything_promised(finished: tuple[audio_text.Config, Path]) -> None:
    _, out = finished
    results = json.loads((out / "results.json").read_text())
    assert {"random initialisation", "MFCC and TF-IDF, CCA", "supervised audio tower"} == set(results["baselines"])
    assert len(results["baselines"]["random initialisation"]["probe"]) == 2
    names = {"text_to_audio_r1", "audio_to_text_r5", "zero_shot", "knn", "probe"}
    assert names <= results["metrics"].keys() and all(0 <= results["metrics"][name] <= 1 for name in names)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval/text_to_audio_r1" in line] == [6, 12]
    card = (out / "README.md").read_text()
    for picture in ("loss.png", "similarity.png", "found.png"):
        with Image.open(out / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert "accelerate launch" in card and "new are the sounds, not the names" in card


def test_stock_classes_load_it_where_this_project_is_not(finished: tuple[audio_text.Config, Path]) -> None:
    _, out = finished
    result = verify(out)  # a fresh process that cannot import the project
    assert {"audio_embeds", "text_embeds"} <= set(result.outputs)
    model, processor = ClapModel.from_pretrained(out / "model"), ClapProcessor.from_pretrained(out / "model")
    inputs = processor(text=["a low tone"], audio=np.zeros(900), sampling_rate=RATE, return_tensors="pt")
    inputs["input_features"] = inputs["input_features"].float()
    assert model(**inputs).logits_per_audio.shape == (1, 1)


def test_the_same_command_again_trains_nothing_and_reports_the_same(finished: tuple[audio_text.Config, Path]) -> None:
    config, out = finished
    before = json.loads((out / "results.json").read_text())
    log = (out / "metrics.jsonl").read_text()
    audio_text.main(config)
    after = json.loads((out / "results.json").read_text())
    assert after["metrics"] == before["metrics"] and (out / "metrics.jsonl").read_text() == log


def test_every_recording_with_the_description_that_was_asked_for_is_right(
    finished: tuple[audio_text.Config, Path],
) -> None:
    config, _ = finished
    rows = audio_text.load(config.data).test
    ids, texts, keys = asked(rows)
    assert len(texts) == len(keys) == 3 and len(ids) == 12
    text = np.eye(3, dtype=np.float32)
    audio = text[np.searchsorted(keys, ids)]  # each recording where its description is
    assert set(retrieval(audio, text, rows).values()) == {1.0}
    assert retrieval(np.roll(audio, 1, axis=1), text, rows)["text_to_audio_r1"] == 0  # the broken twin


def test_options_read_well() -> None:
    assert read_options(audio_text.PRESETS, "", []).data.source == "sounds"
    paper = read_options(audio_text.PRESETS, "", ["clap", "--train.lr", "3e-4"])
    assert paper.model.audio_width == 96 and paper.train.lr == 3e-4
    with torch.device("meta"):  # the shape is that of the published checkpoints
        audio = audio_text.build_towers(paper.model, audio_text.build_processor(paper.model, 48_000, ["a", "b"]))
    assert audio.config.audio_config.spec_size == 256 and audio.config.audio_config.hidden_size == 768

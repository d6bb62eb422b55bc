"""The audio recipe from options to a model card, on a minute of synthetic speech."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from transformers import AutoFeatureExtractor, AutoModel

from modalities.audio.backbones import ModelConfig
from modalities.audio.cola import COLAConfig
from modalities.audio.config import DataConfig
from modalities.audio.cpc import CPCConfig
from modalities.audio.hubert import HubertConfig
from modalities.audio.multi_format import MultiFormatConfig
from modalities.audio.rows import Rows, Sound
from modalities.audio.sources import load
from modalities.audio.spectrogram_encoder import SpectrogramConfig
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from recipes import audio
from recipes.audio_features import Describer, describe, encoded, of_task, pieces
from recipes.audio_measure import EvalConfig, abx_errors, evenly, known, measure
from recipes.audio_pictures import heard
from recipes.audio_table import by_layer, explain
from recipes.audio_tasks import PRESETS, Config, build_collate, build_task, with_new_weights
from recipes.held_out import held_out
from recipes.run import read_options
from tests.trainers.toys import metrics_of
from trainers.config import TrainConfig
from trainers.hub.check import verify

SPEECH = DataConfig(hours=0.02, voices=2, held_out=4)
LITTLE = EvalConfig(seeds=0, classic=False, supervised_steps=0, minutes=1, frames=400)
ENCODER = ModelConfig(conv_width=16, width=32, layers=2, heads=2, feed_forward=32, position_frames=8)
SMALL: dict[type, dict[str, Any]] = {
    CPCConfig: {"first_width": 16, "width": 16, "context_width": 16, "steps": 3},
    Wav2Vec2Config: {"codes": 8, "code_width": 16, "target_width": 16, "negatives": 8},
    HubertConfig: {"clusters": 8, "projection": 16, "cluster_minutes": 0.2},
    COLAConfig: {"width": 16},
    MultiFormatConfig: {"conv_width": 16, "width": 16, "layers": 1, "projection": 16},
}
ENCODERS = {ModelConfig: ENCODER, SpectrogramConfig: SpectrogramConfig(width=8, bands=32), type(None): None}
# CPC is `finished`; HuBERT's two runs are in test_audio_hubert.py.
ALONE = ["wav2vec2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cola", "multi-format"))]


def tiny(name: str, out: Path) -> Config:
    """A preset at toy size."""
    default = PRESETS[name]
    small = SMALL.get(type(default.task), {})
    return replace(
        default,
        data=SPEECH if default.data.source == "speech" else replace(default.data, held_out=40),
        seconds=min(default.seconds, 0.5),
        model=ENCODERS[type(default.model)],
        task=replace(default.task, **small),  # type: ignore[type-var]
        train=TrainConfig(out=out, batch_size=4, steps=4, lr=2e-3, log_every=1, evaluate_every=2, tracker="none"),
        eval=LITTLE,
    )


def test_held_out_questions_in_two_batches_are_those_of_one(tmp_path: Path) -> None:
    data, config = load(SPEECH), tiny("cpc", tmp_path)
    torch.manual_seed(0)
    task, collate = build_task(config, data).eval(), build_collate(config, data)
    whole, halves = (held_out(task, collate, data.test, size, Accelerator(cpu=True)) for size in (4, 2))
    assert whole == pytest.approx(halves, abs=1e-5) and {"loss", "accuracy_3"} <= whole.keys()
    first = held_out(task, collate, data.test.select([0, 1]), 2, Accelerator(cpu=True))
    assert abs(first["loss"] - whole["loss"]) > 1e-3  # the broken twin: the second batch is not asked


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audio") / "cpc"
    measured = EvalConfig(seeds=2, minutes=1, frames=400, supervised_steps=2, abx=True)
    audio.main(replace(tiny("cpc", out), eval=measured))
    return out


def check_folder(out: Path, *pictures: str) -> dict[str, Any]:
    """What every run must leave; its results."""
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    card = (out / "README.md").read_text()
    for picture in ("task.png", "loss.png", *pictures):
        with Image.open(out / picture) as image:
            assert min(image.size) > 150 and picture in card
    assert "trained without labels on" in card and "AutoFeatureExtractor" in card
    return results


def test_leaves_a_table_and_everything_promised(finished: Path) -> None:
    results = check_folder(finished, "map.png", "steps.png", "phone_by_layer.png", "speaker_by_layer.png")
    baselines, ours = results["baselines"], results["metrics"]
    assert set(baselines) == {"random initialisation", "MFCC, 13", "MFCC with deltas, 39", "supervised, 2 steps"}
    assert len(baselines["random initialisation"]["phone"]) == 2
    columns = {"phone", "voice", "speaker", "speaker_knn", "held_out_accuracy", "held_out_accuracy_3", "abx_within"}
    assert columns <= ours.keys() and all(0 <= ours[name] <= 1 for name in columns)
    assert ours["phone"] in (ours["phone/frames"], ours["phone/context"])
    assert set(baselines["supervised, 2 steps"]) == {"phone", "speaker", "speaker_balanced"}
    assert baselines["MFCC with deltas, 39"]["phone"] > 0.2  # a minute of speech is enough for that
    card = (finished / "README.md").read_text()
    assert "trained on the labels for 2 steps, not to the end" in card
    assert "All voices are synthetic" in card and "synthesiser" in card and "trust_remote_code=True" in card
    (line,) = [each for each in map(json.loads, (finished / "metrics.jsonl").read_text().splitlines())
               if each["step"] == 4 and "eval/loss" in each]  # fmt: skip
    assert line["eval/loss"] == ours["held_out_loss"] and "eval/accuracy_3" not in line


def test_a_stranger_can_load_it(finished: Path) -> None:
    assert verify(finished).difference <= 1e-5  # in a fresh process that cannot import the project
    model = AutoModel.from_pretrained(finished / "model", trust_remote_code=True)
    extractor = AutoFeatureExtractor.from_pretrained(finished / "model")
    inputs = extractor(np.zeros(16_000, dtype=np.float32), sampling_rate=16_000, return_tensors="pt")
    assert model(**inputs).last_hidden_state.shape == (1, 100, 16)


def test_a_finished_run_is_not_trained_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics_of(finished)
    weights = (finished / "model" / "model.safetensors").read_bytes()
    config = tiny("cpc", finished)
    audio.main(config)
    assert metrics_of(finished) == before and (finished / "model" / "model.safetensors").read_bytes() == weights
    again = replace(LITTLE, supervised_steps=1)  # measured otherwise: another run on the labels, the same encoder
    audio.main(replace(config, eval=again))
    assert (finished / "model" / "model.safetensors").read_bytes() == weights
    found = json.loads((finished / "results.json").read_text())
    assert set(found["baselines"]) == {"supervised, 1 steps"}
    with pytest.raises(ValueError, match=r"seconds was 0\.5 and is 0\.4"):
        audio.main(replace(config, seconds=0.4))


@pytest.mark.parametrize("name", ALONE)
def test_every_preset_from_options_to_card(name: str, tmp_path: Path) -> None:
    config = tiny(name, tmp_path)
    audio.main(config)
    pictures = ["codes.png"] if name == "wav2vec2" else []
    results = check_folder(tmp_path, *pictures)
    assert np.isfinite(results["metrics"]["held_out_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_a_stranger_can_load_every_preset(name: str, tmp_path: Path) -> None:
    audio.main(tiny(name, tmp_path))
    assert verify(tmp_path).difference <= 1e-5


@pytest.mark.parametrize("name", PRESETS)
def test_options_of_every_preset_are_read(name: str) -> None:
    assert read_options(PRESETS, "", [name]) == PRESETS[name]
    changed = read_options(PRESETS, "", [name, "--data.hours", "0.5", "--seconds", "1"])
    assert changed.data.hours == 0.5 and changed.seconds == 1 and changed.task == PRESETS[name].task


def test_what_is_known_decides_what_is_measured() -> None:
    data = load(SPEECH)
    found, left_out = known(data, LITTLE)
    assert found is not None and found.targets == ("phone", "voice", "speaker") and not left_out
    rows = data.train
    assert isinstance(rows, Rows)
    nobody = replace(rows, speakers=[None] * len(rows), phones=[None] * len(rows))
    nothing, why = known(replace(data, train=nobody), LITTLE)
    assert nothing is None and "data.speaker_column" in why
    nothing, why = known(replace(data, train=iter(())), LITTLE)  # type: ignore[arg-type]
    assert nothing is None and "data.stream" in why
    numbered = replace(nobody, labels=[place % 2 for place in range(len(rows))])
    test = replace(data.test, labels=[0] * len(data.test))
    for target in ("language", "class"):
        labelled, _ = known(replace(data, name="numbers", label_of=target, train=numbered, test=test), LITTLE)
        assert labelled is not None and labelled.targets == (target,)
    assert "All voices are synthetic" in explain(4, data, None, "", {}, LITTLE)
    words = explain(4, replace(data, synthetic=False), found, "", {"a": {"phone": "layer 1"}}, LITTLE)
    assert "synthetic" not in words and "Supervised" not in words and "a pause counts as a phone" in words
    few = evenly(rows, 10.0)
    assert 2 <= len(few) < len(rows) and few.ids[0] == rows.ids[0] and few.ids[-1] == rows.ids[-1]


def test_answers_that_no_training_recording_has_are_not_asked() -> None:
    data = load(SPEECH)
    assert isinstance(data.train, Rows)
    strangers = replace(data.test, speakers=[2 + place for place in range(len(data.test))])
    found, left_out = known(replace(data, test=strangers), LITTLE)
    assert found is not None and found.targets == ("phone",)
    assert "The speaker is not asked, for it occurs in training for only 0%" in left_out
    assert left_out in explain(4, data, found, left_out, {}, LITTLE)
    one = replace(data.test, speakers=[2, *data.test.speakers[1:]])
    found, left_out = known(replace(data, test=one), LITTLE)
    assert found is not None and "speaker" in found.targets and not left_out
    assert "The speaker of 75% of these occurs in training" in explain(4, data, found, "", {}, LITTLE)


def test_an_empty_cell_costs_its_own_row_alone() -> None:
    data = load(SPEECH)
    assert isinstance(data.train, Rows)
    unknown: list[int | None] = [None, *data.train.speakers[1:]]
    some = replace(data.train, speakers=unknown)
    test = replace(data.test, speakers=[None, *data.test.speakers[1:]])
    found, _ = known(replace(data, train=some, test=test), LITTLE)
    assert found is not None and found.targets == ("phone", "voice", "speaker")
    scores, _ = measure(HOW, found)
    # The broken twin: the rows whose speaker is unknown are not there at all.
    less, _ = known(replace(data, train=some.select(range(1, len(some))), test=data.test.select([1, 2, 3])), LITTLE)
    assert less is not None
    assert measure(HOW, less)[0]["speaker"] == scores["speaker"] and scores["phone"] != measure(HOW, less)[0]["phone"]


def test_languages_are_asked_of_numbers() -> None:
    data = load(DataConfig(source="numbers", hours=0.03, voices=2, held_out=0.3))
    found, _ = known(data, LITTLE)
    assert found is not None and found.targets[-1] == "language" and "class" not in found.targets
    scores, _ = measure(HOW, found)
    assert {"language", "language_knn", "language_balanced"} <= scores.keys()


def test_a_diverged_encoder_is_not_taken_for_too_few_recordings() -> None:
    found, _ = known(load(SPEECH), LITTLE)
    assert found is not None

    def diverged(audio: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"level": loudness(audio, lengths)["level"] * np.nan}

    assert abx_errors(HOW, replace(found, test=found.test.select([])), "level") == {}
    with pytest.raises(ValueError, match="the encoder diverged"):
        abx_errors(replace(HOW, layers=diverged), found, "level")


def loudness(audio: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """A frame is the mean of its 160 samples."""
    return {"level": audio[:, : audio.shape[1] // 160 * 160].unflatten(1, (-1, 160)).mean(2)[:, :, None]}


HOW = Describer(loudness, lambda lengths: lengths // 160, 0.01, 16_000)


def ramps(*seconds: float) -> Rows:
    """Recordings whose samples rise from 0 to 0.01 a second."""
    made: list[Any] = [Sound(np.arange(int(s * 16_000), dtype=np.float32) / 1.6e6, 16_000) for s in seconds]
    none: list[Any] = [None] * len(made)
    return Rows(made, np.arange(len(made)), [[]] * len(made), none, none, none)


def test_features_do_not_depend_on_the_neighbours() -> None:
    rows = ramps(3.0, 1.0, 2.0)
    together, alone = describe(HOW, rows, 100), [describe(HOW, rows.select([place]), 100) for place in range(3)]
    wanted = [0.015, 0.005, 0.01]  # the mean of each ramp; padding would lower it
    assert np.allclose(together.clips["level"][:, 0], wanted, atol=1e-5)
    assert np.allclose([found.clips["level"][0, 0] for found in alone], wanted, atol=1e-5)
    assert 50 < len(together.frames["level"]) < 160 and set(together.recordings) == {0, 1, 2}
    again = describe(HOW, rows, 100)
    assert np.array_equal(again.frames["level"], together.frames["level"])


def test_long_recordings_are_read_in_pieces() -> None:
    assert pieces(20.0) == [(0.0, 20.0)] and pieces(30.0) == [(0.0, 20.0), (10.0, 20.0)]
    hour = pieces(3600.0)
    assert len(hour) == 6 and hour[-1] == (3580.0, 20.0)
    rows = ramps(50.0, 1.0)
    starts = sorted(start for row, start, _ in encoded(HOW, rows) if row == 0)
    assert starts == [0.0, 15.0, 30.0]
    assert np.allclose(describe(HOW, rows, 0).clips["level"][:, 0], [0.25, 0.005], atol=1e-4)


def test_what_cannot_be_decoded_is_left_out() -> None:
    rows = ramps(1.0, 2.0)
    none: list[Any] = [None] * 3
    broken = Rows([b"RIFF", *rows.audio], np.arange(3), [[]] * 3, none, none, none)
    for known_lengths in (broken, replace(broken, seconds=np.array([9.0, 1.0, 2.0]))):
        found = describe(HOW, known_lengths, 50)
        assert found.kept.tolist() == [1, 2] and len(found.clips["level"]) == 2
    with pytest.raises(ValueError, match="can be decoded"):
        describe(HOW, broken.select([0]), 50)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_features_do_not_depend_on_what_else_is_encoded(norm: Literal["group", "layer"], tmp_path: Path) -> None:
    data = load(SPEECH)
    torch.manual_seed(0)
    config = tiny("wav2vec2", tmp_path)
    task = build_task(replace(config, model=replace(ENCODER, norm=norm)), data).eval()
    rows = data.train.select(range(4))
    how = of_task(task)
    assert how.padded is (norm == "layer")

    def apart(how: Describer) -> float:
        together = describe(how, rows, 0).clips["layer 2"]
        alone = np.concatenate([describe(how, rows.select([row]), 0).clips["layer 2"] for row in range(4)])
        return float(np.abs(together - alone).max())

    assert apart(how) < 1e-4
    if norm == "group":  # the broken twin: padded to the longest of them
        assert apart(replace(how, padded=True)) > 1e-2
    twice = data.train.select([0, 0])
    assert len({len(each["conv"]) for _, _, each in encoded(how, twice)}) == 1


def test_padding_is_not_heard_by_cpc(tmp_path: Path) -> None:
    data = load(SPEECH)
    torch.manual_seed(0)
    how, rows = of_task(build_task(tiny("cpc", tmp_path), data).eval()), data.train.select([0, 1, 2])
    together = describe(how, rows, 0).clips["context"]
    alone = np.concatenate([describe(how, rows.select([place]), 0).clips["context"] for place in range(3)])
    assert np.abs(together - alone).max() < 1e-5
    padded = replace(how, frames=lambda lengths: how.frames(lengths.max().expand(len(lengths))))  # the broken twin
    assert np.abs(describe(padded, rows, 0).clips["context"] - alone).max() > 1e-3


def test_voices_are_told_from_themselves_only_where_there_are_some(tmp_path: Path) -> None:
    data, config = load(SPEECH), tiny("cpc", tmp_path)
    config = replace(config, task=replace(config.task, negatives="speaker"))  # type: ignore[type-var]
    assert build_task(config, data)
    with pytest.raises(ValueError, match=r"task\.negatives is speaker, but speech names no speakers: set data\.spe"):
        build_task(config, replace(data, speakers=[]))


def test_as_many_recordings_may_be_damaged_as_is_said(tmp_path: Path) -> None:
    config = tiny("cpc", tmp_path)
    collate = build_collate(replace(config, data=replace(config.data, max_bad=0.25)), load(SPEECH))
    assert collate.decode.max_bad == 0.25


def test_the_layer_is_chosen_on_training_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(SPEECH)
    judged, _ = known(data, LITTLE)
    assert judged is not None
    torch.manual_seed(0)
    task = build_task(tiny("cpc", Path("unused")), data).eval()
    scores, best = measure(of_task(task), judged)
    assert scores["phone"] == scores[f"phone/{best['phone']}"] and set(best) == set(judged.targets)
    # Held-out answers that say nothing, so that any choice by them would differ: the choice stays.
    mixed = replace(judged.test, speakers=[1 - (speaker or 0) for speaker in judged.test.speakers])
    assert measure(of_task(task), replace(judged, test=mixed))[1] == best


def test_rows_of_the_table_by_layer() -> None:
    from evaluation.report import Row

    rows = [Row("a", {"phone/x": 0.1, "phone/y": 0.2, "phone": 0.2}), Row("b", {"phone": 0.3})]
    found, columns = by_layer(rows, "phone")
    assert [row.name for row in found] == ["a"] and [column.title for column in columns] == ["x", "y"]


def test_phones_of_a_stretch() -> None:
    from modalities.audio.rows import Phones

    phones = Phones(np.array([0.0, 0.5, 1.5]), ["a", "b", "c"])
    assert heard(phones, 0.25, 0.5) == [(0.0, 0.25, "a"), (0.25, 0.5, "b")]
    assert heard(phones, 1.0, 2.0) == [(0.0, 0.5, "b"), (0.5, 2.0, "c")]


def test_a_checkpoint_is_forgotten_for_the_baseline(tmp_path: Path) -> None:
    data = load(SPEECH)
    config = tiny("wav2vec2", tmp_path)
    build_task(config, data).save(tmp_path / "model")
    config = replace(config, model=replace(ENCODER, start_from=str(tmp_path / "model")))
    learnt, new = (build(config, data).encoder.state_dict() for build in (build_task, with_new_weights))
    kernel = "wav2vec2.feature_projection.projection.weight"
    assert learnt.keys() == new.keys() and not torch.equal(learnt[kernel], new[kernel])
    assert torch.equal(learnt[kernel], build_task(config, data).encoder.state_dict()[kernel])


def test_errors_come_before_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"eval\.minutes is 0"):
        EvalConfig(minutes=0)
    with pytest.raises(ValueError, match=r"eval\.frames is 5"):
        EvalConfig(frames=5)
    for name in ("seeds", "supervised_steps"):
        with pytest.raises(ValueError, match=rf"eval\.{name} is -1"):
            EvalConfig(**{name: -1})
    with pytest.raises(ValueError, match="seconds is 0"):
        Config(seconds=0)
    with pytest.raises(ValueError, match=r"seconds is 0\.001, which gives no two frames to tell apart; 0\.2 give"):
        audio.main(replace(tiny("wav2vec2", tmp_path), seconds=0.001))


def test_one_short_recording_is_enough_to_hold_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(SPEECH)
    sound = data.test.audio[0]
    assert isinstance(sound, Sound)
    cut = sound._replace(samples=sound.samples[5000:5300])  # less than one frame
    short = replace(data.test.select([0]), audio=[cut], seconds=np.array([300 / 16_000]))
    monkeypatch.setattr(audio, "load", lambda _: replace(data, test=short))
    config = tiny("wav2vec2", tmp_path)
    audio.main(replace(config, train=replace(config.train, steps=1)))
    assert (tmp_path / "check.safetensors").exists()


def test_held_out_questions_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, config = load(SPEECH), tiny("wav2vec2", tmp_path)
    torch.manual_seed(0)
    task, collate = build_task(config, data).eval(), build_collate(config, data)
    first, second = (held_out(task, collate, data.test, 4, Accelerator(cpu=True)) for _ in range(2))
    assert first == second and first["loss"] > 0
    monkeypatch.setattr("recipes.held_out._SEED", 1)  # the broken twin: other masks and negatives
    assert held_out(task, collate, data.test, 4, Accelerator(cpu=True))["loss"] != first["loss"]

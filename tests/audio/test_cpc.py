"""Contrastive predictive coding: what a frame may hear, what it is told from, and that a folder stands alone."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel

from modalities.audio.cpc import CPC, CPCConfig, pick
from modalities.audio.cpc_model import HOP, STRIDES, CPCModel, CPCModelConfig
from modalities.task import Batch
from objectives.predictive_coding import to_be_found
from tests.audio.examples_cpc import cpc, sounds


def model(context: str = "gru") -> CPCModel:
    torch.manual_seed(0)
    tiny = CPCModelConfig(first_width=6, conv_width=8, hidden_size=8, context=context, num_attention_heads=2)
    return CPCModel(tiny).double().eval()


def task_of(**options: object) -> tuple[CPC, Batch]:
    torch.manual_seed(0)
    task, batch = cpc(**options)
    assert isinstance(task, CPC)
    return task.double(), batch


def plain(net: CPCModel, audio: Tensor) -> Tensor:
    """The convolutions as torch has them."""
    x = audio[:, None]  # (n, 1, t)
    for layer, stride in zip(net.convolutions, STRIDES, strict=True):
        x = F.conv1d(F.pad(x, (stride, 0)), layer.convolution.weight, layer.convolution.bias, stride)
        x = layer.norm(x.transpose(1, 2)).relu().transpose(1, 2)
    return x.transpose(1, 2)


def test_the_convolutions_are_those_of_torch() -> None:
    net, audio = model(), sounds()["audio"]
    found = net(audio).extract_features
    assert found.shape == (8, 20, 8)
    assert torch.allclose(found, plain(net, audio), rtol=0, atol=1e-12)
    assert not torch.allclose(found, plain(net, audio.roll(1, 1)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_a_frame_hears_nothing_after_its_end(context: str) -> None:
    net, audio = model(context), sounds()["audio"]
    later = audio.clone()
    later[:, 10 * HOP :] += 1.0
    one, other = net(audio), net(later)
    for name in ("extract_features", "last_hidden_state"):
        assert torch.allclose(one[name][:, :10], other[name][:, :10], rtol=0, atol=1e-12)
        assert ((one[name][:, 10] - other[name][:, 10]).abs().amax(1) > 1e-6).all()  # the broken twin: one frame more
    shorter = net(audio[:, : 10 * HOP + 99])
    assert torch.allclose(shorter.last_hidden_state, one.last_hidden_state[:, :10], rtol=0, atol=1e-12)


def test_whatever_is_shorter_than_a_frame_is_one() -> None:
    task, _ = task_of()
    assert model()(torch.ones(2, 7).double()).last_hidden_state.shape == (2, 1, 8)
    assert task.frames(torch.tensor([0, 7, 160, 319, 320])).tolist() == [1, 1, 1, 1, 2]


def test_kernels_sum_to_zero_and_later_biases_are_zero() -> None:
    first, *others = (layer.convolution for layer in model().convolutions)
    assert all(other.weight.sum((1, 2)).abs().max() < 1e-6 and not other.bias.any() for other in others)
    assert first.weight.sum((1, 2)).abs().min() > 1e-4 and 0 < first.bias.abs().max() < 0.03


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_a_folder_loads_by_its_own_file(context: str, tmp_path: Path) -> None:
    task, batch = task_of(context=context)
    task.float().eval().save(tmp_path)
    assert (tmp_path / "cpc_model.py").is_file()
    loaded = AutoModel.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(loaded) is not CPCModel and type(loaded).__name__ == "CPCModel"
    real = [audio[:length].float() for audio, length in zip(batch["audio"], batch["lengths"], strict=True)]
    inputs = AutoFeatureExtractor.from_pretrained(tmp_path)(
        [audio.numpy() for audio in real], sampling_rate=16_000, padding=True, return_tensors="pt"
    )
    wanted = task.layers(batch["audio"].float(), batch["lengths"])
    with torch.no_grad():
        found = loaded(**inputs, output_hidden_states=True)
    for name, hidden in zip(("frames", "context"), found.hidden_states, strict=True):
        assert torch.allclose(hidden[0], wanted[name][0], atol=1e-4)
        assert torch.allclose(hidden[1, :12], wanted[name][1, :12], atol=1e-4)
        assert not torch.allclose(hidden[1, :12], wanted[name][2, :12], atol=1e-2)


def test_volume_does_not_matter() -> None:
    task, batch = task_of()
    loud = {**batch, "audio": 5 * batch["audio"]}
    assert abs(task(loud)["loss"] - task(batch)["loss"]) < 1e-4
    assert abs(task({**batch, "audio": batch["audio"] ** 3})["loss"] - task(batch)["loss"]) > 1e-3


@pytest.mark.parametrize("negatives", ["window", "speaker", "batch"])
@pytest.mark.parametrize("drawn", [0, 8])
def test_padding_is_neither_asked_for_nor_told_from(negatives: str, drawn: int) -> None:
    task, batch = task_of(negatives=negatives, drawn=drawn)
    frames, context, *rest = task.embed(batch)
    padding = torch.arange(20) >= rest[0][:, None]
    assert padding.sum() == 2 * 8
    other = frames.masked_fill(padding[:, :, None], 100.0)
    wanted, found = task.loss_from(frames, context, *rest), task.loss_from(other, context, *rest)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    off_by_one = frames.masked_fill(padding.roll(-1, 1)[:, :, None], 100.0)  # the broken twin touches a real frame
    assert not torch.equal(task.loss_from(off_by_one, context, *rest)["loss"], wanted["loss"])


def test_the_loss_is_a_mean_over_frames_in_micro_batches_too() -> None:
    task, batch = task_of()
    with torch.no_grad():
        out = task(batch)
    assert out["count"] == to_be_found(task.frames(batch["lengths"]), 20, 4).sum()
    with torch.no_grad():
        halves = [task({name: value[half] for name, value in batch.items()}) for half in (slice(0, 6), slice(6, 8))]
    whole = sum(float(half["loss"] * half["count"]) for half in halves) / float(out["count"])
    assert abs(whole - float(out["loss"])) < 1e-12
    plain_mean = (6 * float(halves[0]["loss"]) + 2 * float(halves[1]["loss"])) / 8  # broken: weighs rows
    assert abs(plain_mean - float(out["loss"])) > 1e-6


def test_steps_and_information_are_logged() -> None:
    task, batch = task_of()
    batch["lengths"][:] = 3200
    out = task(batch)
    each = torch.stack([out[f"accuracy_{step}"] for step in range(1, 5)])
    assert abs(each.mean() - out["accuracy"]) < 1e-6
    assert abs(out["information"] - (torch.tensor(20.0).double().log() - out["loss"])) < 1e-6


def test_speakers_that_are_not_known_are_told_from_themselves() -> None:
    task, batch = task_of(negatives="speaker")
    allowed = task._allowed(torch.full((8,), 20), batch["speakers"], 20).any(2)
    assert allowed[0].nonzero()[:, 0].tolist() == [0, 3, 6]
    assert allowed[7].nonzero()[:, 0].tolist() == [7]
    nobody = task._allowed(torch.full((8,), 20), torch.full((8,), -1), 20).any(2)
    assert torch.equal(nobody, torch.eye(8).bool())


def test_labels_matter_to_no_loss_but_that_of_speakers() -> None:
    for negatives, same in (("window", True), ("batch", True), ("speaker", False)):
        task, batch = task_of(negatives=negatives)
        other = {**batch, "speakers": torch.arange(8)}
        assert torch.equal(task(batch)["loss"], task(other)["loss"]) is same


def test_draws_are_even_and_belong_to_the_row() -> None:
    allowed = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0]]).bool()
    found = pick(allowed, torch.linspace(0, 1 - 2**-24, 30_000).expand(2, -1))
    assert torch.bincount(found[0], minlength=5).tolist() == [0, 10_000, 10_000, 0, 10_000]
    assert (found[1] == -1).all()
    task, batch = task_of(drawn=8)
    backwards = {name: value.flip(0) for name, value in batch.items()}
    assert abs(task(batch)["loss"] - task(backwards)["loss"]) < 1e-12
    assert abs(task(batch)["loss"] - task({**batch, "seeds": batch["seeds"] + 1})["loss"]) > 1e-6


def test_training_does_not_collapse_where_plain_kernels_do() -> None:
    """A few steps on speech-like tones: frames must stay apart."""
    task, batch = task_of(drawn=0)
    spread = task.layers(batch["audio"], batch["lengths"])["frames"].std(1).mean()
    for layer in task.encoder.convolutions:
        layer.convolution.reset_parameters()
    plain_spread = task.layers(batch["audio"], batch["lengths"])["frames"].std(1).mean()
    assert spread > 1.3 * plain_spread


def test_illustration_marks_the_frames_that_are_asked_for() -> None:
    task, batch = task_of()
    ((title, (audio, asked)),) = task.illustrate(batch).items()
    assert "4 frames" in title and audio.shape == (8, 3200) and asked is not None
    assert asked[0].nonzero()[:, 0].tolist() == [10, 11, 12, 13]
    assert asked[1].nonzero()[:, 0].tolist() == [6, 7, 8, 9]


def test_a_window_that_leaves_nothing_to_predict_is_refused() -> None:
    task, batch = task_of()
    with pytest.raises(ValueError, match="4 frames leaves none to predict 4 ahead"):
        task({**batch, "audio": batch["audio"][:, : 4 * HOP], "lengths": torch.full((8,), 4 * HOP)})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "task.steps is 0"),
        ({"negatives": "row"}, "choose window, speaker or batch"),
        ({"context": "lstm"}, "choose gru or transformer"),
        ({"context": "transformer", "context_width": 100, "heads": 8}, "96 is"),
        ({"drawn": -1}, "must not be negative"),
    ],
)
def test_options_are_checked(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CPCConfig(**options)  # type: ignore[arg-type]

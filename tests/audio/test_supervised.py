"""The supervised bounds for sound: labels of frames lie where the phones are, and only what is used is trained."""

import numpy as np
import pytest
import torch

from modalities.audio.collate import WindowCollate
from modalities.audio.rows import Phones, Row, Sound
from modalities.audio.supervised import NONE, ClipCollate, PhoneClassifier, PhoneCollate
from tests.audio.examples_labelled import EXAMPLES, cpc, wav2vec2

RATE, HOP = 16_000, 0.01


def beeps(seconds: float = 1.0, speaker: int | None = 1) -> Row:
    """Half a second of low, then of loud samples, as phones "a" and "b"."""
    samples = np.full(int(seconds * RATE), 0.1, dtype=np.float32)
    samples[RATE // 2 :] = 0.5
    return Row(id=3, audio=Sound(samples, RATE), texts=[], label=2, speaker=speaker,
               phones=Phones(np.array([0.0, 0.5]), ["a", "b"]))  # fmt: skip


def test_labels_lie_where_the_samples_change() -> None:
    collate = PhoneCollate(WindowCollate(8000, RATE), HOP, ["a", "b"])
    seeds = np.arange(20, dtype=np.uint64)
    batch = collate([beeps()] * 20, seeds)
    assert batch["labels"].shape == (20, 50) and batch["starts"].std() > 0.05
    loud = batch["audio"].unfold(1, 160, 160).mean(2) > 0.3  # (n, f)
    edge = loud ^ (batch["labels"] == 1)
    assert (edge.sum(1) <= 1).all()  # the frame in which the phone changes may fall to either
    off = loud ^ (batch["labels"].roll(3, 1) == 1)  # the broken twin: labels from the recording's beginning
    assert (off.sum(1) > 1).any()


def test_frames_without_a_phone_have_no_label() -> None:
    collate = PhoneCollate(WindowCollate(16_000, RATE), HOP, ["a"])
    (labels,) = collate([beeps(0.7)])["labels"]
    assert (labels[:50] == 0).all() and (labels[50:] == NONE).all()  # "b" is no phone of training, then padding
    row = beeps()
    row["phones"] = None
    assert (collate([row])["labels"] == NONE).all()
    assert ClipCollate(WindowCollate(800, RATE), "speaker")([beeps()])["labels"].tolist() == [1]
    assert ClipCollate(WindowCollate(800, RATE), "label")([beeps()])["labels"].tolist() == [2]


def test_the_mean_is_over_labelled_frames() -> None:
    torch.manual_seed(0)
    task, batch = EXAMPLES["phones, supervised"][1]()
    whole = task.double()(batch)
    assert whole["count"] == (batch["labels"] != NONE).sum()
    half = [{name: value[part] for name, value in batch.items()} for part in (slice(0, 3), slice(3, 8))]
    parts = [task(some) for some in half]
    counts = torch.stack([part["count"] for part in parts])
    losses = torch.stack([part["loss"] for part in parts])
    assert ((losses * counts).sum() / counts.sum() - whole["loss"]).abs() < 1e-12
    assert (losses.mean() - whole["loss"]).abs() > 1e-6  # the broken twin: a mean over batches
    none = task(batch | {"labels": torch.full_like(batch["labels"], NONE)})
    assert none["loss"] == 0 and none["count"] == 0


def test_every_whole_frame_has_a_label() -> None:
    step, samples = 160, 20_480
    for hop in (step / RATE, 320 / RATE):
        collate = PhoneCollate(WindowCollate(samples, RATE), hop, ["a", "b"])
        for frames in (58, 64):  # seconds of fp32 divided by the hop are a frame short for some
            length = frames * round(hop * RATE)
            (labels,) = collate([beeps(length / RATE)])["labels"]
            assert len(labels) == samples // round(hop * RATE) and (labels != NONE).sum() == frames
    rounded = [int(float(torch.tensor(n * step) / RATE) / 0.01) for n in range(1, 129)]  # the broken twin
    assert rounded != list(range(1, 129))


@pytest.mark.parametrize("build", [cpc, wav2vec2])
def test_only_what_the_frames_depend_on_is_trained(build) -> None:
    encoder = build()
    task = PhoneClassifier(encoder, 3)
    frozen = {name for name, weight in encoder.named_parameters() if not weight.requires_grad}
    assert frozen and not any("context" in name or "layers" in name for name in frozen)
    assert any("predictors" in name or "quantizer" in name for name in frozen)
    audio, lengths = torch.randn(1, 3200, generator=torch.Generator().manual_seed(0)), torch.tensor([3200])
    assert task.scores(audio, lengths).shape[2] == 3
    for left, right in zip(task.layers(audio, lengths).values(), encoder.layers(audio, lengths).values(), strict=True):
        assert torch.equal(left, right)

"""Encoders of spectrograms: training hears what the published extractor makes, and frames are where they say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel, PreTrainedModel
from transformers.models.audio_spectrogram_transformer import feature_extraction_audio_spectrogram_transformer as stock

from modalities.audio.filter_bank import filter_bank, frames_of
from modalities.audio.spectrogram_encoder import SpectrogramConfig, SpectrogramTask
from tests.audio.examples_cola import AST, AUGMENTS, RATE, RESNET, stretches

SECONDS = 0.5
LENGTHS = torch.tensor([8000, 8000, 5000, 400, 3333])


def task(model: SpectrogramConfig, seconds: float = SECONDS) -> SpectrogramTask:
    torch.manual_seed(0)
    return SpectrogramTask(model, AUGMENTS, seconds, RATE).eval()


def sounds() -> Tensor:
    """Noise, of which the second row is a hundred times softer."""
    noise = 0.1 * torch.randn(len(LENGTHS), 8000, generator=torch.Generator().manual_seed(0))
    noise[1] *= 0.01
    return noise * (torch.arange(8000) < LENGTHS[:, None])


def extracted(extractor: stock.ASTFeatureExtractor) -> Tensor:
    rows = [audio[:length].numpy() for audio, length in zip(sounds(), LENGTHS, strict=True)]
    return torch.from_numpy(np.stack(extractor(rows, sampling_rate=RATE)["input_values"]))


@pytest.mark.parametrize("model", [RESNET, AST], ids=["resnet", "ast"])
def test_training_hears_what_the_published_extractor_makes(model: SpectrogramConfig, tmp_path: Path) -> None:
    it = task(model)
    it.save(tmp_path)
    published = extracted(AutoFeatureExtractor.from_pretrained(tmp_path))
    found = it.spectrogram(sounds(), LENGTHS)
    assert found.shape == published.shape and (found - published).abs().max() < 1e-5
    # The broken twin: silence that is not known to be padding.
    assert (it.spectrogram(sounds(), torch.full_like(LENGTHS, 8000)) - published).abs().max() > 0.1


def test_the_extractor_without_torchaudio_nearly_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    with_torchaudio = extracted(task(RESNET).feature_extractor())
    monkeypatch.setattr(stock, "is_speech_available", lambda: False)
    without = extracted(task(RESNET).feature_extractor())
    assert not torch.equal(with_torchaudio, without)
    # In units of two of AudioSet's deviations; it pre-emphasises the first sample of a frame in another way.
    assert (with_torchaudio - without).abs().mean() < 0.005


def test_the_filter_bank_is_as_exact_as_its_samples() -> None:
    audio = sounds()
    wide = filter_bank(audio.double(), LENGTHS, 32)
    assert wide.dtype == torch.float64
    assert (filter_bank(audio, LENGTHS, 32) - wide).abs().max() < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(filter_bank(audio, LENGTHS, 32), filter_bank(audio, LENGTHS, 32))
        assert (filter_bank(audio, LENGTHS, 32) - wide).abs().max() < 1e-4


def direct(encoder: PreTrainedModel, spectrogram: Tensor) -> Tensor:
    return encoder(spectrogram[:, None] if encoder.config.model_type == "resnet" else spectrogram).last_hidden_state


@pytest.mark.parametrize("model", [RESNET, AST], ids=["resnet", "ast"])
def test_the_published_model_is_the_stock_one(model: SpectrogramConfig, tmp_path: Path) -> None:
    it = task(model)
    it.save(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded).__module__.startswith("transformers.models.")
    spectrogram = it.spectrogram(sounds(), LENGTHS)
    with torch.no_grad():
        mine, theirs = list(it.states(spectrogram).values())[-1], direct(loaded, spectrogram)
    if model.kind == "resnet":  # the last stage has a frame for eight of the first
        assert torch.equal(mine[:, ::8], theirs.mean(3).transpose(1, 2)[:, : -(-mine.shape[1] // 8)])
    else:
        patches = theirs[:, 2:].unflatten(1, (model.bands // model.patch, -1))
        assert torch.equal(mine, patches.mean(1))


@pytest.mark.parametrize("model", [RESNET, AST], ids=["resnet", "ast"])
def test_frames_stand_where_they_say(model: SpectrogramConfig) -> None:
    it = task(model)
    audio = torch.zeros(1, 8000)
    audio[0, 5600:6400] = sounds()[0, :800]  # from 0.35 to 0.4 s
    length = torch.tensor([8000])
    with torch.no_grad():
        heard, silent = it.layers(audio, length), it.layers(torch.zeros(1, 8000), length)
    first = next(iter(heard)) if model.kind == "resnet" else None
    if first:  # later stages see much more than their place
        changed = (heard[first] - silent[first])[0].abs().sum(1)
        assert 0.35 - it.hop <= float(changed.argmax()) * it.hop <= 0.4
    assert all(value.shape[:2] == (1, heard["stage 1" if first else "layer 1"].shape[1]) for value in heard.values())
    assert int(it.frames(length)) in (next(iter(heard.values())).shape[1], next(iter(heard.values())).shape[1] - 1)


def test_frames_are_counted_as_the_layers_have_them() -> None:
    it = task(RESNET)
    for samples in (1, 399, 400, 401, 559, 560, 1040, 8000, 8160):
        length = torch.tensor([samples])
        with torch.no_grad():
            (stage, *_) = it.layers(torch.zeros(1, samples), length).values()
        assert int(it.frames(length)) == stage.shape[1], samples
    assert frames_of(torch.tensor([0, 399, 400, 559, 560])).tolist() == [0, 0, 1, 1, 2]


def test_a_spectrogram_transformer_hears_the_beginning() -> None:
    it = task(AST)
    audio = sounds()[:1]
    long = torch.cat([audio, torch.randn(1, 4000, generator=torch.Generator().manual_seed(1))], dim=1)
    with torch.no_grad():
        of_long, of_short = it.layers(long, torch.tensor([12_000])), it.layers(audio, torch.tensor([8000]))
    assert all(torch.equal(of_long[name], of_short[name]) for name in of_short)
    assert int(it.frames(torch.tensor([12_000]))) == of_long["layer 1"].shape[1]


@pytest.mark.parametrize("model", [RESNET, AST], ids=["resnet", "ast"])
def test_what_is_checked_when_published_is_what_the_model_takes(model: SpectrogramConfig) -> None:
    it = task(model)
    given = it.inputs([audio.numpy() for audio in sounds()[:2]])
    wanted = it.spectrogram(sounds()[:2], LENGTHS[:2])
    (values,) = given.values()
    assert (values.reshape(wanted.shape) - wanted).abs().max() < 1e-5
    with torch.no_grad():
        assert torch.equal(it.export()(**given).last_hidden_state, direct(it.export(), values.reshape(wanted.shape)))


def test_pictures_show_both_views_and_what_is_hidden() -> None:
    it, batch = task(RESNET, 0.25), stretches()
    panels = it.illustrate(batch)
    assert list(panels) == ["a view", "another view"]
    for place, (audio, hidden) in enumerate(panels.values()):
        assert hidden is not None and hidden.dtype == torch.bool and hidden.any() and not hidden.all()
        assert torch.equal(audio, it.view(batch, place)[0]) and not torch.equal(audio, it.view(batch, 1 - place)[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.rate is 8000"):
        SpectrogramTask(RESNET, AUGMENTS, SECONDS, 8000)
    with pytest.raises(ValueError, match=r"seconds is 0\.02"):
        SpectrogramTask(RESNET, AUGMENTS, 0.02, RATE)
    with pytest.raises(ValueError, match=r"seconds is 0\.05"):
        SpectrogramTask(AST, AUGMENTS, 0.05, RATE)
    for options, name in (
        ({"width": 0}, "width"),
        ({"bands": 2}, "bands"),
        ({"kind": "ast", "width": 30}, "width"),
        ({"kind": "ast", "bands": 8}, "patch"),
    ):
        with pytest.raises(ValueError, match=f"model.{name}"):
            SpectrogramConfig(**options)  # type: ignore[arg-type]

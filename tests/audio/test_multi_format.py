"""Multi-format contrast: its loss by hand, and two published encoders that are what was trained."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2Model

from modalities.audio.augment import AugmentConfig
from modalities.audio.multi_format import MultiFormat, MultiFormatConfig
from tests.audio.examples_cola import AST, AUGMENTS, RATE, RESNET, SECONDS, WAVEFORM, stretches


def task(augments: AugmentConfig = AUGMENTS) -> MultiFormat:
    torch.manual_seed(0)
    return MultiFormat(RESNET, augments, WAVEFORM, SECONDS, RATE)


def test_the_loss_asks_both_ways() -> None:
    it = task().double()
    waves, spectra = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = it.loss_from(waves, spectra)
    cosines = F.cosine_similarity(waves[:, None], spectra[None], dim=-1) / 0.1
    ways = [F.cross_entropy(table, torch.arange(8)) for table in (cosines, cosines.T)]
    assert abs(found["loss"] - (ways[0] + ways[1]) / 2) < 1e-12
    assert abs(found["loss"] - ways[0]) > 1e-3  # the broken twin: one way
    assert float(found["accuracy"]) == float((cosines.argmax(1) == torch.arange(8)).double().mean())


def test_each_format_hears_its_own_stretch() -> None:
    it, batch = task(AugmentConfig()).double().eval(), stretches()
    with torch.no_grad():
        waves, spectra = it.embed(batch)
        changed = batch["audio"].clone()
        changed[:, 1] = changed[:, 1].roll(1, 0)
        again, others = it.embed(batch | {"audio": changed})
    assert torch.equal(waves, again) and not torch.equal(spectra, others)


def test_both_encoders_load_as_stock_models(tmp_path: Path) -> None:
    it = task(AugmentConfig()).eval()
    it.save(tmp_path)
    audio, length = stretches()["audio"][:1, 0].float(), torch.tensor([4000])
    wave = AutoModel.from_pretrained(tmp_path / "waveform").eval()
    assert type(wave) is Wav2Vec2Model
    given = AutoFeatureExtractor.from_pretrained(tmp_path / "waveform")(
        audio[0].numpy(), sampling_rate=RATE, return_tensors="pt"
    )
    resnet = AutoModel.from_pretrained(tmp_path).eval()
    made = AutoFeatureExtractor.from_pretrained(tmp_path)(audio[0].numpy(), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        layers = it.layers(audio, length)
        theirs = wave(given["input_values"]).last_hidden_state  # (1, f, d)
        seen = resnet(made["input_values"][:, None]).last_hidden_state
    pairs = layers["waveform layer 1"][:, :6]
    assert (pairs - theirs[:, :12].unflatten(1, (6, 2)).mean(2)).abs().max() < 1e-5
    assert (layers["stage 4"][:, ::8] - seen.mean(3).transpose(1, 2)).abs().max() < 1e-5
    assert (pairs - layers["waveform layer 1"].roll(1, 1)[:, :6]).abs().max() > 1e-3  # the broken twin


@pytest.mark.parametrize("model", [RESNET, AST], ids=["resnet", "ast"])
@pytest.mark.parametrize("samples", [200, 4000, 6000])
def test_layers_of_both_formats_have_the_same_places(model: object, samples: int) -> None:
    torch.manual_seed(0)
    it = MultiFormat(model, AUGMENTS, WAVEFORM, SECONDS, RATE)  # type: ignore[arg-type]
    lengths = torch.tensor([samples, max(1, samples // 2)])
    audio = torch.randn(2, samples) * (torch.arange(samples) < lengths[:, None])
    with torch.no_grad():
        layers = it.layers(audio, lengths)
    assert len({value.shape[1] for value in layers.values()}) == 1
    assert list(layers)[-1] in ("stage 4", "layer 1")
    assert int(it.frames(lengths).max()) <= next(iter(layers.values())).shape[1]


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.0), ("projection", 0), ("width", 24), ("layers", 0), ("heads", 0)]
)
def test_options_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"task.{name}"):
        MultiFormatConfig(**{name: value})  # type: ignore[arg-type]

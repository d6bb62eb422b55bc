"""The fast forward pass against the stock one, and what is built, loaded and refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import HubertModel, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

from modalities.audio import frame_encoder
from modalities.audio.backbones import (
    BASE,
    Kind,
    ModelConfig,
    build_config,
    build_feature_extractor,
    build_model,
    frames_of,
    hop_of,
    samples_of,
)
from modalities.audio.frame_encoder import contextual, conv_features, frame_features, normalised, project

TINY = ModelConfig("layer", 16, 32, 2, 2, 48, position_frames=6)
GROUP = replace(TINY, norm="group")
LENGTHS = torch.tensor([4000, 2500, 1600])
FORMS = [("wav2vec2", TINY), ("wav2vec2", GROUP), ("hubert", TINY), ("hubert", GROUP)]


def encoder(kind: Kind, cfg: ModelConfig) -> Any:
    torch.manual_seed(0)
    model: Any = build_model(cfg, kind).double()
    # The stock classes mask some frames by themselves while they train.
    return (model.wav2vec2 if kind == "wav2vec2" else model).eval()


def recordings() -> Tensor:
    audio = torch.randn(3, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return audio * (torch.arange(4000) < LENGTHS[:, None])


def padding(cfg: ModelConfig) -> Tensor | None:
    return (torch.arange(4000) < LENGTHS[:, None]).long() if cfg.norm == "layer" else None


def apart(model: Any, cfg: ModelConfig) -> tuple[float, float]:
    """How far the last layer on real frames and its gradients are from the stock ones, in their largest entries."""
    audio = recordings()
    stock = model(normalised(audio, LENGTHS), attention_mask=padding(cfg)).last_hidden_state
    ours = list(frame_features(model, audio, LENGTHS).values())[-1]
    real = torch.arange(stock.shape[1]) < frames_of(model.config, LENGTHS)[:, None]
    weights = [weight for name, weight in model.named_parameters() if name != "masked_spec_embed"]
    grads = [torch.autograd.grad(found[real].pow(3).sum(), weights) for found in (stock, ours)]
    largest = max(g.abs().max().item() for g in grads[0])
    gap = max((a - b).abs().max().item() for a, b in zip(*grads, strict=True))
    return (stock - ours)[real].abs().max().item(), gap / largest


@pytest.mark.parametrize(("kind", "cfg"), FORMS)
@pytest.mark.parametrize("wide", [1, 10_000])
def test_the_forward_pass_is_the_stock_one(
    kind: Kind, cfg: ModelConfig, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_encoder, "_WIDE", wide)  # convolutions as products, and as convolutions
    assert max(apart(encoder(kind, cfg), cfg)) < 1e-12


def test_what_is_wrong_in_a_forward_pass_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = frame_encoder._correlated
    monkeypatch.setattr(frame_encoder, "_correlated", lambda *given: honest(*given).roll(1, 1))
    assert min(apart(encoder("wav2vec2", TINY), TINY)) > 1e-4
    monkeypatch.setattr(frame_encoder, "_correlated", honest)
    monkeypatch.setattr(frame_encoder, "real_frames", lambda *_: None)
    assert min(apart(encoder("wav2vec2", TINY), TINY)) > 1e-4


@pytest.mark.parametrize(("kind", "cfg"), FORMS)
def test_every_layer_is_the_stock_one(kind: Kind, cfg: ModelConfig) -> None:
    model = encoder(kind, cfg)
    whole = torch.full((3,), 4000)
    audio = recordings()
    with torch.no_grad():
        stock = model(normalised(audio, whole), output_hidden_states=True).hidden_states
        ours = frame_features(model, audio, whole)
    assert list(ours) == ["conv", "layer 1", "layer 2"]
    assert (ours["layer 1"] - stock[1]).abs().max() < 1e-12 < (ours["layer 1"] - stock[2]).abs().max()


def test_eager_attention_masks_padding_as_well() -> None:
    model = encoder("wav2vec2", TINY)
    model.set_attn_implementation("eager")
    assert max(apart(model, TINY)) < 1e-12


def test_half_precision_stays_near() -> None:
    model, audio = encoder("wav2vec2", TINY).float(), recordings().float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = frame_features(model, audio, LENGTHS)["layer 2"]
    with torch.no_grad():
        exact = frame_features(model, audio, LENGTHS)["layer 2"]
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_recordings_are_normalised_as_the_feature_extractor_does() -> None:
    extractor = build_feature_extractor(build_config(TINY, "wav2vec2"), 16_000)
    audio = recordings().float() * 0.1 + 0.3
    raw = [row[:length].numpy() for row, length in zip(audio, LENGTHS, strict=True)]
    found = extractor(raw, sampling_rate=16_000, padding=True, return_tensors="pt")
    assert (normalised(audio, LENGTHS) - found["input_values"]).abs().max() < 1e-5
    assert torch.equal(found["attention_mask"].sum(1), LENGTHS.to(found["attention_mask"].dtype))
    whole = torch.full((3,), 4000)  # the broken twin: padding counted in
    assert (normalised(audio, whole) - found["input_values"]).abs().max() > 0.1
    assert "attention_mask" not in build_feature_extractor(build_config(GROUP, "wav2vec2"), 16_000)(
        raw[0], sampling_rate=16_000
    )


def test_silence_stays_silent() -> None:
    assert not normalised(torch.full((1, 400), 0.25), torch.tensor([400])).abs().gt(1e-3).any()


def test_frames_are_counted_as_the_model_does() -> None:
    model = encoder("wav2vec2", TINY)
    for length in (400, 719, 720, 16_000):
        with torch.no_grad():
            found = conv_features(model, torch.zeros(1, length, dtype=torch.float64)).shape[1]
        assert int(frames_of(model.config, torch.tensor(length))) == found
    assert [samples_of(model.config, frames) for frames in (1, 2, 50)] == [400, 720, 400 + 49 * 320]
    assert int(frames_of(model.config, torch.tensor(399))) == 1
    with torch.no_grad():
        assert frame_features(model, torch.ones(1, 30).double(), torch.tensor([30]))["layer 2"].shape == (1, 1, 32)


def test_a_layer_left_out_changes_the_output_and_leaves_no_weight_without_gradient() -> None:
    model = encoder("wav2vec2", replace(TINY, layer_drop=0.999)).train()
    features = conv_features(model, normalised(recordings(), LENGTHS))
    states = contextual(model, project(model, features)[0])
    assert torch.equal(states[0], states[1])
    states[-1].square().sum().backward()
    layer = list(model.encoder.layers[0].parameters())
    assert all(weight.grad is not None and not weight.grad.any() for weight in layer)
    states = contextual(model.eval(), project(model, features)[0])
    assert not torch.equal(states[0], states[1])


def test_the_base_shape_is_the_papers() -> None:
    config = build_config(BASE, "wav2vec2", codevector_dim=256)
    with torch.device("meta"):
        model = Wav2Vec2ForPreTraining(config)
    assert sum(weight.numel() for weight in model.parameters()) == 95_044_608
    assert (config.hidden_dropout, config.attention_dropout) == (0.1, 0.1)
    assert (config.activation_dropout, config.layerdrop) == (0.0, 0.05)


def test_a_checkpoint_is_where_a_run_may_start(tmp_path: Path) -> None:
    torch.manual_seed(0)
    build_model(TINY, num_codevectors_per_group=4).save_pretrained(tmp_path / "speech")
    first = build_model(ModelConfig(start_from=str(tmp_path / "speech")))
    assert first.training and first.quantizer.num_vars == 4  # type: ignore[union-attr]
    assert isinstance(first, Wav2Vec2ForPreTraining) and isinstance(build_model(TINY, "hubert"), HubertModel)
    with pytest.raises(ValueError, match="is of type wav2vec2; this method needs one of hubert"):
        build_model(ModelConfig(start_from=str(tmp_path / "speech")), "hubert")
    with pytest.raises(ValueError, match="cannot be loaded"):
        build_model(ModelConfig(start_from=str(tmp_path / "nothing")))
    build_model(TINY, adapter_attn_dim=8).save_pretrained(tmp_path / "adapted")
    with pytest.raises(ValueError, match="has adapter_attn_dim set"):
        build_model(ModelConfig(start_from=str(tmp_path / "adapted")))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"model\.start_from .* cannot be loaded: Unrecognized model"):
        build_model(ModelConfig(start_from=str(tmp_path)))


def test_heads_that_a_checkpoint_lacks_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Wav2Vec2ForCTC(build_config(TINY, "wav2vec2", vocab_size=5)).save_pretrained(tmp_path / "ctc")
    build_model(ModelConfig(start_from=str(tmp_path / "ctc")))
    assert "has no project_hid, project_q, quantizer: these parts begin from new weights." in caplog.text
    caplog.clear()
    build_model(TINY).save_pretrained(tmp_path / "whole")
    build_model(ModelConfig(start_from=str(tmp_path / "whole")))
    assert not caplog.text
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    (tmp_path / "whole" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"lacks wav2vec2\.encoder\.layers\.2\S* and \d+ other weights"):
        build_model(ModelConfig(start_from=str(tmp_path / "whole")))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 100}, "model.width 100 is not a multiple of 16"),
        ({"heads": 5}, "model.width 192 is not a multiple of 5"),
        ({"layers": 0}, "model.layers is 0"),
        ({"position_frames": 7}, "an even number"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelConfig(**wrong)


def test_the_norms_are_those_of_the_two_sizes() -> None:
    large, base = encoder("wav2vec2", TINY), encoder("wav2vec2", GROUP)
    norms = [sum(isinstance(part, nn.GroupNorm) for part in model.modules()) for model in (large, base)]
    assert norms == [0, 1] and large.config.do_stable_layer_norm and not base.config.do_stable_layer_norm
    assert hop_of(large.config) == 320

"""CLAP: the spectrogram is the published extractor's, ids spare equal descriptions, and the folder loads alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import ClapModel, ClapProcessor

from modalities.audio.audio_text import AudioText, joined
from modalities.audio.audio_text_collate import SoundTextCollate, description_id
from modalities.audio.audio_text_towers import ModelConfig, build_processor, build_towers
from modalities.audio.clap_features import build_extractor, spectrograms
from modalities.audio.rows import Row, Sound
from objectives.contrastive import clip
from tests.audio.examples_audio_text import DESCRIPTIONS, RATE, SAMPLES, TINY, processor, tiny

LENGTHS = (2000, 1999, 1000, 700, 130, 3)


def sounds() -> tuple[Tensor, Tensor]:
    """Noise of each length, loud and quiet, and silence after it."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.tensor(LENGTHS)
    audio = torch.randn(len(LENGTHS), SAMPLES, generator=draw) * torch.logspace(-4, 0, 6)[:, None]
    return audio * (torch.arange(SAMPLES) < lengths[:, None]), lengths


def row(text: list[str], samples: int = 900) -> Row:
    noise = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    return Row(id=samples, audio=Sound(noise, RATE), texts=text, label=None, speaker=None, phones=None)


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_the_spectrogram_is_the_one_of_the_published_extractor(padding: str) -> None:
    extractor = build_extractor(RATE, 1, 32, 64, 256)
    extractor.padding = padding
    audio, lengths = sounds()
    ours = spectrograms(audio, lengths, extractor)
    raw = [one[:length].numpy() for one, length in zip(audio, LENGTHS, strict=True)]
    theirs = torch.as_tensor(np.array(extractor(raw, sampling_rate=RATE)["input_features"]))
    assert ours.shape == theirs.shape == (len(LENGTHS), 1, 32, 32)
    assert (ours - theirs).abs().max() < 1e-4
    wrong = spectrograms(
        audio, torch.full_like(lengths, SAMPLES), extractor
    )  # the broken twin: padding taken for sound
    assert (wrong - theirs).abs().max() > 1 if padding != "pad" else torch.equal(wrong, ours)


def test_a_sound_longer_than_the_extractor_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="2001 samples are longer than the 2000"):
        spectrograms(torch.zeros(1, SAMPLES + 1), torch.tensor([SAMPLES + 1]), build_extractor(RATE, 1, 32, 64, 256))


def test_the_loss_is_clips_and_equal_descriptions_are_no_negatives() -> None:
    task, batch = tiny()
    assert isinstance(task, AudioText)
    audio, text, ids = task.double().embed(batch)
    scale = task.encoder.logit_scale_a
    loss, own = task.loss_from(audio, text, ids)["loss"], ids[:, 0]
    assert torch.equal(loss, clip(audio, text, scale, joined(ids)))
    assert not torch.isclose(clip(audio, text, scale, own), clip(audio, text, scale))  # two descriptions are equal
    assert not torch.isclose(clip(audio, text, scale, own), loss)  # and two of those drawn
    stock = task.encoder(  # the loss that the stock class computes itself, which knows no ids
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        input_features=task.features(batch),
        return_loss=True,
    )
    # Both of its terms are taken over the same side, and their mean is one direction alone.
    cosines = stock.text_embeds @ stock.audio_embeds.T * scale.exp()
    one_sided = torch.nn.functional.cross_entropy(cosines, torch.arange(len(ids)))
    assert torch.isclose(stock.loss, one_sided)
    assert not torch.isclose(stock.loss, clip(stock.audio_embeds, stock.text_embeds, scale))


def test_the_scale_is_held_and_the_second_one_follows() -> None:
    task, _ = tiny()
    assert isinstance(task, AudioText)
    task.encoder.logit_scale_a.data.fill_(9.0)
    task.after_step(0.5)
    assert task.encoder.logit_scale_a.exp().item() == pytest.approx(100.0)
    assert torch.equal(task.encoder.logit_scale_a, task.encoder.logit_scale_t)
    assert not task.encoder.logit_scale_t.requires_grad


def test_views_are_made_in_training_alone() -> None:
    task, batch = tiny()
    assert isinstance(task, AudioText)
    plain = {name: batch[name] for name in ("audio", "lengths")}
    assert torch.equal(task.features(plain), spectrograms(**plain, extractor=processor().feature_extractor).float())
    seen = task.features(batch)
    assert not torch.allclose(seen.float(), task.features(plain)) and torch.equal(seen, task.features(batch))
    others = task.features(batch | {"seeds": batch["seeds"].flip(0)})
    assert not torch.allclose(seen, others)
    half = task.features({name: value[:4] for name, value in batch.items()})
    assert torch.equal(half, seen[:4])


def test_a_row_draws_its_description_from_its_seed_and_keeps_its_id() -> None:
    collate = SoundTextCollate(processor(), TINY.text_length)
    rows = [row(["rain on a roof", "birds"]), row(["Birds"], 800), row(["birds ", "a bell"], 3000)]
    seeds = np.arange(40, dtype=np.uint64)
    drawn = collate([rows[0]] * 40, seeds)
    first, second = (collate.text([text])["input_ids"][0] for text in rows[0]["texts"])
    chosen = (drawn["input_ids"] == first).all(1)
    assert 8 < int(chosen.sum()) < 32 and bool(((drawn["input_ids"] == second).all(1) == ~chosen).all())
    assert len(drawn["ids"][:, 0].unique()) == 1  # whichever was drawn
    assert torch.equal(drawn["ids"][:, 0] == drawn["ids"][:, 1], chosen)
    batch = collate(rows, seeds[:3])
    assert batch["ids"][1, 0] == batch["ids"][2, 0] != batch["ids"][0, 0]
    assert batch["ids"][1, 1] == batch["ids"][1, 0] == drawn["ids"][~chosen][0, 1]  # birds, as first and as drawn
    again = collate(rows[::-1], seeds[:3][::-1])
    assert all(torch.equal(again[name].flip(0), batch[name]) for name in batch)
    asked = collate(rows)
    assert torch.equal(asked["input_ids"][0], first) and "seeds" not in asked
    assert description_id(["A bell", "x"]) == description_id([" a bell"]) != description_id(["x", "a bell"])


def test_pairs_that_share_a_description_get_one_id() -> None:
    def name(*rows: tuple[int, int]) -> list[int]:
        return joined(torch.tensor(rows)).tolist()

    assert name((5, 5), (7, 7), (9, 9)) == [0, 1, 2]
    assert name((7, 1), (5, 2), (7, 3), (6, 2)) == [0, 1, 0, 1]  # the same kind, or the same words drawn
    assert name((8, 4), (6, 6), (4, 9)) == [0, 1, 0]  # drawn here, and what the other one is
    chain = [(2**62 + i, 2**62 + i + 1) for i in range(9)]
    assert name(*chain[::-1]) == [0] * 9 and name(*chain[:4], *chain[5:]) == [0] * 4 + [4] * 4
    assert torch.equal(joined(torch.tensor([[3], [1], [3]])), torch.tensor([0, 1, 0]))


def test_a_recording_without_a_description_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Recording 900 has no description: set data\.text_column"):
        SoundTextCollate(processor(), TINY.text_length)([row([])])


def test_the_folder_is_a_clap_model_and_can_be_started_from(tmp_path: Path) -> None:
    task, batch = tiny()
    assert isinstance(task, AudioText)
    task.eval().save(tmp_path)
    model, read = ClapModel.from_pretrained(tmp_path).eval(), ClapProcessor.from_pretrained(tmp_path)
    raw = [one[:length].float().numpy() for one, length in zip(batch["audio"], batch["lengths"], strict=True)]
    cut = {"padding": True, "truncation": True}
    inputs = read(text=DESCRIPTIONS, audio=raw, sampling_rate=RATE, return_tensors="pt", text_kwargs=cut)
    assert "token_type_ids" not in inputs
    with torch.no_grad():
        found = model(**inputs)
        plain = {name: value for name, value in batch.items() if name != "seeds"}
        ours = task.encode(plain | {"audio": plain["audio"].float()})
    assert torch.allclose(found.audio_embeds, ours["audio"], atol=1e-5)
    assert torch.allclose(found.text_embeds, ours["text"], atol=1e-5)
    start = dataclasses.replace(TINY, clap_from=str(tmp_path))
    again = AudioText(build_towers(start, build_processor(start, RATE, [])), read).eval()
    with torch.no_grad():
        assert torch.equal(again.encode({n: plain[n] for n in ("input_ids", "attention_mask")})["text"], ours["text"])
    with pytest.raises(ValueError, match=r"data\.rate is 4000, and .* hears 2000"):
        build_processor(start, 4000, [])
    with pytest.raises(ValueError, match=r"model\.text_length is 99, .* at most 8 tokens"):
        build_towers(dataclasses.replace(start, text_length=99), read)


def test_shapes_that_cannot_be_are_refused() -> None:
    for change, sentence in (
        ({"bands": 40}, r"model\.bands 40 is not a multiple of 16"),
        ({"text_heads": 3}, r"model\.text_width 64 is not a multiple of model\.text_heads 3"),
        ({"seconds": 0}, "whole seconds"),
    ):
        with pytest.raises(ValueError, match=sentence):
            dataclasses.replace(ModelConfig(bands=64, patch=4, audio_stages=3, audio_window=4), **change)
    with pytest.raises(ValueError, match=r"audio_window is 8, and the last stage .* is 4 patches wide"):
        build_towers(dataclasses.replace(TINY, audio_window=8), processor())

"""Batches: a row's view and caption are its own, and evaluation sees what the published processor sees."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPImageProcessorPil, PreTrainedTokenizerFast, SiglipImageProcessorPil

from modalities.image_text.collate import PairCollate
from tests.image_text.files import picture, png

WORDS = ["[PAD]", "caption", "of", *map(str, range(40))]


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[PAD]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")


def clip_processor(**changes) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, **changes)


def collator(**options) -> PairCollate:
    return PairCollate(tokenizer(), clip_processor(), max_length=6, **options)


def some_rows(count: int, side: int = 16) -> list[dict]:
    return [
        {
            "id": 100 + i,
            "image": picture(i, side),
            "captions": [f"caption {k} of {i}" for k in range(3)],
            "label": None,
            "base": i,
        }
        for i in range(count)
    ]


def some_seeds(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64) + np.uint64(2**60)


def order_matters(collate) -> bool:
    """Whether a row is collated differently in another place of another batch."""
    rows, seeds = some_rows(12), some_seeds(12)
    whole = collate(rows, seeds)
    part = collate(rows[::-1][:5], seeds[::-1][:5].copy())
    return any(not torch.equal(whole[key].flip(0)[:5], part[key]) for key in whole)


@pytest.mark.parametrize("options", [{"shift": 0.25}, {"min_area": 0.5}, {"min_area": 0.5, "shift": 0.2, "flip": True}])
def test_a_row_is_a_function_of_its_own_seed(options, monkeypatch):
    assert not order_matters(collator(**options))
    # Broken twin: one generator for all rows, as loader workers have it.
    generator = np.random.default_rng(0)
    shared = "modalities.image_text.collate.uniform"
    monkeypatch.setattr(shared, lambda seeds, count: generator.random((len(seeds), count)))
    assert order_matters(collator(**options))


def test_shapes_and_types():
    batch = collator()(some_rows(5), some_seeds(5))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "pixel_values": ((5, 3, 16, 16), torch.float32),
        "input_ids": ((5, 6), torch.int64),
        "attention_mask": ((5, 6), torch.int64),
        "ids": ((5,), torch.int64),
    }
    assert batch["ids"].tolist() == [100, 101, 102, 103, 104]


def test_captions_are_drawn_in_training_and_the_first_in_evaluation():
    rows, collate = some_rows(1) * 300, collator()
    drawn = collate(rows, some_seeds(300))["input_ids"][:, 1]
    counts = torch.bincount(drawn)[WORDS.index("0") :]
    assert len(counts) == 3 and counts.min() > 70
    assert (collate(rows)["input_ids"][:, 1] == WORDS.index("0")).all()


def test_captions_are_cut_and_padded_to_one_length():
    text = collator().text(["of " * 50, "of", "&&&", ""])
    assert text["attention_mask"].tolist() == [[1] * 6, [1, *[0] * 5], [1, *[0] * 5], [1, *[0] * 5]]
    assert text["input_ids"][0].tolist() == [2] * 6 and text["input_ids"][3].tolist() == [0] * 6


@pytest.mark.parametrize("side", [16, 12, 40])
def test_evaluation_pixels_are_the_published_processors(side):
    rows, processor = some_rows(6, side), clip_processor()
    expected = processor([row["image"] for row in rows], return_tensors="pt")["pixel_values"]
    assert torch.equal(collator(shift=0.3)(rows)["pixel_values"], expected)
    # The quick path of training, with nothing left to chance, gives the same numbers.
    still = collator()(rows, some_seeds(6))["pixel_values"]
    assert (still - expected).abs().max() < 1e-6
    assert (collator(shift=0.3)(rows, some_seeds(6))["pixel_values"] - expected).abs().max() > 0.1
    twin = PairCollate(tokenizer(), clip_processor(image_mean=[0.5] * 3), max_length=6)
    assert (twin(rows, some_seeds(6))["pixel_values"] - expected).abs().max() > 1e-2


def test_other_processors_work():
    processor = SiglipImageProcessorPil(size={"height": 16, "width": 16})
    collate = PairCollate(tokenizer(), processor, max_length=6)
    rows = [{**row, "image": row["image"].resize((30, 20))} for row in some_rows(3)]
    assert (collate(rows, some_seeds(3))["pixel_values"] - collate(rows)["pixel_values"]).abs().max() < 1e-6


def test_a_shift_moves_over_white():
    black = {**some_rows(1)[0], "image": Image.new("RGB", (16, 16))}
    collate = collator(shift=0.25)
    batch = collate([black] * 200, some_seeds(200))["pixel_values"]
    white, dark = collate.pixels([Image.new("RGB", (1, 1), colour) for colour in ("white", "black")])[:, 0, 0, 0]
    assert ((batch[:, 0] - white).abs().minimum((batch[:, 0] - dark).abs()) < 1e-5).all()
    inked = (batch[:, 0] < 0).float()  # (n, h, w)
    assert inked.mean((1, 2)).min() == (12 / 16) ** 2 and inked.mean((1, 2)).max() == 1
    for corner in (inked[:, 0, 0], inked[:, 0, -1], inked[:, -1, 0], inked[:, -1, -1]):
        assert 0.15 < corner.mean() < 0.5  # moved to all sides


def test_crops_of_photographs():
    ramp = np.tile(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], (40, 1, 3))
    rows = [{**some_rows(1)[0], "image": Image.fromarray(ramp)}] * 200
    widths = []
    for view in collator(min_area=0.5)(rows, some_seeds(200))["pixel_values"][:, 0]:
        assert (view.std(0) < 1e-5).all()  # a column of the ramp stays one value: no white came in
        widths.append(float(view[0, -1] - view[0, 0]))
    assert max(widths) > 1.5 * min(widths) > 0
    flips = collator(min_area=0.5, flip=True)(rows, some_seeds(200))["pixel_values"][:, 0]
    assert 60 < int((flips[:, 0, -1] < flips[:, 0, 0]).sum()) < 140


def test_a_bad_image_gives_its_place_to_the_next_row(caplog):
    rows = some_rows(5)
    rows[2] = {**rows[2], "image": png(2)[:100]}
    rows[4] = {**rows[4], "image": b"nothing"}
    collate = collator(shift=0.25)
    with caplog.at_level(logging.WARNING):
        batch = collate(rows, some_seeds(5))
    assert batch["ids"].tolist() == [100, 101, 103, 103, 100]
    assert collate.decode.bad == {"truncated or damaged": 1, "not a picture": 1} and "image 102" in caplog.text
    assert batch["input_ids"][2, 3] == WORDS.index("3")  # the caption goes with the image
    assert torch.equal(batch["pixel_values"][:2], collator(shift=0.25)(some_rows(5), some_seeds(5))["pixel_values"][:2])


def test_too_many_bad_images_stop():
    rows = some_rows(20)
    rows[7] = {**rows[7], "image": b"nothing"}
    collate = collator(max_bad=0.02)
    with pytest.raises(ValueError, match=r"11 of 220 images cannot be decoded, more than data.max_bad=0.02"):
        for _ in range(50):
            collate(rows, some_seeds(20))
    patient = collator(max_bad=0.06)
    for _ in range(50):
        patient(rows, some_seeds(20))
    with pytest.raises(ValueError, match="1 of 1 images"):
        collator()([rows[7]], some_seeds(1))


def test_wrong_options_are_one_sentence():
    with pytest.raises(ValueError, match="min_area=0"):
        collator(min_area=0)
    unpadded = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0})))
    with pytest.raises(ValueError, match="no padding token"):
        PairCollate(unpadded, clip_processor(), 6)
    with pytest.raises(ValueError, match="16 x 8 pixels"):
        PairCollate(tokenizer(), CLIPImageProcessorPil(crop_size={"height": 16, "width": 8}), 6)

"""Batches of training: squares of bytes, a row's cut its own, bad pictures replaced together with their labels."""

import numpy as np
import pytest
import torch
from PIL import Image

from modalities.draws import uniform
from modalities.pictures.batches import pixel_batches, thumbnails
from modalities.pictures.rows import labelled_pixels
from modalities.vision.backbones import ModelConfig, build_image_processor
from modalities.vision.collate import ImageCollate
from tests.image_text.files import picture, png
from tests.vision.files import encoded, unusual


def row(number: int, image, label: int | None = None) -> dict:
    return {"id": number, "image": image, "captions": [], "label": label, "base": number}


def some_rows(count: int, size: tuple[int, int] = (16, 16)) -> list[dict]:
    return [row(100 + i, picture(i, 48).resize(size), i % 3) for i in range(count)]


def some_seeds(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64) + np.uint64(2**63)


def test_shapes_types_and_seeds():
    batch = ImageCollate(12)(some_rows(5), some_seeds(5))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "images": ((5, 3, 12, 12), torch.uint8),
        "seeds": ((5,), torch.int64),
    }
    assert batch["images"].is_contiguous()
    assert np.array_equal(batch["seeds"].numpy().view(np.uint64), some_seeds(5))
    assert set(ImageCollate(12)(some_rows(5))) == {"images"}


def test_pixels_of_the_right_size_are_copied():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    rows = labelled_pixels(pixels, [0, 1, 2, 0, 1, 2])
    batch = ImageCollate(8, labels=True)(rows.__getitems__([4, 1, 0]), some_seeds(3))
    expected = torch.from_numpy(pixels[[4, 1, 0]]).permute(0, 3, 1, 2)
    assert torch.equal(batch["images"], expected) and batch["labels"].tolist() == [1, 1, 0]
    assert not torch.equal(batch["images"], expected.flip(1))  # broken twin: blue first
    batch["images"].zero_()
    assert pixels.any()  # the data set is not what was zeroed
    # Encoded, they are the same bytes.
    files = [row(i, encoded(Image.fromarray(pixels[i]))) for i in (4, 1, 0)]
    assert torch.equal(ImageCollate(8)(files, some_seeds(3))["images"], expected)


def order_matters(collate) -> bool:
    """Whether a row is collated differently in another place of another batch."""
    rows, seeds = some_rows(12, (40, 16)), some_seeds(12)
    whole = collate(rows, seeds)
    part = collate(rows[::-1][:5], seeds[::-1][:5].copy())
    return any(not torch.equal(whole[key].flip(0)[:5], part[key]) for key in whole)


def test_a_cut_is_a_function_of_the_rows_own_seed(monkeypatch):
    assert not order_matters(ImageCollate(12, labels=True))
    # Broken twin: one generator for all rows, as loader workers have it.
    generator = np.random.default_rng(0)
    monkeypatch.setattr("modalities.vision.collate.uniform", lambda seeds, count: generator.random((len(seeds), count)))
    assert order_matters(ImageCollate(12, labels=True))


@pytest.mark.parametrize("size", [(40, 10), (10, 40)])
def test_long_pictures_are_cut_everywhere_along(size):
    ramp = np.arange(40, dtype=np.uint8)[None, :, None].repeat(10, 0).repeat(3, 2)
    image = ramp if size[0] == 40 else ramp.transpose(1, 0, 2).copy()
    rows, seeds = [row(i, image) for i in range(400)], some_seeds(400)
    images = ImageCollate(10)(rows, seeds)["images"][:, 0].long()  # (n, h, w)
    along = images[:, 0] if size[0] == 40 else images[:, :, 0]  # (n, 10)
    starts = along[:, 0]
    assert torch.equal(along, starts[:, None] + torch.arange(10))  # whole stretches
    assert set(starts.tolist()) == set(range(31)) and abs(starts.float().mean() - 15) < 1.5
    middle = ImageCollate(10)(rows[:1])["images"][0, 0].long()
    assert int(middle.min()) == 15
    # A view's own draws come from the same seed, and must not follow the cut. Broken twin: the seed as it is.
    views = uniform(seeds, 4)
    assert np.abs(np.corrcoef(starts.numpy(), views.T)[0, 1:]).max() < 0.2
    assert np.corrcoef((uniform(seeds, 1)[:, 0] * 31).astype(int), views.T)[0, 1] > 0.9


def test_every_kind_of_picture():
    rows = [row(i, data) for i, data in enumerate(unusual().values())]
    batch = ImageCollate(24)(rows, some_seeds(len(rows)))["images"]
    kinds = dict(zip(unusual(), batch.float(), strict=True))
    assert batch.shape == (len(rows), 3, 24, 24)
    for kind in ("grey", "1-bit", "16-bit", "grey with alpha"):
        assert torch.equal(kinds[kind][0], kinds[kind][1]), kind
    assert kinds["16-bit"][0].diff().min() >= 0 and kinds["16-bit"].max() > 240  # the ramp that it is
    assert kinds["one pixel"].flatten(1).std(1).max() == 0
    reference = ImageCollate(24)([row(0, picture(0, 20))])["images"][0].float()
    near = {kind: (value - reference).abs().mean().item() for kind, value in kinds.items()}
    assert near["transparent"] == 0 and near["CMYK"] < 40 and near["long"] > 40  # the last one is another stretch


def test_a_bad_picture_gives_its_place_and_label_to_the_next_row(caplog):
    rows = some_rows(5)
    rows[2]["image"], rows[4]["image"] = png(2)[:100], b"nothing"
    collate = ImageCollate(16, labels=True)
    batch = collate(rows, some_seeds(5))
    assert torch.equal(batch["images"][2], batch["images"][3]) and torch.equal(batch["images"][4], batch["images"][0])
    assert batch["labels"].tolist() == [0, 1, 0, 0, 0]
    assert batch["labels"].tolist() != [r["label"] for r in rows]  # broken twin: every place keeps its own label
    assert collate.decode.bad == {"truncated or damaged": 1, "not a picture": 1} and "image 102" in caplog.text
    assert torch.equal(batch["seeds"], ImageCollate(16)(some_rows(5), some_seeds(5))["seeds"])


def test_too_many_bad_pictures_stop():
    rows = some_rows(20)
    rows[7]["image"] = b"nothing"
    collate = ImageCollate(16, max_bad=0.02)
    with pytest.raises(ValueError, match=r"11 of 220 images cannot be decoded, more than data.max_bad=0.02"):
        for _ in range(50):
            collate(rows, some_seeds(20))
    with pytest.raises(ValueError, match="1 of 1 images"):
        ImageCollate(16)([rows[7]], some_seeds(1))


def test_rows_without_a_label_are_not_trained_on_labels():
    rows = [*some_rows(2), row(7, picture(7), None)]
    with pytest.raises(ValueError, match="Row 7 has no label"):
        ImageCollate(16, labels=True)(rows, some_seeds(3))


def test_pictures_for_evaluation():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 20, 20, 3), dtype=np.uint8)
    rows = labelled_pixels(pixels, [0] * 7)
    processor = build_image_processor(ModelConfig(image_size=16))
    batches = list(pixel_batches(rows, processor, size=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    expected = processor([Image.fromarray(one) for one in pixels], return_tensors="pt")["pixel_values"]
    assert torch.equal(torch.cat(batches), expected)
    assert not torch.equal(torch.cat(batches[::-1]), expected)
    assert np.array_equal(thumbnails(rows, 20), pixels) and thumbnails(rows, 5).shape == (7, 5, 5, 3)

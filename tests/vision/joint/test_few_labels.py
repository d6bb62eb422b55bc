"""Few labels: which are seen, and that batches do not depend on the number of processes."""

import numpy as np
import pytest
import torch

from modalities.pictures.rows import Rows, labelled_pixels
from modalities.vision.collate import ImageCollate
from modalities.vision.joint.few_labels import FewLabels

COUNT = 40
SEEN = [3, 8, 21, 34]


def pictures() -> Rows:
    """Forty pictures whose every value is their number; the label is the number modulo five."""
    pixels = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 8, 8, 3))
    return labelled_pixels(np.ascontiguousarray(pixels), [number % 5 for number in range(COUNT)])


def seeds(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64) * np.uint64(0x5851F42D4C957F2D)


def few(share: float = 0.0) -> FewLabels:
    return FewLabels(ImageCollate(8), pictures().select(SEEN), share)


def test_only_chosen_labels_are_seen() -> None:
    rows = pictures()
    batch = few()(rows.__getitems__(list(range(COUNT))), seeds(COUNT))
    assert batch["images"][:, 0, 0, 0].tolist() == list(range(COUNT))
    assert batch["labels"].tolist() == [number % 5 if number in SEEN else -1 for number in range(COUNT)]


def test_labelled_pictures_take_the_place_of_a_share_of_the_rows() -> None:
    rows = labelled_pixels(np.full((1000, 8, 8, 3), 39, np.uint8), [4] * 1000).__getitems__(list(range(100, 1000)))
    batch = few(0.25)(rows, seeds(900))
    shown, labelled = batch["images"][:, 0, 0, 0], batch["labels"] >= 0
    # 225 of 900 are expected, with a deviation of 13.
    assert 170 < int(labelled.sum()) < 280
    assert bool((shown[~labelled] == 39).all()) and bool((shown[labelled] % 5 == batch["labels"][labelled]).all())
    assert set(shown[labelled].tolist()) == set(SEEN)


def test_a_batch_is_its_halves() -> None:
    rows = pictures().__getitems__(list(range(COUNT)))
    whole = few(0.5)(rows, seeds(COUNT))
    parts = [few(0.5)(rows[half], seeds(COUNT)[half]) for half in (slice(0, 20), slice(20, 40))]
    assert all(torch.equal(torch.cat([part[name] for part in parts]), value) for name, value in whole.items())
    again = few(0.5)(rows, seeds(COUNT) + np.uint64(1))  # the broken twin: draws that the seeds do not decide
    assert again["labels"].tolist() != whole["labels"].tolist()


def test_a_picture_in_the_place_of_a_broken_one_brings_its_own_label() -> None:
    rows = pictures().__getitems__([3, 8, 1])
    rows[0]["image"] = b"nothing"
    batch = FewLabels(ImageCollate(8, max_bad=1.0), pictures().select(SEEN))(rows, seeds(3))
    expected = [number % 5 if number in SEEN else -1 for number in batch["images"][:, 0, 0, 0].tolist()]
    assert batch["labels"].tolist() == expected and 3 not in batch["images"][:, 0, 0, 0].tolist()


def test_labels_must_be_there() -> None:
    with pytest.raises(ValueError, match="there is no labelled row"):
        FewLabels(ImageCollate(8), pictures().select([]))
    rows = pictures()
    rows.labels[21] = None
    with pytest.raises(ValueError, match="row 21 has no label"):
        FewLabels(ImageCollate(8), rows.select(SEEN))

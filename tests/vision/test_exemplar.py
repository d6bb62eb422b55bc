"""Exemplar: indices that stay with their pictures, and colour as the shortcut that the views must close."""

import numpy as np
import pytest
import torch

from modalities.pictures.rows import Row
from modalities.vision.backbones import ModelConfig
from modalities.vision.collate import ImageCollate
from modalities.vision.exemplar import Exemplar, ExemplarConfig
from modalities.vision.indexed import Indexed
from modalities.vision.views.pipeline import ViewConfig
from tests.vision.shortcut import noise

COUNT = 16
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


def tiny(views: ViewConfig) -> Exemplar:
    torch.manual_seed(0)
    return Exemplar(ModelConfig(width=8, image_size=32), views, ExemplarConfig(classes=COUNT))


def row(row_id: int) -> Row:
    return {"id": row_id, "image": np.full((8, 8, 3), row_id % 256, np.uint8), "label": None}


def seeds(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64)


def test_indices_are_places_among_the_training_rows() -> None:
    collate, rows = Indexed(ImageCollate(8), [40, 10, 30]), [row(30), row(40), row(30)]
    batch = collate(rows, seeds(3))
    assert batch["index"].tolist() == [2, 0, 2]
    plain = ImageCollate(8)(rows, seeds(3))
    assert all(torch.equal(batch[name], plain[name]) for name in ("images", "seeds"))
    with pytest.raises(KeyError):
        collate([row(20)], seeds(1))


def test_without_known_rows_an_index_is_the_id_of_any() -> None:
    rows = [row(30), row(40), row(2**40), row(30)]
    index = Indexed(ImageCollate(8))(rows, seeds(4))["index"]
    assert index.dtype == torch.int64 and index.tolist() == [30, 40, 2**40, 30]


def test_a_picture_in_the_place_of_a_broken_one_brings_its_own_index() -> None:
    rows = [row(30), row(40), row(10)]
    rows[1]["image"] = b"nothing"
    batch = Indexed(ImageCollate(8), [40, 10, 30])(rows, seeds(3))
    assert batch["images"][:, 0, 0, 0].tolist() == [30, 10, 10]
    assert batch["index"].tolist() == [2, 1, 1]
    assert batch["index"].tolist() != [2, 0, 1]  # the broken twin: every place keeps the index of its row


def test_the_index_is_the_answer() -> None:
    task = tiny(ViewConfig(side=32))
    batch = {"images": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "seeds": torch.arange(4)}
    task.guess = lambda pixels: torch.eye(COUNT)[:4]  # type: ignore[method-assign]
    assert task(batch | {"index": torch.arange(4)})["accuracy"] == 1
    assert task(batch | {"index": torch.arange(4) + 1})["accuracy"] == 0


def tinted() -> torch.Tensor:
    """Noise pictures told apart by a tint that grey views lose, uint8 (16, 3, 32, 32)."""
    draw = torch.Generator().manual_seed(0)
    tint = torch.rand(COUNT, 3, 1, 1, generator=draw)
    tint = 0.4 * (tint - (tint * LUMA).sum(1, keepdim=True))
    return ((noise(COUNT, draw) + tint).clamp(0, 1) * 255).to(torch.uint8)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_tint_names_the_picture_only_where_views_keep_colours(guarded: bool) -> None:
    task = tiny(ViewConfig(side=32, min_area=0.05, max_area=0.1, grey=float(guarded)))
    images, draw = tinted(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)

    def found() -> dict[str, torch.Tensor]:
        rows = torch.randint(COUNT, (64,), generator=draw)
        return task({"images": images[rows], "seeds": torch.randint(2**62, (64,), generator=draw), "index": rows})

    for _ in range(40):
        optimizer.zero_grad()
        found()["loss"].backward()
        optimizer.step()
    accuracy = float(torch.stack([found()["accuracy"] for _ in range(4)]).mean())
    assert accuracy < 0.2 if guarded else accuracy > 0.5  # chance is 1/16


def test_the_sheet_shows_three_views_of_one_picture() -> None:
    images = tinted()[:4]
    panels = tiny(ViewConfig(side=32)).illustrate({"images": images, "seeds": torch.arange(4)})
    assert list(panels) == ["picture", "view 1", "view 2", "view 3"]
    assert (panels["picture"] * 255 - images).abs().max() < 1e-4
    assert not torch.equal(panels["view 1"], panels["view 2"])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task.classes is -2; .* must not be negative."):
        ExemplarConfig(classes=-2)
    with pytest.raises(ValueError, match=r"task.classes is 0; exemplar needs at least two training pictures."):
        Exemplar(ModelConfig(width=8), ViewConfig(), ExemplarConfig())

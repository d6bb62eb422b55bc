"""Rows to tensors: one view of every image, one of its captions."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from modalities.decoder import Decoder
from modalities.draws import uniform
from modalities.media import decode
from modalities.pictures.rows import Row

Box = tuple[float, float, float, float]  # left, top, right, bottom

_DRAWS = 8  # caption, crop (area, aspect, x, y), flip, shift (x, y)


class ImageProcessor(Protocol):
    """What is used of a `transformers` image processor such as `CLIPImageProcessorPil`."""

    size: Mapping[str, int]
    crop_size: Mapping[str, int]
    do_center_crop: bool | None
    image_mean: Sequence[float]
    image_std: Sequence[float]
    rescale_factor: float
    resample: Any

    def __call__(self, images: Any, *, return_tensors: str) -> Any: ...


class PairCollate:
    """Makes a batch of images and captions; `collate(rows, seeds)` in training, `collate(rows)` in evaluation.

    With seeds (uint64, (n,)) each row's caption and view are drawn from its own seed and from nothing else. A view is a
    crop of at least `min_area` of the image (RandomResizedCrop; CLIP trains on 0.9), moved by up to `shift` of the
    side over white, and mirrored half of the time with `flip` (off: captions tell left from right). Small drawings
    want a shift and no crop, photographs the opposite.

    Without seeds the caption is the first one and the pixels are those of `image_processor` itself, the one that is
    published with the model. Views are resized and normalised with the same numbers, so that a view without crop and
    shift of a square image equals them.

    Captions are cut and padded to `max_length` tokens always: one process and two then see the same batch.

    A row whose image cannot be decoded gives its place to another (see `Decoder`), id included, so that the twins are
    not each other's negatives.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: ImageProcessor,
        max_length: int,
        shift: float = 0.0,
        min_area: float = 1.0,
        flip: bool = False,
        max_bad: float = 0.01,
    ) -> None:
        if not 0 < min_area <= 1 or not 0 <= shift < 1:
            raise ValueError(f"min_area={min_area} must be above 0 and at most 1, and shift={shift} from 0 to below 1.")
        if tokenizer.pad_token_id is None:
            raise ValueError("The tokenizer has no padding token, and captions are padded: set tokenizer.pad_token.")
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.max_length = max_length
        self.shift, self.min_area, self.flip = shift, min_area, flip
        self.centre = bool(image_processor.do_center_crop)  # CLIP cuts the middle out, SigLIP squashes the whole
        crop = image_processor.crop_size if self.centre else image_processor.size
        if crop["height"] != crop["width"]:
            raise ValueError(f"The image processor gives {crop['height']} x {crop['width']} pixels: give it a square.")
        self.side = int(crop["height"])
        mean = np.array(image_processor.image_mean, dtype=np.float64)
        std = np.array(image_processor.image_std, dtype=np.float64)
        self.factor = np.tile(image_processor.rescale_factor / std, self.side**2).astype(np.float32)  # (side*side*3,)
        self.offset = np.tile(mean / std, self.side**2).astype(np.float32)  # (side*side*3,)
        self.decode = Decoder(decode, max_bad)

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """A batch: pixel_values float (n, 3, side, side), input_ids and attention_mask long (n, t), ids long (n,)."""
        chosen, images = self.decode(rows)
        if seeds is None:
            captions = [row["captions"][0] for row in chosen]
            pixels = self.pixels(images)
        else:
            draws = uniform(np.asarray(seeds, dtype=np.uint64), _DRAWS)  # (n, _DRAWS)
            captions = [_pick(row["captions"], u) for row, u in zip(chosen, draws[:, 0], strict=True)]
            views = np.stack([self._view(image, draw) for image, draw in zip(images, draws[:, 1:], strict=True)])
            pixels = self._normalise(views)
        return {
            "pixel_values": pixels,
            **self.text(captions),
            "ids": torch.tensor([row["id"] for row in chosen], dtype=torch.long),
        }

    def text(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """input_ids and attention_mask, (n, max_length) long. Also for prompts and all captions of a test set."""
        encoded = self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=True,
        )
        # Through numpy: torch reads lists of lists several times slower.
        ids = torch.from_numpy(np.array(encoded["input_ids"], dtype=np.int64))  # (n, t)
        mask = torch.from_numpy(np.array(encoded["attention_mask"], dtype=np.int64))  # (n, t)
        # A caption without any token keeps one position: attention to nothing is not a number.
        mask[:, 0] |= mask.sum(1) == 0
        return {"input_ids": ids, "attention_mask": mask}

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """What the published image processor makes of decoded images: (n, 3, side, side)."""
        values: Tensor = self.image_processor(list(images), return_tensors="pt")["pixel_values"]
        return values

    def _view(self, image: Image.Image, draw: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        """One random view of an RGB image: (side, side, 3). `draw` (7,) holds crop, flip and shift."""
        if self.min_area < 1:
            box = _random_crop(image.size, 1 - draw[0] * (1 - self.min_area), draw[1], draw[2], draw[3])
        else:
            box = _centre_crop(image.size) if self.centre else (0.0, 0.0, float(image.width), float(image.height))
        if image.size != (self.side, self.side) or box != (0, 0, self.side, self.side):
            image = image.resize((self.side, self.side), self.image_processor.resample, box=box)
        view = np.asarray(image)  # (side, side, 3)
        if self.flip and draw[4] < 0.5:
            view = view[:, ::-1]
        reach = int(self.shift * self.side)
        dx, dy = (int(u * (2 * reach + 1)) - reach for u in draw[5:7])
        return _shifted(view, dx, dy) if dx or dy else view

    def _normalise(self, views: npt.NDArray[np.uint8]) -> Tensor:
        """(n, side, side, 3) bytes to (n, 3, side, side) floats, which stay channels-last in memory."""
        values = views.reshape(len(views), -1).astype(np.float32)  # flat, or numpy loops over three numbers at a time
        values *= self.factor
        values -= self.offset
        return torch.from_numpy(values.reshape(views.shape)).permute(0, 3, 1, 2)


def _pick(captions: list[str], u: float) -> str:
    return captions[int(u * len(captions))]


def _centre_crop(size: tuple[int, int]) -> Box:
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return float(left), float(top), float(left + side), float(top + side)


def _random_crop(size: tuple[int, int], area: float, aspect: float, x: float, y: float) -> Box:
    """A box of a share `area` of the image, 3:4 to 4:3 by `aspect` in [0, 1), cut down where it would stick out."""
    width, height = size
    ratio = 0.75 ** (1 - 2 * aspect)
    w = min(width, (area * width * height * ratio) ** 0.5)
    h = min(height, (area * width * height / ratio) ** 0.5)
    left, top = x * (width - w), y * (height - h)
    return left, top, left + w, top + h


def _shifted(view: npt.NDArray[np.uint8], dx: int, dy: int) -> npt.NDArray[np.uint8]:
    """The image moved by (dx, dy) pixels over white."""
    side = len(view)
    moved = np.full_like(view, 255)
    to_y, from_y = slice(max(dy, 0), side + min(dy, 0)), slice(max(-dy, 0), side + min(-dy, 0))
    to_x, from_x = slice(max(dx, 0), side + min(dx, 0)), slice(max(-dx, 0), side + min(-dx, 0))
    moved[to_y, to_x] = view[from_y, from_x]
    return moved

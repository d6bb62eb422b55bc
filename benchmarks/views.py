"""Two random views of every image, batched, against one image at a time, on one CPU thread.

    python -m benchmarks.views [--side 96] [--images 1024] [--peer pil] [--pairs 5]

Views are SimCLR's at strength 1/2: crop, mirror, colour, grey, blur, from stored bytes of the views' size to floats in
one tensor; a batch is dropped before the next is made. The peers are Pillow's own operations in the usual order (crop
and resize in one call, ImageEnhance, hue in HSV, ImageFilter), and torchvision's v2 transforms on tensors where
torchvision imports. Both draw parameters for each image, as the batched form does. Each measurement is a fresh process,
the two forms taking turns. Before anything is timed, crops must equal Pillow's within its rounding to bytes.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from benchmarks.paired import compare, measure
from modalities.vision.views.pil import crop_with_pil
from modalities.vision.views.pipeline import make_views
from modalities.vision.views.presets import simclr

BATCH = 256
Pictures = npt.NDArray[np.uint8]  # (n, h, w, 3)


def ours(pictures: Pictures) -> Callable[[], object]:
    """Batches as the training loop hands them over."""
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    seeds = torch.arange(len(images))
    cfg = simclr(images.shape[2], 0.5)
    pairs = list(zip(images.split(BATCH), seeds.split(BATCH), strict=True))
    return lambda: [len(make_views(x, s, cfg, stream)) for x, s in pairs for stream in (0, 1)]


def pil(pictures: Pictures) -> Callable[[], object]:
    """The transforms of the first SimCLR and MoCo v2 codes, without torchvision's checks around them."""

    def view(pixels: Pictures) -> Tensor:
        image = Image.fromarray(pixels)
        width, height = image.size
        box = _box(width, height)
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if random.random() < 0.8:
            changes = [_enhance(ImageEnhance.Brightness), _enhance(ImageEnhance.Contrast), _enhance(ImageEnhance.Color)]
            for change in random.sample([*changes, _turn_hue], 4):
                image = change(image)
        if random.random() < 0.2:
            image = image.convert("L").convert("RGB")
        if random.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)

    return lambda: [len(torch.stack([view(x) for x in batch])) for batch in _batches(pictures) for _ in range(2)]


def torchvision(pictures: Pictures) -> Callable[[], object]:
    """v2 on tensors, which it recommends; a whole batch at once would share one set of parameters."""
    from torchvision.transforms import v2

    side = pictures.shape[1]
    window = 2 * max(side // 20, 1) + 1
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(side, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(window, (0.1, 2.0))], 0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    batches = [torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous() for batch in _batches(pictures)]
    return lambda: [len(torch.stack([transform(x) for x in batch])) for batch in batches for _ in range(2)]


FORMS = {"ours": ours, "pil": pil, "torchvision": torchvision}


def _batches(pictures: Pictures) -> list[Pictures]:
    return [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]


def _box(width: int, height: int) -> tuple[float, float, float, float]:
    for _ in range(10):
        area, ratio = random.uniform(0.08, 1) * width * height, 0.75 ** random.uniform(-1, 1)
        w, h = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if w <= width and h <= height:
            x, y = random.uniform(0, width - w), random.uniform(0, height - h)
            return x, y, x + w, y + h
    return 0, 0, width, height


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[[Image.Image], Image.Image]:
    return lambda image: kind(image).enhance(random.uniform(0.6, 1.4))


def _turn_hue(image: Image.Image) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turn = np.uint8(int(random.uniform(-0.1, 0.1) * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(np.asarray(hue) + turn), saturation, value)).convert("RGB")


def gate(pictures: Pictures) -> float:
    """The largest difference between our crops and Pillow's of the same boxes, in steps of a byte."""
    pictures = pictures[:64]
    images, seeds = torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.arange(len(pictures))
    cfg = replace(simclr(images.shape[2]), flip=0, jitter=0, grey=0, blur=0)
    theirs = [crop_with_pil(Image.fromarray(x), seed, cfg) for x, seed in zip(pictures, seeds, strict=True)]
    return float((make_views(images, seeds, cfg) * 255 - torch.stack(theirs)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=96, help="height and width of images and views")
    parser.add_argument("--images", type=int, default=1024, help="two views of each are made")
    parser.add_argument("--peer", choices=["pil", "torchvision"], default="pil")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    shape = (options.images, options.side, options.side, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if options.form:
        # Larger tensors come and go in training; after one, glibc keeps freed memory instead of handing it back.
        torch.empty(24 << 20, dtype=torch.uint8)
        FORMS[options.form](pictures[:BATCH])()  # loads what is loaded at the first call
        measure(FORMS[options.form](pictures))
        return
    print(f"{options.images} images of {options.side} px, one thread, torch {torch.__version__}, {options.pairs} pairs")
    error = gate(pictures)
    print(f"equality: crops differ from Pillow's by {error:.2f} steps of a byte (limit 1.6: Pillow rounds twice)")
    if not error < 1.6:
        raise SystemExit("The crops disagree; nothing was timed.")
    settings = ("--side", str(options.side), "--images", str(options.images))
    compare("benchmarks.views", options.peer, "ours", options.pairs, *settings)


if __name__ == "__main__":
    main()

"""Real files of images and captions for the tests, small and different from one another, and towers as small."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from modalities.image_text.towers import ModelConfig

TINY = ModelConfig(
    image_size=16,
    patch_size=8,
    vision_width=16,
    vision_layers=1,
    vision_heads=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
    text_length=12,
    vocabulary=530,
    projection=8,
)


def picture(number: int, side: int = 12) -> Image.Image:
    """The `number`-th picture; no two are alike."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8))


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "PNG")
    return file.getvalue()


def image_folder(folder: Path, count: int, corrupt: range = range(0), captions: int = 1) -> Path:
    """count images, `captions` rows for each in metadata.csv; files in `corrupt` are cut in half."""
    folder.mkdir()
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "kind", "weight"])
        for i in range(count):
            data = png(i)
            (folder / f"{i:04}.png").write_bytes(data[: len(data) // 2] if i in corrupt else data)
            for k in range(captions):
                writer.writerow([f"{i:04}.png", f"caption {k} of {i}", ["cat", "dog", "bird"][i % 3], i])
    return folder


def webdataset(path: Path, samples: list[dict[str, bytes]]) -> Path:
    """One shard: sample i has a member i.<extension> for each of its fields."""
    with tarfile.open(path, "w") as tar:
        for i, sample in enumerate(samples):
            for extension, data in sample.items():
                member = tarfile.TarInfo(f"{i:04}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path

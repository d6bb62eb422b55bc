"""Coloured shapes with captions, as files, and the CLIP recipe at a size that takes seconds."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from modalities.image_text.config import DataConfig
from modalities.image_text.towers import ModelConfig
from recipes import clip
from recipes.clip_measure import EvalConfig
from trainers.config import TrainConfig

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "yellow": (230, 220, 40)}
SHAPES = ("square", "bar", "frame")


def draw(number: int) -> tuple[Image.Image, str, str]:
    """The `number`-th picture, 16 x 16 pixels, its colour and its shape."""
    colour, shape = list(COLOURS)[number % 4], SHAPES[number // 4 % 3]
    pixels = np.full((16, 16, 3), 255, np.uint8)
    x, y = np.random.default_rng(number).integers(1, 5, 2)
    pixels[y : y + 10, x : x + (10 if shape != "bar" else 4)] = COLOURS[colour]
    if shape == "frame":
        pixels[y + 3 : y + 7, x + 3 : x + 7] = 255
    pixels[15, 15] = number % 256  # no two pictures are equal
    return Image.fromarray(pixels), colour, shape


def draw_folder(folder: Path, count: int) -> Path:
    """An image folder with two captions each, and the colour as label."""
    folder.mkdir()
    lines = []
    for number in range(count):
        image, colour, shape = draw(number)
        image.save(folder / f"{number}.png")
        captions = [f"a {colour} {shape}", f"{shape}, {colour}"]
        lines.append(json.dumps({"file_name": f"{number}.png", "text": captions, "colour": colour}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def write_shards(folder: Path, split: str, numbers: range, shards: int) -> None:
    """webdataset shards `split-0.tar`, ... of png and txt members."""
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{split}-{shard}.tar", "w") as tar:
            for number in numbers[shard::shards]:
                image, colour, shape = draw(number)
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                for name, content in (
                    (f"{number:04}.png", buffer.getvalue()),
                    (f"{number:04}.txt", f"a {colour} {shape}".encode()),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def tiny(source: Path, out: Path) -> clip.Config:
    """The recipe at toy size."""
    return clip.Config(
        data=DataConfig(source=str(source), label_column="colour", held_out=16),
        model=ModelConfig(
            image_size=16,
            patch_size=8,
            vision_width=32,
            vision_layers=1,
            vision_heads=2,
            text_width=32,
            text_layers=1,
            text_heads=2,
            text_length=8,
            vocabulary=560,
            projection=16,
        ),
        train=TrainConfig(out=out, batch_size=16, steps=12, lr=3e-3, log_every=4, evaluate_every=6, save_every=6),
        eval=EvalConfig(seeds=2, supervised_epochs=2.0),
    )

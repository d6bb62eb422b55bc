"""Real image files for the tests of the vision data: folders by class, and pictures of every kind."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.image_text.files import picture, png


def class_folder(folder: Path, per_class: int, corrupt: range = range(0)) -> Path:
    """`per_class` pictures in each of the sub-folders ant, bee and cat; of ants, files in `corrupt` are cut in half."""
    for label, name in enumerate(("ant", "bee", "cat")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            data = png(label * per_class + i)
            cut = name == "ant" and i in corrupt
            (folder / name / f"{i:04}.png").write_bytes(data[: len(data) // 2] if cut else data)
    return folder


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def unusual() -> dict[str, bytes]:
    """Pictures that are converted."""
    colour = picture(0, 20)
    grey = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)
    return {
        "grey": encoded(colour.convert("L")),
        "1-bit": encoded(colour.convert("1")),
        "palette": encoded(colour.convert("P")),
        "transparent": encoded(colour.convert("RGBA")),
        "grey with alpha": encoded(colour.convert("LA")),
        "16-bit": encoded(grey),
        "CMYK": encoded(colour.convert("CMYK"), "JPEG"),
        "one pixel": encoded(colour.resize((1, 1))),
        "long": encoded(colour.resize((60, 20))),
        "animation": encoded(colour, "GIF"),
    }


def unusable() -> dict[str, tuple[str, bytes]]:
    """Files that are refused, by name: the cause that is counted, and the bytes."""
    whole = encoded(picture(0, 64), "JPEG")
    return {
        "truncated": ("truncated or damaged", whole[: len(whole) // 2]),
        "empty": ("empty file", b""),
        "text": ("not a picture", b"<html>not found</html>"),
        "bomb": ("too many pixels", bomb(30_000)),
        "needle": ("too long and thin", encoded(Image.new("L", (500, 1)))),
        "float": ("floating-point pixels", encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")),
    }


def bomb(side: int) -> bytes:
    """A PNG whose header promises `side` x `side` pixels; it holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

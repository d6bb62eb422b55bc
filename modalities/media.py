"""Decodes images that somebody else made: every file ends as an RGB picture or as one clear error.

What becomes of unusual files:

- EXIF orientation is applied. Of an animation the first frame is taken.
- Transparency (RGBA, LA, PA, palettes with a transparent colour) is laid on white.
- Grey, 1-bit, palette, CMYK, YCbCr, LAB and HSV are converted by Pillow, without colour profiles.
- 16-bit grey keeps its upper eight bits. Floating-point pictures are refused: their range is not known.
- A picture of one pixel is accepted and grows like any other.
- More than `MAX_PIXELS` are refused from the header alone, before memory is taken, and so is anything more than
  `MAX_ASPECT` times as long as wide: resizing its short side would blow up the long one.
- Only the formats in `FORMATS` are tried; Pillow would also hand PostScript to an interpreter.
"""

import io
import os
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
MAX_ASPECT = 100
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")

# What Pillow's readers raise on damaged input: there is no common base class.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class CorruptMedia(ValueError):
    """A file that cannot be used. `cause` is one of a few short phrases, fit for counting; `row` says where."""

    def __init__(self, cause: str, row: int | str) -> None:
        super().__init__(f"row {row}: {cause}")
        self.cause = cause
        self.row = row

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cause, self.row)  # loader workers pickle what they raise


def decode(source: Image.Image | npt.NDArray[np.uint8] | bytes | str | os.PathLike[str], row: int | str) -> Image.Image:
    """Returns the picture as mode RGB, following the rules above.

    `source` is an open picture, its RGB pixels (h, w, 3), the bytes of a file, or a path; `row` goes into the error.
    Raises `CorruptMedia` for anything that is not a complete picture.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    try:
        if isinstance(source, Image.Image):
            _check_size(source, row)
            return source if source.mode == "RGB" and not source.getexif() else _loaded(source, row)
        with _open(source, row) as image:
            _check_size(image, row)
            return _loaded(image, row)
    except CorruptMedia:
        raise
    # Pillow warns about a large picture and raises for a huge one; a warning may have been made an error too.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CorruptMedia("too many pixels", row) from None
    except _DAMAGE:
        raise CorruptMedia("truncated or damaged", row) from None


def _open(source: bytes | str | os.PathLike[str], row: int | str) -> Image.Image:
    if isinstance(source, bytes):
        if not source:
            raise CorruptMedia("empty file", row)
        file: io.BytesIO | str | os.PathLike[str] = io.BytesIO(source)
    else:
        file = source
        if not os.path.isfile(source):
            raise CorruptMedia("no such file", row)
        if os.path.getsize(source) == 0:
            raise CorruptMedia("empty file", row)
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise CorruptMedia("not a picture", row) from None


def _check_size(image: Image.Image, row: int | str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise CorruptMedia("too many pixels", row)
    if min(width, height) < 1 or max(width, height) > MAX_ASPECT * min(width, height):
        raise CorruptMedia("too long and thin", row)


def _loaded(image: Image.Image, row: int | str) -> Image.Image:
    image.load()  # verify() does not notice a JPEG cut short, load() does
    return _to_rgb(ImageOps.exif_transpose(image), row)


def _to_rgb(image: Image.Image, row: int | str) -> Image.Image:
    if image.mode == "F":
        raise CorruptMedia("floating-point pixels", row)
    if image.mode.startswith("I"):  # "I;16", "I;16B" and "I" all carry 16-bit grey
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)  # (h, w)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")

"""Unusual pictures are converted as documented, unusable ones are one clear error."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from modalities.media import CorruptMedia, decode


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(side: int = 64) -> Image.Image:
    y, x = np.mgrid[:side, :side]
    return Image.fromarray(np.stack([x * 4, y * 4, (x + y) * 2], -1).astype(np.uint8))


def cause(data) -> str:
    with pytest.raises(CorruptMedia) as caught:
        decode(data, 17)
    assert caught.value.row == 17 and "row 17" in str(caught.value)
    return caught.value.cause


def test_rgb_is_unchanged_from_bytes_path_and_picture(tmp_path):
    data = encoded(photo(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, str(tmp_path / "a.png"), tmp_path / "a.png", photo()):
        assert decode(source, 0).mode == "RGB"
        assert (np.asarray(decode(source, 0)) == np.asarray(photo())).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb(mode):
    image = photo().convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    decoded = np.asarray(decode(encoded(image, kind), 0)).astype(int)
    assert decoded.shape == (64, 64, 3)
    # JPEG moves values a little, but a CMYK file read with inverted inks would be far off.
    assert np.abs(decoded - np.asarray(image.convert("RGB"))).mean() < 6


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert decode(encoded(clear, "PNG"), 0).getpixel((0, 0)) == (255, 255, 255)
    assert decode(encoded(half, "PNG"), 0).getpixel((0, 0)) == (127, 127, 127)
    assert decode(encoded(palette, "PNG", transparency=0), 0).getpixel((0, 0)) == (255, 255, 255)
    assert decode(encoded(palette, "PNG"), 0).getpixel((0, 0)) == (10, 20, 30)


def test_sixteen_bits_keep_the_upper_eight():
    grey = Image.fromarray(np.array([[0, 0x80FF, 0xFFFF]], dtype=np.uint16))
    for kind in ("PNG", "TIFF"):
        assert np.asarray(decode(encoded(grey, kind), 0))[0, :, 0].tolist() == [0, 0x80, 0xFF]
    assert cause(encoded(Image.new("F", (4, 4)), "TIFF")) == "floating-point pixels"


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees
    wide = photo().crop((0, 0, 64, 32))
    decoded = decode(encoded(wide, "PNG", exif=exif), 0)
    assert decoded.size == (32, 64)
    assert (np.asarray(decoded) == np.asarray(wide.transpose(Image.Transpose.ROTATE_270))).all()


def test_one_pixel_and_the_first_frame_are_accepted():
    assert decode(encoded(Image.new("RGB", (1, 1), "red"), "PNG"), 0).getpixel((0, 0)) == (255, 0, 0)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("blue", "red")]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(animation, 0).getpixel((0, 0)) == (0, 0, 255)


def test_damage_is_named(tmp_path):
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(photo(), kind)
        for cut in (len(data) // 2, len(data) - 30):
            assert cause(data[:cut]) == "truncated or damaged"
        decode(data, 0)
    assert cause(b"") == "empty file"
    assert cause(b"no picture at all") == "not a picture"
    assert cause(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not a picture"  # never run
    assert cause(tmp_path / "missing.png") == "no such file"
    assert cause(tmp_path) == "no such file"


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises width x height white pixels and holds none."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_bombs_are_refused_from_the_header(monkeypatch):
    loads = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: loads.append(image.size) or load(image))
    for width, height in ((9000, 8000), (13_000, 13_000), (60_000, 60_000)):  # silent, warning and error in Pillow
        assert cause(png_header(width, height)) == "too many pixels"
    assert cause(png_header(200_000, 10)) == "too long and thin"  # with a short side of 224 the long one is 4.5 M
    assert not loads  # no memory was taken for pixels
    assert cause(png_header(900, 800)) == "truncated or damaged"  # an honest size is decoded, and found empty
    assert loads == [(900, 800)]


def test_the_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(CorruptMedia("not a picture", 3)))
    assert (error.cause, error.row) == ("not a picture", 3)

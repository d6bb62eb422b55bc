"""Where pictures come from: crops of photographs by default, other small sets, or any table of images."""

from dataclasses import replace

import numpy as np

from modalities.pictures import openmoji
from modalities.pictures.load import load_table
from modalities.pictures.rows import ImageSet, Rows, first_of_each, pixel_set
from modalities.splits import split
from modalities.vision import digits, photos, solar
from modalities.vision.config import DataConfig

_BUILT_IN = ("photos", "openmoji", "digits", "solar")


def load(config: DataConfig) -> ImageSet:
    """Reads, checks and splits the data. The built-in sets come as squares of `config.side`; others keep their size.

    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path, column
    or package, cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if not config.source:
        raise ValueError("data.source is empty: name a Hub data set, a folder or a file.")
    if config.source not in _BUILT_IN:
        return load_table(config)
    if config.stream or config.test_split:
        raise ValueError(
            f"data.source={config.source} is neither streamed nor split in files: drop data.stream and data.test_split."
        )
    if config.label_column not in ("auto", ""):
        raise ValueError(
            f"data.label_column={config.label_column} is no column of {config.source}, which has one kind of label: "
            "leave it auto, or empty for none."
        )
    found = _built_in(config)
    return found if config.label_column else _without_labels(found)


def _built_in(config: DataConfig) -> ImageSet:
    if config.source == "photos":
        return photos.read_photos(config.side)
    if config.source == "openmoji":
        return _openmoji(config)
    if config.source == "digits":
        rows, names = digits.read_digits(config.side)
        sides = split(rows.ids, config.held_out, config.split_seed)
        return pixel_set("digits", rows, sides, names, digits.LICENCE, digits.CREDIT)
    rows, names = solar.read_solar(config.side)
    blocks = round(config.held_out * len(np.unique(rows.bases)) / len(rows))
    sides = split(rows.bases, blocks, config.split_seed)
    return pixel_set("solar", rows, sides, names, solar.LICENCE, solar.CREDIT)


def _openmoji(config: DataConfig) -> ImageSet:
    """One drawing of each thing: a skin tone more or less would be a twin on the other side of the split."""
    drawings, names, _, drawn = openmoji.load_openmoji(config.side)
    rows = drawings.select(first_of_each(drawings))
    sides = split(rows.bases, config.held_out, config.split_seed)
    found = pixel_set("openmoji", rows, sides, names, openmoji.LICENCE, openmoji.CREDIT)
    return replace(found, counts=found.counts | {"rows": drawn})


def _without_labels(data: ImageSet) -> ImageSet:
    train, test = data.train, data.test
    assert isinstance(train, Rows)
    train, test = (replace(rows, labels=[None] * len(rows)) for rows in (train, test))
    return replace(data, train=train, test=test, classes=[])

"""Where pairs come from: emoji by default, or any table of images and captions."""

from collections.abc import Iterator
from itertools import islice

from modalities.image_text.config import DataConfig
from modalities.image_text.pairs import Pairs
from modalities.pictures.load import load_table
from modalities.pictures.openmoji import CREDIT, LICENCE, load_openmoji
from modalities.pictures.rows import Rows, pixel_set
from modalities.splits import split
from modalities.tables import column_names


def load(config: DataConfig, side: int = 48) -> Pairs:
    """Reads, checks and splits the data. OpenMoji is drawn at `side` pixels; other images keep their size.

    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path, column
    or package, cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if not config.source:
        raise ValueError("data.source is empty: name a Hub data set, a folder or a file.")
    if config.source == "openmoji":
        return _openmoji(config, side)
    if not column_names(config.caption_column):
        raise ValueError("data.caption_column is empty: name the column that holds the captions.")
    found = load_table(config, config.caption_column)
    return Pairs(**vars(found), class_words=[[name] for name in found.classes])


def sample_captions(data: Pairs, rows: int = 100_000) -> Iterator[str]:
    """Training captions, those of the first `rows` images of a stream: what a tokenizer is trained on."""
    if isinstance(data.train, Rows):
        return (caption for captions in data.train.captions for caption in captions)
    return (caption for row in islice(data.train, rows) for caption in row["captions"])


def _openmoji(config: DataConfig, side: int) -> Pairs:
    if config.stream or config.test_split:
        raise ValueError(
            "data.source=openmoji is neither streamed nor split in files: drop data.stream and data.test_split."
        )
    rows, classes, words, drawn = load_openmoji(side)
    sides = split(rows.ids, config.held_out, config.split_seed)
    found = pixel_set("openmoji", rows, sides, classes, LICENCE, CREDIT)
    return Pairs(**{**vars(found), "counts": found.counts | {"rows": drawn}}, class_words=words)

"""What to read: the options of the image-text data."""

from dataclasses import dataclass

from modalities.pictures.config import TableConfig


@dataclass(frozen=True)
class DataConfig(TableConfig):
    """Which images and captions to read, and which of them to hold out."""

    source: str = "openmoji"
    """openmoji, a Hub data set, a folder (images with metadata.csv), or a file or glob of .parquet, .tar
    (webdataset), .csv or .jsonl."""
    caption_column: str = "text"
    """Column with a caption or a list of them; several after commas are joined into one list. Dots reach into json
    fields (json.caption)."""
    label_column: str = ""
    """Column with a class, for zero-shot classification and probes; auto: label or cls, where there is one."""


@dataclass(frozen=True)
class ViewConfig:
    """How an image may differ each time it is seen in training."""

    shift: float = 1 / 24
    """Largest move in either direction over white, as a share of the side: for drawings."""
    min_area: float = 1.0
    """Smallest crop, as a share of the image's area; CLIP trains on 0.9 of photographs."""
    flip: bool = False
    """Mirror half of the images. Captions tell left from right, so not by default."""

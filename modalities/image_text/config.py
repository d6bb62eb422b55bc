"""What to read: the options of the image-text data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """Which images and captions to read, and which of them to hold out."""

    source: str = "openmoji"
    """openmoji, a Hub data set, a folder (images with metadata.csv), or a file or glob of .parquet, .tar
    (webdataset), .csv or .jsonl."""
    subset: str = ""
    """Configuration of a Hub data set."""
    split: str = "train"
    """Split to train on."""
    test_split: str = ""
    """Split to test on instead of holding images out; streams need one."""
    image_column: str = "image"
    """Column with the image or its path; several after commas are tried in turn (jpg,png)."""
    caption_column: str = "text"
    """Column with a caption or a list of them; several after commas are joined into one list. Dots reach into json
    fields (json.caption)."""
    id_column: str = ""
    """Column that names the image, so that rows with one image and different captions go together. Default: a hash of
    the image's bytes, or of its path where the table holds paths."""
    label_column: str = ""
    """Column with a class, for zero-shot classification and probes."""
    held_out: int = 400
    """Images to hold out for testing; with a test split of a stream, how many to read of it."""
    split_seed: int = 0
    """Chooses which images are held out."""
    stream: bool = False
    """Read the training rows while training, without a copy on disk."""
    check_images: int = 20_000
    """Decode every image once before training when there are at most this many. Larger sets and streams have only
    their test images checked, and meet bad images while training."""
    max_bad: float = 0.01
    """Share of rows that may be unusable before loading or training stops."""


@dataclass(frozen=True)
class ViewConfig:
    """How an image may differ each time it is seen in training."""

    shift: float = 1 / 24
    """Largest move in either direction over white, as a share of the side: for drawings."""
    min_area: float = 1.0
    """Smallest crop, as a share of the image's area; CLIP trains on 0.9 of photographs."""
    flip: bool = False
    """Mirror half of the images. Captions tell left from right, so not by default."""

"""What to read: the options that every table of pictures has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableConfig:
    """Which pictures to read, and which of them to hold out."""

    source: str = ""
    """A Hub data set, a folder, or a file or glob of .parquet, .tar (webdataset), .csv or .jsonl."""
    subset: str = ""
    """Configuration of a Hub data set."""
    split: str = "train"
    """Split to train on."""
    test_split: str = ""
    """Split to test on instead of holding images out; streams need one."""
    image_column: str = "image"
    """Column with the image or its path; several after commas are tried in turn (jpg,png)."""
    id_column: str = ""
    """Column that names the image, so that rows with one image go together. Default: a hash of the image's bytes, or
    of its path where the table holds paths."""
    label_column: str = ""
    """Column with a class."""
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

"""What to read: the options of the text data."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataConfig:
    """Which texts to read, and which of them to hold out."""

    source: str = "wikipedia"
    """wikipedia, lee, bible, polarity (labelled sentences), verses (two translations side by side), standard-library
    (Python functions and their docstrings), or several of the first three with commas; a Hub data set, a folder or
    files of .txt (.gz and .bz2 too), .parquet, .csv, .jsonl or .tar."""
    subset: str = ""
    """Configuration of a Hub data set."""
    split: str = "train"
    """Split to train on."""
    test_split: str = ""
    """Split to test on instead of holding documents out; streams need one."""
    unit: Literal["file", "paragraph", "line"] = "file"
    """What a document is in .txt files: the file, a paragraph (between blank lines) or a line."""
    text_column: str = "text"
    """Column with the text; several after commas are the texts of one row, in this order (sentence1,sentence2)."""
    id_column: str = ""
    """Column that names the document, so that its rows go together. Default: rows whose first texts are equal do."""
    label_column: str = ""
    """Column with a class; "auto" takes one that is usually the label, "folder" the folder of a .txt file."""
    score_column: str = ""
    """Column with a number that says how alike the texts of a row are."""
    held_out: float = 0.1
    """Documents to hold out for testing: a share below 1, or a number of them; of a stream's test split, how many to
    read."""
    split_seed: int = 0
    """Chooses which documents are held out."""
    stream: bool = False
    """Read the training rows while training, without a copy on disk."""
    max_bad: float = 0.01
    """Share of rows that may be unusable (empty, not UTF-8, no score, unknown class) before reading stops."""

    def __post_init__(self) -> None:
        if self.held_out < 0 or (self.held_out >= 1 and self.held_out != int(self.held_out)):
            raise ValueError(
                f"data.held_out={self.held_out:g} is neither a share below 1 nor a whole number of documents: "
                "give one of them."
            )

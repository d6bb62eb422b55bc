"""What to read: the options of the vision data."""

from dataclasses import dataclass

from modalities.pictures.config import TableConfig


@dataclass(frozen=True)
class DataConfig(TableConfig):
    """Which pictures to read, and which of them to hold out."""

    source: str = "photos"
    """photos (crops of photographs), openmoji (drawings), digits, solar (cells); or a Hub data set, a folder (with a
    sub-folder for each class, or metadata.csv), or a file or glob of .parquet, .tar (webdataset), .csv or .jsonl."""
    label_column: str = "auto"
    """Column with a class, for evaluation; in training only methods that learn from labels see it. auto: label (in
    folders, the sub-folder) or cls, where there is one; empty: none."""
    side: int = 96
    """Height and width in pixels of the squares that training gets, from which it cuts its views. The short side is
    resized to it; a long side is cut at random in training, in the middle otherwise."""
    held_out: int = 400
    """Images to hold out for testing; with a test split of a stream, how many to read of it. Solar cells are held out
    in blocks, so it is about as many; photographs hold out their right part, whatever this says."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"data.side is {self.side}; it must be at least 1 pixel.")

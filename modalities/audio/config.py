"""What to read: the options of the audio data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """Which recordings to read, and which of them to hold out."""

    source: str = "speech"
    """speech (eSpeak NG reading news in many voices: synthetic), numbers (eSpeak NG counting in many languages:
    synthetic), sounds (recordings of 76 classes, from FoxDot); or a Hub data set, a folder (with a sub-folder for each
    class), or a file or glob of .parquet, .tar (webdataset), .csv or .jsonl."""
    subset: str = ""
    """Configuration of a Hub data set."""
    split: str = "train"
    """Split to train on."""
    test_split: str = ""
    """Split to test on instead of holding recordings out; streams need one."""
    audio_column: str = "auto"
    """Column with the recording or its path; several after commas are tried in turn (flac,wav). auto: audio, or what
    webdataset calls it by the ending of its files."""
    text_column: str = "auto"
    """Column with the transcript or description. auto: text, sentence, transcription, transcript, caption or txt,
    where there is one; empty: none."""
    label_column: str = "auto"
    """Column with a class. auto: label (in folders, the sub-folder) or cls, where there is one; empty: none."""
    speaker_column: str = "auto"
    """Column that names the speaker. auto: speaker_id, speaker or client_id, where there is one; empty: none."""
    id_column: str = ""
    """Column that names the recording: of rows with one name the first one's audio is kept, with the texts of all.
    Default: a hash of the file's bytes, or of its path where the table holds paths."""
    group_column: str = ""
    """Column that names what the recording belongs to: rows of one group stay on one side of the split (speakers,
    albums), and data.held_out counts groups."""
    rate: int = 16_000
    """Samples a second that everything is resampled to."""
    held_out: float = 0.1
    """Share of the recordings to hold out for testing, or their number from 1 on (of sounds, at least one of every
    class that has two); with a test split of a stream, how many to read of it."""
    split_seed: int = 0
    """Chooses which recordings are held out."""
    stream: bool = False
    """Read the training rows while training, without a copy on disk."""
    check_files: int = 20_000
    """Decode every recording once before training when there are at most this many. Of larger sets only the headers are
    read and the test recordings decoded; those and streams meet damaged recordings while training."""
    max_bad: float = 0.01
    """Share of rows that may be unusable before loading or training stops."""
    voices: int = 24
    """speech, numbers: voices that read."""
    hours: float = 1.5
    """speech, numbers: how much is read, about."""

    def __post_init__(self) -> None:
        if self.rate < 1000:
            raise ValueError(f"data.rate is {self.rate}; it is in samples a second, 16000 for speech.")
        if self.voices < 1:
            raise ValueError(f"data.voices is {self.voices}; it must be at least 1.")
        if self.hours <= 0:
            raise ValueError(f"data.hours is {self.hours:g}; it must be above 0.")
        if self.held_out < 0 or (self.held_out >= 1 and self.held_out != int(self.held_out)):
            raise ValueError(
                f"data.held_out={self.held_out:g} is neither a share below 1 nor a whole number of recordings: "
                "give one of them."
            )
